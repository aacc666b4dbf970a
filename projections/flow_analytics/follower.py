"""The follower that counts: exactly once, since counts are added in the transaction that moves its position."""

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from orchestrator.engine.envelope import Recorded
from orchestrator.engine.follower import LogFeed
from orchestrator.engine.lane import Committed, Lane
from orchestrator.engine.positions import OUT
from orchestrator.engine.store import Move
from projections.flow_analytics import tables
from projections.flow_analytics.counting import Counts, Open, count, counts, definition_of

NAME: Final = "flow_analytics"
_POSITION: Final = OUT + NAME
_STREAMS_KEPT: Final = 5_000
_EVENTS_MAX: Final = 10_000  # of a transaction
_UNCOUNTED_MAX: Final = 10_000  # events without anything to count that may lie behind the saved position


class FlowAnalytics:
    """One lane's. `wait_s`: how long the first of the events not yet written may wait for others."""

    name = NAME
    tells = False

    def __init__(self, lane: Lane, *, wait_s: float = 0.5) -> None:
        self._lane = lane
        self._wait_s = wait_s
        self._feed = LogFeed(lane)
        self._position = 0
        self._saved = 0
        self._open: OrderedDict[UUID, Open] = OrderedDict()
        self._changed: dict[UUID, Open] = {}
        self._counts: Counts = Counter()

    def feed(self, committed: Committed) -> None:
        self._feed.feed(committed)

    @property
    def lag_events(self) -> int:
        return self._lane.position - (self._saved if self._changed else self._position)

    async def run(self) -> None:
        self._position = self._saved = (await self._lane.run(self._lane.store.positions))[_POSITION].at
        while True:
            await self._gather()
            await self._save()

    async def _gather(self) -> None:
        """Count events until there is enough to write, or the first that counted has waited long enough."""
        begun = self._position
        until_s: float | None = None
        while self._position - begun < _EVENTS_MAX:
            left_s = None if until_s is None else until_s - time.monotonic()
            try:
                async with asyncio.timeout(left_s) as limit:
                    run = await self._feed.next(self._position)
            except TimeoutError:
                if not limit.expired():
                    raise
                return
            await self._count(run.events)
            self._position = run.last
            if until_s is None and self._changed:
                until_s = time.monotonic() + self._wait_s

    async def _count(self, events: Sequence[Recorded]) -> None:
        found = [
            (event, definition)
            for event in events
            if counts(event.envelope.data)
            and (definition := definition_of(event.envelope.stream)) is not None
        ]
        if not found:
            return
        await self._bring({event.stream_id for event, _ in found})
        for event, definition in found:
            open = self._changed[event.stream_id] = self._open[event.stream_id]
            count(open, definition, event.envelope.data, self._counts)

    async def _bring(self, streams: set[UUID]) -> None:
        """Have what is open of these streams at hand, last used last."""
        cold = [stream for stream in streams if stream not in self._open]
        loaded = await self._lane.run(tables.load, self._lane.store, cold) if cold else {}
        for stream in streams:
            if stream in self._open:
                self._open.move_to_end(stream)
            else:
                self._open[stream] = loaded.get(stream) or Open()

    async def _save(self) -> None:
        if not self._changed and self._position - self._saved < _UNCOUNTED_MAX:
            return
        move = Move(_POSITION, self._saved, self._position)
        await self._lane.run(tables.save, self._lane.store, move, self._counts, self._changed)
        self._saved = self._position
        self._counts, self._changed = Counter(), {}
        while len(self._open) > _STREAMS_KEPT:
            self._open.popitem(last=False)
