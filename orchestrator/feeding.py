"""Messages to Kafka and what became of each: a producer and a reader of outcomes, with a bounded number under way."""

import asyncio
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError

from orchestrator.core.errors import OrchestratorError
from orchestrator.core.messages import Outcome
from orchestrator.settings import Settings

UNDER_WAY_MAX = 5_000
STALL_S = 60.0
_POLL_MS = 200
_CLOSE_WITHIN_S = 10.0
_OUTCOMES_KEPT = 100_000  # latencies, for percentiles


class Message(NamedTuple):
    """A record to publish. `command` is its (source, id) if an outcome will name them, else None."""

    topic: str  # a setting's name, such as `commands` or `raw`
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    command: tuple[str, str] | None


class NoOutcome(OrchestratorError):
    """Nothing came back for too long."""


class _Sent:
    """One copy of a command under way. Times are the broker's append times in ms."""

    __slots__ = ("answered_ms", "appended_ms")

    def __init__(self) -> None:
        self.appended_ms = 0
        self.answered_ms = 0


class Feeder:
    """Publishes and counts. Copies of one command are answered in the order they were sent."""

    def __init__(
        self, settings: Settings, *, under_way_max: int = UNDER_WAY_MAX, stall_s: float = STALL_S
    ) -> None:
        self.outcomes: Counter[tuple[str, bool]] = Counter()  # (outcome, duplicate) to how many
        self.latencies_ms = array("d")
        self.sent = 0
        self.answered = 0
        self.first_append_ms = 0
        self.last_outcome_ms = 0
        self.on_outcome: Callable[[Outcome], None] = lambda _outcome: None  # the first of each message
        self.ends: dict[tuple[str, int], int] = {}  # topic, partition to the last offset written there
        self._settings = settings
        self._under_way_max = under_way_max
        self._stall_s = stall_s
        self._under_way: dict[tuple[str, str], deque[_Sent]] = {}
        self._count = 0
        self._moved_s = time.monotonic()
        self._news = asyncio.Event()
        self._decode = msgspec.json.Decoder(Outcome).decode
        kafka = settings.kafka()
        self._producer = AIOKafkaProducer(**kafka, acks="all", enable_idempotence=True, linger_ms=5)
        self._consumer = AIOKafkaConsumer(
            settings.topic("outcomes"), **kafka, enable_auto_commit=False, isolation_level="read_committed"
        )  # without a group: all partitions
        self._reading: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None

    async def __aenter__(self) -> Self:
        await self._producer.start()
        try:
            await self._consumer.start()
            partitions = self._consumer.assignment()
            if not partitions:
                raise NoOutcome(
                    f"topic {self._settings.topic('outcomes')} does not exist: run `orchestrator init`"
                )
            ends = await self._consumer.end_offsets(partitions)
            for partition, end in ends.items():
                self._consumer.seek(partition, end)
        except BaseException:
            await self._close()
            raise
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_error: object) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait((self._reading,))
        await self._close()

    async def _close(self) -> None:
        for client in (self._producer, self._consumer):
            try:
                async with asyncio.timeout(_CLOSE_WITHIN_S):
                    await client.stop()
            except (TimeoutError, KafkaError, OSError):
                continue

    @property
    def under_way(self) -> int:
        """Messages sent whose outcome hasn't come."""
        return self._count

    async def send(self, message: Message) -> None:
        """Publish; waits while too many are under way. Raises NoOutcome when nothing moves any more, KafkaError."""
        await self._until(lambda: self._count < self._under_way_max)
        sent = _Sent()
        if message.command is not None:
            if message.command not in self._under_way:
                self._under_way[message.command] = deque()
            self._under_way[message.command].append(sent)
            self._count += 1
        if not self.sent:
            self._moved_s = time.monotonic()
        self.sent += 1
        topic = self._settings.topic(message.topic)
        future = await self._producer.send(
            topic, message.value, key=message.key, headers=list(message.headers)
        )
        future.add_done_callback(lambda done: self._acknowledged(done, sent))

    async def drain(self) -> None:
        """Wait for every outcome. Raises NoOutcome when none comes for too long, KafkaError."""
        await self._producer.flush()
        self._moved_s = time.monotonic()
        await self._until(lambda: not self._count)

    async def _until(self, done: Callable[[], bool]) -> None:
        while not done():
            if self._failure is not None:
                raise self._failure
            left_s = self._moved_s + self._stall_s - time.monotonic()
            if left_s <= 0:
                raise NoOutcome(
                    f"{self._count} messages were published and no outcome came for {self._stall_s:g} s: is a worker running?"
                    " Start one with `orchestrator worker`, or look at `orchestrator lanes list`"
                )
            self._news.clear()
            try:
                async with asyncio.timeout(min(left_s, 1.0)):
                    await self._news.wait()
            except TimeoutError:
                continue
        if self._failure is not None:
            raise self._failure

    def _acknowledged(self, done: "asyncio.Future[Any]", sent: _Sent) -> None:
        if done.cancelled():
            return
        error = done.exception()
        if error is not None:
            self._fail(error)
            return
        metadata = done.result()
        place = (metadata.topic, metadata.partition)
        self.ends[place] = max(self.ends.get(place, -1), metadata.offset)
        sent.appended_ms = metadata.timestamp
        self.first_append_ms = self.first_append_ms or metadata.timestamp
        self._note_latency(sent)

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self._news.set()

    async def _read(self) -> None:
        try:
            while True:
                for records in (await self._consumer.getmany(timeout_ms=_POLL_MS)).values():
                    for record in records:
                        self._answer(self._decode(record.value), record.timestamp)
        except Exception as error:  # noqa: BLE001  told by whoever waits
            self._fail(error)

    def _answer(self, outcome: Outcome, at_ms: int) -> None:
        command = (outcome.source, outcome.id)
        copies = self._under_way.get(command)
        if copies is None:
            return
        self.outcomes[(outcome.outcome, outcome.duplicate)] += 1
        sent = copies.popleft()
        if not copies:
            del self._under_way[command]
        self._count -= 1
        self.answered += 1
        self.last_outcome_ms = max(self.last_outcome_ms, at_ms)
        self._moved_s = time.monotonic()
        sent.answered_ms = at_ms
        self._note_latency(sent)
        self.on_outcome(outcome)
        self._news.set()

    def _note_latency(self, sent: _Sent) -> None:
        """Acknowledgement and outcome may come in either order."""
        if sent.appended_ms and sent.answered_ms and len(self.latencies_ms) < _OUTCOMES_KEPT:
            self.latencies_ms.append(max(0, sent.answered_ms - sent.appended_ms))


def percentile(values: "array[float]", percent: float) -> float:
    """The nearest-rank percentile; 0 of nothing."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return float(ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))])
