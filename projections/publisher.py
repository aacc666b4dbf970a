"""Events, outcomes, dead letters and forwards to their topics: at least once, first copies in log order."""

import asyncio
import time
from collections.abc import Mapping
from typing import Protocol

from aiokafka import AIOKafkaProducer

from orchestrator import metrics
from orchestrator.core.lane_events import BatchNoted, DeadLettered, Forwarded
from orchestrator.engine.envelope import Recorded
from orchestrator.engine.follower import LogFeed, Run
from orchestrator.engine.lane import Committed, Lane
from orchestrator.engine.pacing import paced
from orchestrator.engine.positions import OUT
from orchestrator.engine.store import Move
from projections import records
from projections.records import Out
from projections.sending import send
from projections.tellings import replies, told_records

NAME = "publisher"
_SAVE_EVERY_S = 1.0


class Producers(Protocol):
    """Gives a started idempotent producer; `discard` after an error so that the next one is fresh."""

    async def get(self) -> AIOKafkaProducer: ...

    async def discard(self, producer: AIOKafkaProducer) -> None: ...


class Publisher:
    """One lane's. Its saved position never passes what the broker acknowledged."""

    name = NAME
    tells = True

    def __init__(self, lane: Lane, producers: Producers, topics: Mapping[str, str]) -> None:
        self._lane = lane
        self._producers = producers
        self._topics = topics
        self._feed = LogFeed(lane)
        self._position = 0
        self._saved = 0

    def feed(self, committed: Committed) -> None:
        self._feed.feed(committed)

    @property
    def lag_events(self) -> int:
        return self._lane.position - self._position

    async def run(self) -> None:
        positions = await self._lane.run(self._lane.store.positions)
        self._position = self._saved = positions[OUT + NAME].at
        async with asyncio.TaskGroup() as group:
            group.create_task(self._save_regularly())
            while True:
                await self._publish(await self._feed.next(self._position))

    async def _publish(self, run: Run) -> None:
        lanes = self._lane.lanes
        outs = [out async for recorded in paced(run.events) for out in render(recorded, lanes)]
        outs += replies(run.events, lanes)
        producer = await self._producers.get()
        try:
            with metrics.PUBLISH_S.labels("outcomes").time():
                await send(producer, outs, self._topics, self._lane.number)
        except Exception:
            await self._producers.discard(producer)
            raise
        self._position = run.last
        now_ms = time.time() * 1000
        metrics.APPEND_TO_OUTCOME_S.observe_all(
            (now_ms - appended_ms) / 1000 for appended_ms in run.appended_ms
        )

    async def _save_regularly(self) -> None:
        while True:
            await asyncio.sleep(_SAVE_EVERY_S)
            if self._position > self._saved:
                was, self._saved = self._saved, self._position
                await self._lane.run(self._lane.store.move, [Move(OUT + NAME, was, self._saved)])


def render(recorded: Recorded, lanes: int) -> list[Out]:
    """The records one event of the log becomes."""
    event = recorded.envelope.data
    if event.TELLS:
        return [*records.journey_records(recorded), *told_records(recorded, lanes)]
    if isinstance(event, BatchNoted):
        return records.noted_outcomes(recorded)
    if isinstance(event, DeadLettered):
        return records.dead_letter_records(recorded)
    if isinstance(event, Forwarded):
        return [records.forward_record(recorded)] if event.private else []  # older than its bytes are kept
    if recorded.envelope.stream.startswith("/"):
        return [records.lane_record(recorded)]
    return records.journey_records(recorded)
