import asyncio
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.engine import follower
from orchestrator.engine.envelope import Envelope, Recorded
from orchestrator.engine.follower import LogFeed
from orchestrator.engine.lane import Committed, Lane
from tests.support.memory import NOW_MS, STREAM


class Log:
    """A lane's log, as a feed reads it."""

    def __init__(self) -> None:
        self.events: list[Recorded] = []
        self.reads = 0

    @property
    def position(self) -> int:
        return len(self.events)

    def append(self, count: int) -> Committed:
        start = len(self.events)
        envelope = Envelope(STREAM.text, "tests", "k", "", NOW_MS, None)
        made = [Recorded(start + n, STREAM.id, start + n, "x", envelope, b"") for n in range(1, count + 1)]
        self.events += made
        return Committed(made, (), [NOW_MS] * count)

    async def read_log(self, after: int, limit: int) -> list[Recorded]:
        self.reads += 1
        await asyncio.sleep(0)
        return self.events[after : after + limit]


_FOLLOWED = st.sampled_from([False, False, False, True])
_STEPS = st.lists(st.tuples(st.integers(0, 6), st.booleans(), _FOLLOWED), min_size=3, max_size=30)


@settings(max_examples=200)
@given(_STEPS, st.integers(0, 5), st.integers(5, 60), st.integers(1, 40))
def test_a_follower_gets_every_event_once_and_in_order(
    steps: list[tuple[int, bool, bool]], before: int, memory: int, read: int
) -> None:
    """Fed in process, behind, or both: what a follower is given is the log after its position, nothing else."""

    async def follow() -> None:
        log = Log()
        log.append(before)
        feed = LogFeed(cast("Lane", log))
        position, got = 0, list[int]()
        for count, fed, followed in [*steps, (0, False, True)]:
            committed = log.append(count)
            if fed:
                feed.feed(committed)
            while followed and feed.ready(position):
                async with asyncio.timeout(5):
                    run = await feed.next(position)
                got += [e.position for e in run.events]
                position = run.last
        assert got == list(range(1, log.position + 1))
        assert feed._fed_events <= memory

    kept: Any = (follower._FED_EVENTS_MAX, follower._READ_EVENTS)
    follower._FED_EVENTS_MAX, follower._READ_EVENTS = memory, read  # type: ignore[misc]
    try:
        asyncio.run(follow())
    finally:
        follower._FED_EVENTS_MAX, follower._READ_EVENTS = kept  # type: ignore[misc]


async def test_a_follower_that_waits_is_woken_by_the_next_commit() -> None:
    """Nothing polls: a fed commit wakes the follower, which doesn't touch the database for it."""
    log = Log()
    feed = LogFeed(cast("Lane", log))
    waiting = asyncio.create_task(feed.next(0))
    await asyncio.sleep(0)
    assert not waiting.done()
    feed.feed(log.append(3))
    async with asyncio.timeout(5):
        run = await waiting
    assert ([e.position for e in run.events], list(run.appended_ms), log.reads) == (
        [1, 2, 3],
        [NOW_MS] * 3,
        0,
    )
