"""Effects and compacted snapshots: one transactional producer a lane, the position inside the Kafka transaction.

A zombie owner can neither repeat an effect nor overwrite a newer snapshot: the broker fences its producer.
The position is also saved in the lane afterwards, since Kafka forgets offsets of groups that stay empty.
"""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from typing import Any

import msgspec
import structlog
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from orchestrator import metrics
from orchestrator.core.addresses import LANE, Stream, parse_stream
from orchestrator.core.events import EffectRequested
from orchestrator.engine.follower import LogFeed, Run
from orchestrator.engine.lane import Capture, Committed, Lane
from orchestrator.engine.pacing import aside
from orchestrator.engine.positions import LOG, OUT
from orchestrator.engine.store import Move
from orchestrator.group_offsets import committed_offsets
from projections.producers import stop_bounded
from projections.records import Out, effect_record, instant
from projections.sending import send

NAME = "exactly_once"
_EVENTS_PER_TRANSACTION = 4_000  # a run more may come on top
_LINGER_S = 0.5  # of snapshots
_BUSY_EVENTS = 100  # of a lane in that time; then it waits for its turn:
_TURNS_S = 2.0  # in which each busy lane has one
_SAVE_EVERY_S = 1.0
_CAPTURES_MAX = 50_000
_START_TIMEOUT_S = 30.0
_TRANSACTION_TIMEOUT_S = 45.0
log = structlog.get_logger("effects and snapshots")
_encode = msgspec.json.Encoder().encode


class ExactlyOnce:
    """One lane's effects and snapshots."""

    name = NAME
    tells = False

    def __init__(self, lane: Lane, kafka: Mapping[str, Any], topics: Mapping[str, str]) -> None:
        self._lane = lane
        self._kafka = dict(kafka)
        self._topics = topics
        # Named for the topic it guards, not for the worker's group: owners of two groups fence each other, too.
        self._group = f"{topics['effects']}-lane-{lane.number:03d}"
        self._partition = TopicPartition(topics["commands"], lane.number)
        self._feed = LogFeed(lane)
        self._captures: dict[str, Capture] = {}
        self._position = 0
        self._saved = 0
        self._effect_at = 0  # the last position with an effect
        self._hurry = asyncio.Event()
        self._pace = partial(aside, hurried=self._may_not_wait)

    def feed(self, committed: Committed) -> None:
        for capture in committed.captures:
            self._captures[capture.frame.stream.text] = capture
        if len(self._captures) > _CAPTURES_MAX:  # a slow broker: what is forgotten here is loaded again
            self._captures.clear()
        self._feed.feed(committed)
        if any(isinstance(r.envelope.data, EffectRequested) for r in committed.events):
            self._effect_at = committed.events[-1].position
        if self._may_not_wait():
            self._hurry.set()

    @property
    def lag_events(self) -> int:
        return self._lane.position - self._position

    async def run(self) -> None:
        producer = AIOKafkaProducer(
            **{**self._kafka, "retry_backoff_ms": 3},
            transactional_id=self._group,
            enable_idempotence=True,
            max_batch_size=1 << 20,
            max_request_size=8 << 20,
        )
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                await producer.start()  # fences the lane's former owner, aborts what it left open
            positions = await self._lane.run(self._lane.store.positions)
            self._saved = positions[OUT + NAME].at
            committed = await self._committed()
            # Compared with the log as it is after the fence, not as it was when the lane was opened: until the fence
            # a former owner could append and publish, and what it published must not be sent again.
            if committed > positions[LOG].at:  # of a log that is no more: a new or restored database
                log.warning(
                    "kafka knows a later position than the log", lane=self._lane.number, committed=committed
                )
                committed = 0
            self._position = max(self._saved, committed)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._save_regularly())
                while True:
                    await self._transact(producer, await self._gather())
        finally:
            await stop_bounded(producer)

    async def _committed(self) -> int:
        """The position of the last committed Kafka transaction; 0 when Kafka knows none, or one of another log."""
        found = await committed_offsets(
            self._kafka, self._group, [self._partition], within_s=_START_TIMEOUT_S
        )
        last = found[self._partition]
        if last is None:
            return 0
        if last.metadata and last.metadata != self._log_mark():
            log.warning("kafka remembers another log", lane=self._lane.number, committed=last.offset)
            return 0
        return int(last.offset)

    def _log_mark(self) -> str:
        """Tells a lane's log from one that stood in its place: a new database draws a new secret."""
        return blake2b(self._lane.secret, digest_size=8, person=b"log mark").hexdigest()

    async def _gather(self) -> list[Run]:
        """What one transaction takes: a transaction costs the broker more than what is in it, so snapshots wait a little."""
        runs = [await self._feed.next(self._position)]
        if not any(isinstance(r.envelope.data, EffectRequested) for r in runs[0].events):
            await self._linger()
        while sum(len(r.events) for r in runs) < _EVENTS_PER_TRANSACTION and self._feed.ready(runs[-1].last):
            runs.append(await self._feed.next(runs[-1].last))
        return runs

    async def _linger(self) -> None:
        """Wait for more, until an effect or a transaction's worth of events has come."""
        self._hurry.clear()
        await self._wait(_LINGER_S)
        if self.lag_events >= _BUSY_EVENTS:
            await self._wait(self._until_turn_s())

    async def _wait(self, for_s: float) -> None:
        if self._may_not_wait():
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(for_s):
                await self._hurry.wait()

    def _until_turn_s(self) -> float:
        """Busy lanes go one after another: their transactions together would hold up every command of that moment.

        All workers of a machine see the same clock.
        """
        turn_s = self._lane.number * _TURNS_S / self._lane.lanes
        return (turn_s - time.monotonic()) % _TURNS_S

    def _may_not_wait(self) -> bool:
        return self._effect_at > self._position or self.lag_events >= _EVENTS_PER_TRANSACTION

    async def _transact(self, producer: AIOKafkaProducer, runs: list[Run]) -> None:
        events = [recorded for run in runs for recorded in run.events]
        outs = [
            effect_record(r)
            for r in events
            if isinstance(r.envelope.data, EffectRequested) and not r.envelope.data.suppressed
        ]
        streams = {
            r.envelope.stream: r.version for r in events if not r.envelope.stream.startswith(f"/{LANE}/")
        }
        outs += await self._snapshots(streams)
        last = runs[-1].last
        if outs:
            with metrics.PUBLISH_S.labels("snapshots").time():
                # Left open by whatever fails here: the next start aborts it. To abort it here is to ask a broker that
                # may have fenced this producer, and a client that waits for the answer without a limit.
                async with asyncio.timeout(_TRANSACTION_TIMEOUT_S):
                    await producer.begin_transaction()
                    await send(
                        producer, outs, self._topics, self._lane.number, transactional=True, pace=self._pace
                    )
                    offsets = {self._partition: OffsetAndMetadata(last, self._log_mark())}
                    await producer.send_offsets_to_transaction(offsets, self._group)
                    await producer.commit_transaction()
        self._position = last

    async def _snapshots(self, streams: Mapping[str, int]) -> list[Out]:
        """The newest snapshot of each stream: as captured at its last commit, loaded where that was elsewhere."""
        found: list[Capture] = []
        cold: list[Stream] = []
        for text, version in streams.items():
            capture = self._captures.get(text)
            # Fed behind the log that was just read, a capture would be older than what it stands for.
            if capture is None or capture.version < version:
                cold.append(parse_stream(text))
                continue
            found.append(capture)
            if capture.version <= version:  # a newer one is needed again, by the run that it belongs to
                del self._captures[text]
        if cold:
            found += await self._lane.committed_captures(cold)
        return [_snapshot(capture) async for capture in self._pace(found)]

    async def _save_regularly(self) -> None:
        while True:
            await asyncio.sleep(_SAVE_EVERY_S)
            if self._position > self._saved:
                was, self._saved = self._saved, self._position
                await self._lane.run(self._lane.store.move, [Move(OUT + NAME, was, self._saved)])


def _snapshot(capture: Capture) -> Out:
    stream, kind = capture.frame.stream, capture.frame.kind
    made = [
        ("ce_specversion", b"1.0"), ("ce_id", f"{stream.text}/{capture.version}".encode()),
        ("ce_source", b"journey-orchestrator"), ("ce_type", b"journey.snapshot"),
        ("ce_subject", stream.text.encode()), ("ce_time", instant(capture.at_ms)),
        ("content-type", b"application/json"),
    ]  # fmt: skip
    if capture.state is None:
        return Out("snapshots", stream.text.encode(), None, made)
    value = {
        "stream": stream.text,
        "kind": stream.kind,
        "definition": stream.definition,
        "definitionVersion": capture.definition_version,
        "state": kind.label(capture.state),
        "revision": capture.version,
        "updatedMs": capture.at_ms,
        "view": kind.view(capture.state),
    }
    return Out("snapshots", stream.text.encode(), _encode(value), made)
