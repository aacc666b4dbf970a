"""Lanes of one worker in step: one fetch for all that wait, then one transaction for all that decided.

A fetch, a transaction and a produce request cost about the same for four lanes as for one. And the client fetches ahead:
what it holds while a lane is at work is a whole round old when the lane comes back. So partitions are read only while
their lane waits, and the lanes that were handed records are waited for, a moment, before the next fetch.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from orchestrator.engine.group_commit import GroupCommit

_WAIT_S = 0.050  # for lanes still at work; what they do not fetch meanwhile waits for the next fetch
Records = Mapping[TopicPartition, list[Any]]


class _Waiting(NamedTuple):
    partitions: Sequence[TopicPartition]
    limit: int
    until_s: float
    eager: bool
    got: "asyncio.Future[Records]"


class Rounds:
    """One worker's. `run` has to run as long as lanes do; lanes are known by their numbers."""

    def __init__(self, consumer: AIOKafkaConsumer, group: GroupCommit) -> None:
        self._consumer = consumer
        self._group = group
        self._waiting: dict[int, _Waiting] = {}
        self._at_work: set[int] = set()
        self._news = asyncio.Event()

    async def take(
        self,
        lane: int,
        partitions: Sequence[TopicPartition],
        *,
        wait_ms: int,
        limit: int,
        eager: bool = False,
    ) -> Records:
        """The lane's next records, at most `limit` of them; none when none came in time.

        `eager`: the lane has something to do without any, and goes on as soon as another lane does.
        Raises what the consumer raises of these partitions.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(partitions, limit, loop.time() + wait_ms / 1000, eager, loop.create_future())
        self._waiting[lane] = waiting
        self.leave(lane)
        try:
            return await waiting.got
        finally:
            if self._waiting.get(lane) is waiting:
                del self._waiting[lane]

    def leave(self, lane: int) -> None:
        """The lane is done with what it was handed, or failed on it: nobody waits for it."""
        self._at_work.discard(lane)
        self._group.dismiss(lane)
        self._news.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._somebody_waits()
            waiting = dict(self._waiting)
            if not await self._fetch_together(waiting):
                await asyncio.gather(*(self._fetch_alone(lane, one) for lane, one in waiting.items()))

    async def _somebody_waits(self) -> None:
        """Until a lane waits and no other is at work any more, or was for long."""
        until_s: float | None = None
        while not self._waiting or self._at_work:
            if not self._waiting:
                until_s = None
            elif until_s is None:
                until_s = asyncio.get_running_loop().time() + _WAIT_S
            self._news.clear()
            try:
                async with asyncio.timeout_at(until_s):
                    await self._news.wait()
            except TimeoutError:
                if self._waiting:
                    return

    async def _fetch_together(self, waiting: Mapping[int, _Waiting]) -> bool:
        """Answer those for whom something is there, or whose time is over. False: something is wrong with somebody's."""
        loop = asyncio.get_running_loop()
        partitions = [p for one in waiting.values() for p in one.partitions]
        if not self._consumer.assignment().issuperset(partitions):
            return False
        left_s = min(one.until_s for one in waiting.values()) - loop.time()
        self._consumer.resume(*partitions)
        try:  # a single record, so that what goes wrong behind it is met by the one it concerns
            first = await self._consumer.getmany(
                *partitions, timeout_ms=max(1, int(left_s * 1000)), max_records=1
            )
        except Exception:  # noqa: BLE001  whoever it concerns meets it again, alone
            return False
        for lane, one in waiting.items():
            mine = {p: first[p] for p in one.partitions if p in first}
            try:
                records = await self._top_up(one, mine) if first else {}
            except Exception as error:  # noqa: BLE001  it is this lane's, which reads again from its own position
                self._answer(lane, one, error)
                continue
            if records or one.eager:
                self._group.expect(lane)
            if records or one.eager or loop.time() >= one.until_s:
                # Without records it is back at once; left behind, it would miss a whole wait of the others.
                self._at_work.add(lane)
                self._answer(lane, one, records)
        ours = [p for one in waiting.values() if not one.got.cancelled() for p in one.partitions]
        self._consumer.pause(*self._consumer.assignment().intersection(ours))
        return True

    async def _top_up(self, one: _Waiting, mine: Records) -> Records:
        """What the client holds for a lane, behind the first record where that is its own. Doesn't wait."""
        left = one.limit - sum(map(len, mine.values()))
        more = await self._consumer.getmany(*one.partitions, timeout_ms=0, max_records=left) if left else {}
        return {p: [*mine.get(p, ()), *more.get(p, ())] for p in one.partitions if p in mine or p in more}

    async def _fetch_alone(self, lane: int, one: _Waiting) -> None:
        """As if there were no others: what goes wrong is told to the one it concerns."""
        left_s = max(0.0, one.until_s - asyncio.get_running_loop().time())
        try:
            self._consumer.resume(*one.partitions)
            records = await self._consumer.getmany(
                *one.partitions, timeout_ms=int(left_s * 1000), max_records=one.limit
            )
        except Exception as error:  # noqa: BLE001  it is the waiting lane's
            self._answer(lane, one, error)
        else:
            self._answer(lane, one, records)

    def _answer(self, lane: int, one: _Waiting, answer: Records | Exception) -> None:
        if self._waiting.get(lane) is one:
            del self._waiting[lane]
        if not one.got.done():
            if isinstance(answer, Exception):
                one.got.set_exception(answer)
            else:
                one.got.set_result(answer)
            return
        self.leave(lane)  # it gave up meanwhile, and may have begun anew: what was taken for it is read again
        if not isinstance(answer, Exception):
            for partition, records in answer.items():
                if partition in self._consumer.assignment():
                    self._consumer.seek(partition, records[0].offset)
