"""Group commit: transactions of several lanes of one worker in one, so that round trip and flush are paid once.

A lane whose transaction may come soon is expected, and the others wait for it for a moment. What fails together is tried
again alone, so that one lane's fence, refused row or lock is nobody else's: after a commit whose answer was lost, the
fence says so.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from orchestrator.engine.database import Database
from orchestrator.engine.store import Append, LaneStore

_WAIT_S = 0.050  # for an expected transaction: a few times as long as a commit takes
Run = Callable[..., Awaitable[Any]]
"""Calls a function in a thread and awaits its result."""


class _Waiting(NamedTuple):
    store: LaneStore
    append: Append
    done: "asyncio.Future[None]"


class GroupCommit:
    """One worker's, for all its lanes and databases. Lanes are known by their numbers."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._waiting: dict[int, _Waiting] = {}
        self._expected: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._overdue: asyncio.TimerHandle | None = None

    def expect(self, lane: int) -> None:
        """A transaction of this lane may come soon."""
        self._expected.add(lane)

    def dismiss(self, lane: int) -> None:
        """None comes for now."""
        self._expected.discard(lane)
        self._start_when_all_came()

    async def commit(self, store: LaneStore, append: Append) -> None:
        """Commit, with what other lanes have ready. Raises what `LaneStore.commit` raises of this lane alone."""
        if not append.small:
            self.dismiss(store.lane)
            await self._run(store.commit, append)
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[store.lane] = _Waiting(store, append, done)
        self.dismiss(store.lane)
        await done

    def _start_when_all_came(self) -> None:
        if not self._waiting or self._tasks:  # who comes during a commit goes into the next
            return
        if not self._expected:
            self._start()
        elif self._overdue is None:
            self._overdue = asyncio.get_running_loop().call_later(_WAIT_S, self._start)

    def _start(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None
        if not self._waiting or self._tasks:
            return
        groups: dict[Database, list[_Waiting]] = defaultdict(list)
        for _, one in sorted(self._waiting.items()):  # in one order everywhere: no two workers lock crosswise
            groups[one.store.database].append(one)
        self._waiting = {}
        for group in groups.values():
            task = asyncio.create_task(self._commit(group))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self._start_when_all_came()

    async def _commit(self, group: Sequence[_Waiting]) -> None:
        if len(group) > 1:
            try:
                await self._run(commit_together, [(one.store, one.append) for one in group])
            except Exception:  # noqa: BLE001  whoever it concerns meets it again, alone
                await asyncio.gather(*(self._commit_alone(one) for one in group))
            else:
                for one in group:
                    if not one.done.done():
                        one.done.set_result(None)
        else:
            await self._commit_alone(group[0])

    async def _commit_alone(self, one: _Waiting) -> None:
        try:
            await self._run(one.store.commit, one.append)
        except Exception as error:  # noqa: BLE001  it is the waiting lane's
            if not one.done.done():
                one.done.set_exception(error)
        else:
            if not one.done.done():
                one.done.set_result(None)


def commit_together(group: Sequence[tuple[LaneStore, Append]]) -> None:
    """Small transactions of several lanes of one database as one statement, all or none.

    Raises PersistenceError, a fence that was lost included: whose it was is found by trying each alone.
    """
    calls = [store.append_call(append) for store, append in group]
    statement = b"SELECT " + b", ".join(call for call, _ in calls)
    with group[0][0].database.datastore.cursor() as cursor:
        cursor.execute(
            statement, [argument for _, arguments in calls for argument in arguments], prepare=True
        )
