"""What follows a lane's log: fed in process right after each commit, reading the log itself where it is behind."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from orchestrator import metrics
from orchestrator.engine.envelope import Recorded
from orchestrator.engine.lane import Committed, Lane

_FED_EVENTS_MAX = 20_000
_READ_EVENTS = 2_000


class Follower(Protocol):
    """One projection of one lane, alive while this process owns the lane."""

    name: str
    tells: bool  # outcomes, for which somebody waits

    def feed(self, committed: Committed) -> None:
        """Called by the owner right after each commit; must not block."""

    async def run(self) -> None:
        """Follow until cancelled; any error makes the lane open again and start all followers anew."""

    @property
    def lag_events(self) -> int:
        """Events in the log that this follower hasn't dealt with."""


class Run:
    """A contiguous stretch of the log to deal with, and when the broker got the messages behind it (ms)."""

    __slots__ = ("appended_ms", "events")

    def __init__(self, events: Sequence[Recorded], appended_ms: Sequence[int] = ()) -> None:
        self.events = events
        self.appended_ms = appended_ms

    @property
    def last(self) -> int:
        return self.events[-1].position


class LogFeed:
    """The next contiguous run after a position: from memory when the owner just fed it, else from the log."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._fed: deque[Committed] = deque()
        self._fed_events = 0
        self._news = asyncio.Event()

    def feed(self, committed: Committed) -> None:
        if not committed.events:
            return
        self._fed.append(committed)
        self._fed_events += len(committed.events)
        if self._fed_events > _FED_EVENTS_MAX:  # a slow follower reads the log instead: memory stays bounded
            self._fed.clear()
            self._fed_events = 0
        self._news.set()

    async def next(self, position: int) -> Run:
        """Wait for events after `position` and return the first of them, in order."""
        while True:
            self._news.clear()
            run = self._from_memory(position)
            if run is not None:
                return run
            if self._lane.position > position:
                events = await self._lane.read_log(position, _READ_EVENTS)
                if events:
                    return Run(events)
            await self._news.wait()

    def ready(self, position: int) -> bool:
        """Whether `next` would return at once."""
        return self._lane.position > position

    def _from_memory(self, position: int) -> Run | None:
        fed = self._fed
        while fed and fed[0].events[-1].position <= position:
            self._fed_events -= len(fed.popleft().events)
        if not fed or fed[0].events[0].position != position + 1:
            return None
        events: list[Recorded] = []
        appended: list[int] = []
        while (
            fed
            and len(events) < _READ_EVENTS
            and (not events or fed[0].events[0].position == events[-1].position + 1)
        ):
            committed = fed.popleft()
            self._fed_events -= len(committed.events)
            events += committed.events
            appended += committed.appended_ms
        return Run(events, appended)


def report_lag(lane: int, follower: Follower) -> None:
    """Set the follower's lag gauge."""
    metrics.FOLLOWER_LAG.labels(f"{lane:03d}", follower.name).set(max(0, follower.lag_events))
