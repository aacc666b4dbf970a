"""Presence: listens to heartbeats of the lanes this process owns, and tells a distribution who stopped giving any.

A heartbeat is a record of the signals topic, keyed like commands by the distribution's owner:
`{"stream": "acme/r/shoes.vip/queue:shoes:vip", "participant": "anna"}`. It costs no transaction and no event. What a
distribution hears is the command `absent`, and `present` for who came back in time; both are decided like any other.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from consumers.signals.beats import Beats
from orchestrator import metrics
from orchestrator.core.resource import ResourceKind
from orchestrator.engine.frame import Frame
from orchestrator.engine.lane import Lane

SOURCE: Final = "engine/presence"
NAMED_AT_ONCE: Final = 1_000  # participants in one command
_SWEEP_EVERY_S = 2.0
_READ_AT_ONCE = 5_000
_STREAMS_MAX = 10_000
_HEARD_MAX = 2_000_000  # heartbeats held: a bound on memory, far above what waits in one process
_TIMEOUT_S = 10.0
_RETRY_S = 2.0
_LOOKED_AT_ONCE = 20_000  # participants between two turns of the event loop
log = structlog.get_logger("presence")


class Signal(msgspec.Struct, gc=False):
    """A heartbeat as it is written."""

    stream: str
    participant: str


_decode = msgspec.json.Decoder(Signal).decode
_encode = msgspec.json.Encoder().encode


class Producers(Protocol):
    """Gives a started producer; `discard` after an error."""

    async def get(self) -> AIOKafkaProducer: ...

    async def discard(self, producer: AIOKafkaProducer) -> None: ...


class Presence:
    """One a worker. `lanes` gives those that it owns and that are ready at the time."""

    def __init__(
        self,
        *,
        kafka: Mapping[str, Any],
        topic: str,
        commands_topic: str,
        producers: Producers,
        lanes: Callable[[], Sequence[Lane]],
        clock_ms: Callable[[], int],
    ) -> None:
        self._kafka = dict(kafka)
        self._topic = topic
        self._commands_topic = commands_topic
        self._producers = producers
        self._lanes = lanes
        self._clock_ms = clock_ms
        self._beats = Beats()
        self._since_ms: dict[int, int] = {}  # lane to when we began to listen

    async def run(self) -> None:
        """Until cancelled. Whatever fails is tried again: meanwhile nobody is taken for absent."""
        while True:
            try:
                if self._is_wanted():
                    await self._listen()
            except (KafkaError, TimeoutError, OSError) as error:
                log.warning("presence waits for kafka", error=f"{type(error).__name__}: {error}"[:300])
            self._since_ms.clear()  # what is missed until we listen again was no silence
            await asyncio.sleep(_RETRY_S)

    async def _listen(self) -> None:
        consumer = AIOKafkaConsumer(
            **self._kafka, enable_auto_commit=False, auto_offset_reset="latest", fetch_max_wait_ms=500
        )
        await consumer.start()
        try:
            sweep_at_s = 0.0
            loop = asyncio.get_running_loop()
            while True:
                await self._follow_lanes(consumer)
                if self._since_ms:
                    got = await consumer.getmany(timeout_ms=500, max_records=_READ_AT_ONCE)
                    for records in got.values():
                        self._hear(records)
                else:
                    await asyncio.sleep(0.5)
                if loop.time() >= sweep_at_s:
                    sweep_at_s = loop.time() + _SWEEP_EVERY_S
                    await self._sweep()
                    if not self._is_wanted():
                        return
        finally:
            await consumer.stop()

    def _is_wanted(self) -> bool:
        """Whether anybody's presence matters here."""
        return any(_timeout_ms(frame) for lane in self._lanes() for frame in lane.resources())

    async def _follow_lanes(self, consumer: AIOKafkaConsumer) -> None:
        """Listen where this process owns the lane, from now on."""
        owned = {lane.number for lane in self._lanes()}
        if owned == set(self._since_ms):
            return
        fresh = owned - set(self._since_ms)
        consumer.assign([TopicPartition(self._topic, number) for number in sorted(owned)])
        if fresh:
            async with asyncio.timeout(_TIMEOUT_S):
                await consumer.seek_to_end(*(TopicPartition(self._topic, number) for number in fresh))
        now_ms = self._clock_ms()
        self._since_ms = {number: self._since_ms.get(number, now_ms) for number in owned}

    def _hear(self, records: Sequence[Any]) -> None:
        known = set(self._beats.streams)
        for record in records:
            try:
                signal = _decode(record.value or b"")
            except (msgspec.MsgspecError, UnicodeDecodeError):
                metrics.SIGNALS.labels("unreadable").inc()
                continue
            if signal.stream not in known and len(known) >= _STREAMS_MAX:
                continue  # somebody makes streams up; the next sweep forgets those that are none
            known.add(signal.stream)
            self._beats.hear(signal.stream, signal.participant, record.timestamp)
        metrics.SIGNALS.labels("heard").inc(len(records))

    async def _sweep(self) -> None:
        """Tell each distribution who has gone, and who is back."""
        known: set[str] = set()
        for lane in self._lanes():
            for frame in lane.resources():
                known.add(frame.stream.text)
                await self._sweep_one(lane.number, frame)
        self._beats.forget([stream for stream in self._beats.streams if stream not in known])
        if len(self._beats) > _HEARD_MAX:
            log.warning("too many heartbeats, all are forgotten", heard=len(self._beats))
            self._beats = Beats()
            self._since_ms.clear()

    async def _sweep_one(self, number: int, frame: Frame) -> None:
        kind, timeout_ms = frame.kind, _timeout_ms(frame)
        if not timeout_ms or number not in self._since_ms:
            return
        assert isinstance(kind, ResourceKind)
        now_ms, stream = self._clock_ms(), frame.stream.text
        self._beats.keep(stream, after_ms=now_ms - timeout_ms)
        back = self._back(frame, now_ms - timeout_ms)
        if back:
            await self._tell(number, stream, "present", back, now_ms)
        awaited = kind.awaited(frame.state)
        gone: list[str] = []
        for start in range(0, len(awaited), _LOOKED_AT_ONCE):
            gone += self._beats.absent(
                stream,
                awaited[start : start + _LOOKED_AT_ONCE],
                since_ms=self._since_ms[number],
                timeout_ms=timeout_ms,
                now_ms=now_ms,
            )
            await asyncio.sleep(0)
        if gone:
            await self._tell(number, stream, "absent", gone, now_ms)

    def _back(self, frame: Frame, after_ms: int) -> list[str]:
        """Those noted absent who were heard since."""
        kind, stream = frame.kind, frame.stream.text
        assert isinstance(kind, ResourceKind)
        noted = kind.noted_absent(frame.state)
        silent = set(self._beats.absent(stream, noted, since_ms=0, timeout_ms=0, now_ms=after_ms))
        return [name for name in noted if name not in silent]

    async def _tell(self, number: int, stream: str, word: str, names: Sequence[str], now_ms: int) -> None:
        """Commands of bounded size. One that is lost is sent again by the next sweep, one that comes twice changes nothing."""
        owner = stream.rpartition("/")[0].encode()
        producer = await self._producers.get()
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                for start in range(0, len(names), NAMED_AT_ONCE):
                    some = names[start : start + NAMED_AT_ONCE]
                    headers = [
                        ("ce_specversion", b"1.0"),
                        ("ce_id", f"{stream}/{word}/{now_ms}/{start}".encode()),
                        ("ce_source", SOURCE.encode()),
                        ("ce_type", word.encode()),
                        ("ce_subject", stream.encode()),
                        ("content-type", b"application/json"),
                    ]
                    value = _encode({"participants": some, "since_ms": now_ms})
                    await producer.send_and_wait(
                        self._commands_topic, value=value, key=owner, partition=number, headers=headers
                    )
        except Exception:
            await self._producers.discard(producer)
            raise


def _timeout_ms(frame: Frame) -> int:
    kind = frame.kind
    if frame.state is None or not isinstance(kind, ResourceKind):
        return 0
    return kind.presence_timeout_ms(frame.state)


__all__ = ["SOURCE", "Presence", "Signal"]
