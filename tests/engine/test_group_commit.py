"""Group commit: who waits for whom, and whose trouble is whose."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import pytest

from orchestrator.core.errors import Fenced
from orchestrator.engine.database import Database, OperationalError
from orchestrator.engine.group_commit import GroupCommit, commit_together
from orchestrator.engine.store import Append, LaneStore, LogRow, Move

SMALL = Append([Move("log", 0, 1)])
LARGE = SMALL._replace(events=[cast("LogRow", None)] * 201)


class Store:
    """What group commit knows of a lane's store."""

    def __init__(self, lane: int, database: object, error: Exception | None = None) -> None:
        self.lane, self.database, self.error = lane, database, error

    def commit(self, append: Append) -> None:
        raise NotImplementedError


class Desk:
    """Takes the calls that would go to a thread, and answers each when told to."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.group = GroupCommit(self.run)
        self.database = object()

    async def run(self, call: Callable[..., Any], *args: Any) -> None:
        stores = [s for s, _ in args[0]] if call is commit_together else [call.__self__]  # type: ignore[attr-defined]
        self.calls.append([s.lane for s in stores])
        await self.open.wait()
        for error in [s.error for s in stores if s.error]:
            raise error

    def store(self, lane: int, error: Exception | None = None) -> LaneStore:
        return cast("LaneStore", Store(lane, self.database, error))

    def commits(self, *lanes: int) -> Sequence[Awaitable[None]]:
        return [asyncio.create_task(self.group.commit(self.store(n), SMALL)) for n in lanes]


async def test_expected_lanes_commit_together() -> None:
    """A transaction waits for the lanes that are expected, and they share one, in the order of their numbers."""
    desk = Desk()
    for lane in (0, 1, 2):
        desk.group.expect(lane)
    await asyncio.gather(*desk.commits(2, 0, 1))
    assert desk.calls == [[0, 1, 2]]


async def test_a_dismissed_lane_is_not_waited_for() -> None:
    """A lane that turned out to have nothing to commit releases those that wait for it."""
    desk = Desk()
    desk.group.expect(0)
    desk.group.expect(1)
    (waiting,) = desk.commits(0)
    await asyncio.sleep(0)
    assert desk.calls == []
    desk.group.dismiss(1)
    await waiting
    assert desk.calls == [[0]]


async def test_a_slow_lane_is_waited_for_a_moment_only() -> None:
    """A lane that never comes, nor says so, holds nobody for good."""
    desk = Desk()
    desk.group.expect(1)
    await asyncio.gather(*desk.commits(0))
    assert desk.calls == [[0]]


async def test_those_who_come_during_a_commit_share_the_next() -> None:
    """While one commit is under way the next one gathers, so that a busy server sees fewer and larger ones."""
    desk = Desk()
    desk.open.clear()
    first = desk.commits(0)
    await asyncio.sleep(0.01)
    rest = desk.commits(1, 2)
    await asyncio.sleep(0.01)
    assert desk.calls == [[0]]
    desk.open.set()
    await asyncio.gather(*first, *rest)
    assert desk.calls == [[0], [1, 2]]


@pytest.mark.parametrize("error", [Fenced("somebody else's"), OperationalError("a lock was not granted")])
async def test_trouble_is_the_lane_s_own(error: Exception) -> None:
    """When a shared transaction fails, each is tried alone: only the lane at fault hears of it, the others commit."""
    desk = Desk()
    for lane in (0, 1, 2):
        desk.group.expect(lane)
    failing = asyncio.create_task(desk.group.commit(desk.store(1, error), SMALL))
    fine = desk.commits(0, 2)
    found = await asyncio.gather(*fine, failing, return_exceptions=True)
    assert found == [None, None, error]
    assert desk.calls[0] == [0, 1, 2]
    assert sorted(desk.calls[1:]) == [[0], [1], [2]]


async def test_large_transactions_go_alone() -> None:
    """A backlog's transaction holds nobody up, and isn't held up."""
    desk = Desk()
    desk.group.expect(0)
    desk.group.expect(1)
    large = asyncio.create_task(desk.group.commit(desk.store(0), LARGE))
    await asyncio.sleep(0)
    assert desk.calls == [[0]]
    await large


async def test_databases_are_apart() -> None:
    """Lanes of two databases never share a transaction."""
    desk = Desk()
    other = cast("LaneStore", Store(1, object()))
    desk.group.expect(0)
    desk.group.expect(1)
    await asyncio.gather(*desk.commits(0), desk.group.commit(other, SMALL))
    assert sorted(desk.calls) == [[0], [1]]


async def test_who_gave_up_hurts_nobody() -> None:
    """A lane that is stopped while its transaction is under way leaves the others their answers."""
    desk = Desk()
    desk.open.clear()
    for lane in (0, 1):
        desk.group.expect(lane)
    gone, stays = desk.commits(0, 1)
    await asyncio.sleep(0.01)
    cast("asyncio.Task[None]", gone).cancel()
    desk.open.set()
    await stays
    assert desk.calls == [[0, 1]]


def test_a_database_is_a_key() -> None:
    """Groups are made by database: equal only to itself."""
    assert Database.__hash__ is object.__hash__
