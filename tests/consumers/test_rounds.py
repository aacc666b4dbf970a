"""Lanes in step: fetched together, never read ahead of their work, nothing lost on the way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, cast

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.commands.rounds import Rounds
from orchestrator.engine.group_commit import GroupCommit


class Record(NamedTuple):
    offset: int


def place(lane: int) -> TopicPartition:
    return TopicPartition("commands", lane)


class Client:
    """The consumer as far as rounds use it: positions, pauses, and records that are there or not yet."""

    def __init__(self, lanes: int) -> None:
        self.ends = {place(n): 0 for n in range(lanes)}
        self.positions = {place(n): 0 for n in range(lanes)}
        self.paused = set(self.ends)
        self.broken: dict[TopicPartition, Exception] = {}
        self.broken_from = 0  # the offset that can't be read
        self.asked: list[set[int]] = []
        self._news = asyncio.Event()

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset(self.ends)

    def pause(self, *partitions: TopicPartition) -> None:
        self.paused |= set(partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        self.paused -= set(partitions)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.positions[partition] = offset

    def append(self, lane: int, count: int = 1) -> None:
        self.ends[place(lane)] += count
        self._news.set()

    async def getmany(self, *partitions: TopicPartition, timeout_ms: int, max_records: int) -> dict[Any, Any]:
        if timeout_ms:
            self.asked.append({p.partition for p in partitions})
        deadline = asyncio.get_running_loop().time() + timeout_ms / 1000
        while True:
            got: dict[Any, Any] = {}
            for partition in partitions:
                if partition in self.paused:
                    continue
                if partition in self.broken and self.positions[partition] >= self.broken_from and not got:
                    raise self.broken[partition]
                at, left = self.positions[partition], max_records - sum(map(len, got.values()))
                records = [Record(n) for n in range(at, min(self.ends[partition], at + left))]
                if records:
                    got[partition] = records
                    self.positions[partition] = records[-1].offset + 1
            left_s = deadline - asyncio.get_running_loop().time()
            if got or left_s <= 0:
                return got
            self._news.clear()
            try:
                async with asyncio.timeout(left_s):
                    await self._news.wait()
            except TimeoutError:
                return {}


async def _unused(*_: Any) -> None:
    raise NotImplementedError


@asynccontextmanager
async def rounds_of(client: Client) -> AsyncIterator[Rounds]:
    rounds = Rounds(cast("AIOKafkaConsumer", client), GroupCommit(_unused))
    pump = asyncio.create_task(rounds.run())
    try:
        yield rounds
    finally:
        pump.cancel()
        await asyncio.wait([pump])


async def take(
    rounds: Rounds, lane: int, *, wait_ms: int = 5_000, limit: int = 100, eager: bool = False
) -> list[int]:
    got = await rounds.take(lane, [place(lane)], wait_ms=wait_ms, limit=limit, eager=eager)
    return [r.offset for r in got.get(place(lane), [])]


async def test_waiting_lanes_are_fetched_together() -> None:
    """Lanes that wait at the same time are asked for in one call, and each gets its own records."""
    client = Client(3)
    async with rounds_of(client) as rounds:
        for lane in range(3):
            client.append(lane, lane + 1)
        found = await asyncio.gather(*(take(rounds, n) for n in range(3)))
    assert found == [[0], [0, 1], [0, 1, 2]]
    assert client.asked[0] == {0, 1, 2}


async def test_nothing_is_read_ahead() -> None:
    """While a lane is at work its partitions are paused: what it takes next is all that came meanwhile."""
    client = Client(2)
    async with rounds_of(client) as rounds:
        client.append(0)
        assert await take(rounds, 0) == [0]
        assert place(0) in client.paused
        client.append(0, 5)
        assert await take(rounds, 0) == [1, 2, 3, 4, 5]


async def test_lanes_at_work_are_waited_for() -> None:
    """A lane that comes back first is fetched for together with those that were still at work."""
    client = Client(2)
    async with rounds_of(client) as rounds:
        client.append(0)
        client.append(1)
        await asyncio.gather(take(rounds, 0), take(rounds, 1))
        client.append(0)
        client.append(1)
        first = asyncio.create_task(take(rounds, 0))
        await asyncio.sleep(0)
        assert not first.done()
        assert [await take(rounds, 1), await first] == [[1], [1]]
    assert client.asked[-1] == {0, 1}


async def test_a_lane_that_hangs_holds_nobody_for_good() -> None:
    """A lane that stays at work is waited for a moment only."""
    client = Client(2)
    async with rounds_of(client) as rounds:
        client.append(0)
        client.append(1)
        await asyncio.gather(take(rounds, 0), take(rounds, 1))
        client.append(0)
        assert await take(rounds, 0) == [1]


async def test_a_lane_that_gives_up_behind_one_at_work_ends_nothing() -> None:
    """When the only lane that waits is taken away while another is at work, the others go on."""
    client = Client(2)
    async with rounds_of(client) as rounds:
        client.append(0)
        client.append(1)
        await asyncio.gather(take(rounds, 0), take(rounds, 1))
        waiting = asyncio.create_task(take(rounds, 0))
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.sleep(0.1)  # longer than one at work is waited for
        client.append(1)
        assert await take(rounds, 1) == [1]


@pytest.mark.parametrize("lane", [0, 1, 2])
async def test_trouble_is_told_to_the_lane_it_concerns(lane: int) -> None:
    """A partition that can't be read fails its own lane's call; the others get their records."""
    client = Client(3)
    error = client.broken[place(lane)] = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "a header")
    async with rounds_of(client) as rounds:
        for other in {0, 1, 2} - {lane}:
            client.append(other)
        found = await asyncio.gather(*(take(rounds, n) for n in range(3)), return_exceptions=True)
    assert found == [error if n == lane else [0] for n in range(3)]


async def test_trouble_behind_the_first_record_is_told_too() -> None:
    """What can't be read behind a record that can is told at once: the lane reads both again, by its own position."""
    client = Client(2)
    client.broken_from = 1
    error = client.broken[place(0)] = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "a header")
    async with rounds_of(client) as rounds:
        client.append(0, 2)
        client.append(1)
        found = await asyncio.gather(take(rounds, 0), take(rounds, 1), return_exceptions=True)
    assert found == [error, [0]]


async def test_a_lost_partition_is_told_to_its_lane() -> None:
    """A partition that is no longer assigned fails its own lane's call, and keeps nobody from reading."""
    client = Client(2)
    del client.ends[place(1)], client.positions[place(1)]
    async with rounds_of(client) as rounds:
        client.append(0)
        found = await asyncio.gather(take(rounds, 0), take(rounds, 1), return_exceptions=True)
    assert found[0] == [0]
    assert isinstance(found[1], KeyError)


async def test_a_lane_with_work_of_its_own_goes_along() -> None:
    """A lane with due timers goes on when another gets records, and shares its transaction; one without waits on."""
    client = Client(3)
    async with rounds_of(client) as rounds:
        idle = asyncio.create_task(take(rounds, 1))
        eager = asyncio.create_task(take(rounds, 2, eager=True))
        first = asyncio.create_task(take(rounds, 0))
        await asyncio.sleep(0)
        client.append(0)
        assert [await first, await eager] == [[0], []]
        assert rounds._group._expected == {0, 2}
        assert not idle.done()
        idle.cancel()


async def test_what_was_taken_for_a_lane_that_gave_up_is_given_back() -> None:
    """Records that come for a call that was cancelled are read again by the lane's next life."""
    client = Client(1)
    async with rounds_of(client) as rounds:
        waiting = asyncio.create_task(take(rounds, 0, wait_ms=300))
        await asyncio.sleep(0.01)  # its fetch is under way
        waiting.cancel()
        await asyncio.wait([waiting])
        client.append(0, 3)
        await asyncio.sleep(0.01)
        assert await take(rounds, 0) == [0, 1, 2]


async def test_none_in_time_is_an_empty_batch() -> None:
    """A lane without records is answered when its time is over: it has timers and operators to look after."""
    async with rounds_of(Client(1)) as rounds:
        assert await take(rounds, 0, wait_ms=20) == []


async def test_a_lane_without_records_is_not_left_behind() -> None:
    """A lane that looked after its timers is read again with the others, not only when their time is over."""
    client = Client(2)
    async with rounds_of(client) as rounds:
        other = asyncio.create_task(take(rounds, 1, wait_ms=60_000))
        async with asyncio.timeout(20):  # a third of the other's time
            for _ in range(3):
                assert await take(rounds, 0, wait_ms=10) == []
            client.append(0)
            assert await take(rounds, 0) == [0]
        assert not other.done()
        client.append(1)
        assert await other == [0]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 7), st.integers(1, 5)), max_size=25))
def test_every_record_is_taken_once_in_order(steps: list[tuple[int, int, int]]) -> None:
    """However appends and calls interleave, each lane takes its partition's records in order, none twice, none lost."""

    async def walk() -> None:
        client = Client(3)
        taken: dict[int, list[int]] = {n: [] for n in range(3)}
        async with rounds_of(client) as rounds:
            for lane, count, limit in steps:
                client.append(lane, count)
                got = await asyncio.gather(*(take(rounds, n, wait_ms=1, limit=limit) for n in range(3)))
                for n, offsets in enumerate(got):
                    assert len(offsets) <= limit
                    taken[n] += offsets
            for n in range(3):
                while len(taken[n]) < client.ends[place(n)]:
                    taken[n] += await take(rounds, n)
        for n in range(3):
            assert taken[n] == list(range(client.ends[place(n)]))

    asyncio.run(walk())
