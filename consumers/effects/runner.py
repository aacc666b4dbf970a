"""The effect runner: reads effect requests, performs them, answers with commands. Keeps nothing."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import structlog
from aiokafka import ConsumerRecord
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from prometheus_client import CollectorRegistry

from consumers.actions import PROVIDERS
from consumers.actions.address_book import AddressBook
from consumers.actions.base import Context, EffectRequest, Provider
from consumers.actions.delivery import DeliveryContext, opened_delivery
from consumers.actions.delivery_settings import DeliverySettings
from consumers.actions.guard import Lookup
from consumers.actions.http import guarded_session
from consumers.actions.templates import FixedTemplates, Templates
from consumers.effects.closing import closed_within
from consumers.effects.group import Group
from consumers.effects.lane import Lane
from consumers.effects.metrics import EffectMetrics
from consumers.effects.performer import Performer
from consumers.effects.records import Unreadable, decode
from consumers.effects.sender import Sender
from orchestrator.core.errors import OrchestratorError
from orchestrator.effect_settings import EffectSettings, EffectTopics

CANCEL_TIMEOUT_S = 10.0
PROBE_TIMEOUT_S = 5.0
MAX_RECONNECT_S = 10.0
MAX_ANSWERED = 4_096
Place = tuple[int, int, int]  # partition, offset, timestamp: a recreated topic uses offsets again
_log = structlog.get_logger("effects")


class EffectRunnerStalled(OrchestratorError):
    """Kafka answers, work waits, and nothing moves: only a new process helps."""


class EffectRunner:
    """One member of the effects consumer group. `kafka` holds aiokafka's connection and security arguments.

    `customer_record` is the record told of dead addresses, "" for none; `addresses` remembers who texts went to.
    `run` returns after `request_stop`, raises EffectRunnerStalled when stuck, and waits while Kafka is gone.
    Everything it must not lose is in Kafka: it may be killed at any time.
    """

    def __init__(
        self,
        *,
        kafka: Mapping[str, Any],
        topics: EffectTopics,
        settings: EffectSettings,
        metrics: EffectMetrics | None = None,
        providers: Sequence[Provider[Any]] = PROVIDERS,
        lookup: Lookup | None = None,
        delivery: DeliverySettings | None = None,
        templates: Templates | None = None,
        addresses: AddressBook | None = None,
        customer_record: str = "",
    ) -> None:
        self._kafka = kafka
        self._topics = topics
        self._settings = settings
        self._metrics = metrics or EffectMetrics(CollectorRegistry())
        self._providers = providers
        self._lookup = lookup
        self._delivery = delivery or DeliverySettings()
        self._templates = templates or FixedTemplates()
        self._addresses = addresses
        self._customer_record = customer_record
        self._stop = asyncio.Event()
        self._failure: asyncio.Future[None] | None = None
        self._jobs: dict[Place, asyncio.Task[bool]] = {}
        self._answered: dict[Place, None] = {}  # by jobs that outlived their lane; the oldest first
        self._finished = 0
        self._ready = False

    @property
    def ready(self) -> bool:
        """Connected to Kafka as far as the last look tells."""
        return self._ready

    def request_stop(self) -> None:
        """Ends `run` soon: calls under way may end within `drain_timeout_s`, others are left to the group."""
        self._stop.set()

    async def run(self) -> None:
        """Serves until stopped or cancelled. Raises EffectRunnerStalled, or what nobody foresaw."""
        self._failure = asyncio.get_running_loop().create_future()
        sender = Sender(
            self._kafka,
            timeout_s=self._settings.produce_timeout_s,
            backoff_s=self._settings.retry_backoff_s,
            metrics=self._metrics,
        )
        try:
            async with (
                guarded_session(self._settings, self._lookup) as http,
                opened_delivery(self._delivery, self._templates, self._addresses) as delivery,
            ):
                context = DeliveryContext(
                    settings=self._settings,
                    internal_topics=self._topics.internal,
                    http=http,
                    produce=sender.send_once,
                    now_ms=lambda: time.time_ns() // 1_000_000,
                    commands_topic=self._topics.commands,
                    delivery=delivery,
                )
                try:
                    await self._serve_until_stopped(context, sender)
                finally:
                    await self._abandon_jobs()
        finally:
            self._set_ready(ready=False)
            await sender.close()

    async def _serve_until_stopped(self, context: Context, sender: Sender) -> None:
        backoff_s = self._settings.retry_backoff_s
        while not self._stop.is_set():
            group = Group(self._kafka, self._topics.effects, self._settings, self._metrics, self._fail)
            try:
                await group.start()
                self._set_ready(ready=True)
                backoff_s = self._settings.retry_backoff_s
                await self._serve(group, context, sender)
                break
            except (KafkaError, OSError, TimeoutError) as error:
                _log.warning("effects.kafka_unavailable", error=type(error).__name__, retry_in_s=backoff_s)
                self._set_ready(ready=False)
            finally:
                await group.close()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), backoff_s)
            backoff_s = min(backoff_s * 2, MAX_RECONNECT_S)

    async def _serve(self, group: Group, context: Context, sender: Sender) -> None:
        performer = Performer(
            providers=self._providers,
            context=context,
            topics=self._topics,
            commit=group.commit_at,
            send=sender.send,
            metrics=self._metrics,
            customer_record=self._customer_record,
        )
        assert self._failure is not None
        polling = asyncio.create_task(self._poll(group, performer), name="effects-poll")
        tasks = [
            polling,
            asyncio.create_task(self._commit(group), name="effects-commit"),
            asyncio.create_task(self._watch(group), name="effects-watch"),
        ]
        stopping = asyncio.create_task(self._stop.wait(), name="effects-stop")
        try:
            waited: list[asyncio.Future[Any]] = [*tasks, stopping, self._failure]
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if self._failure.done():
                self._failure.result()
            for task in tasks:
                if task.done():
                    task.result()
            await _end(polling)
            await self._drain(group)
        finally:
            await _end(*tasks, stopping)

    async def _poll(self, group: Group, performer: Performer) -> None:
        while True:
            for lane, record in await group.poll():
                self._begin(lane, record, performer)
            self._metrics.pending.set(group.pending)

    def _begin(self, lane: Lane, record: ConsumerRecord, performer: Performer) -> None:
        """One job a record; streams keep their order, and a record that came back waits for its own call."""
        stream: str | None = None
        answer: Callable[[], Awaitable[bool]]
        try:
            request: EffectRequest = decode(record, self._settings.max_timeout_ms)
        except Unreadable as unreadable:
            error = unreadable
            answer = lambda: performer.refuse(lane, record, error)  # noqa: E731
        else:
            stream = request.stream.text
            answer = lambda: performer.answer(lane, record, request)  # noqa: E731
        place = (record.partition, record.offset, record.timestamp)
        if place in self._answered:
            del self._answered[place]
            lane.finish(record.offset)
            return
        before = lane.last_of_stream.get(stream) if stream is not None else None
        job = asyncio.create_task(_in_order(lane, record.offset, self._jobs.get(place), before, answer))
        self._jobs[place] = job
        lane.add(job, stream)
        job.add_done_callback(lambda done: self._ended(lane, place, done))

    def _ended(self, lane: Lane, place: Place, job: asyncio.Task[bool]) -> None:
        self._finished += 1
        if self._jobs.get(place) is job:
            del self._jobs[place]
        if job.cancelled():
            return
        if (error := job.exception()) is not None:
            self._fail(error)
        elif job.result() and lane.closed:
            # Its offset may not be committed: the record may come back to this process.
            self._answered[place] = None
            if len(self._answered) > MAX_ANSWERED:
                del self._answered[next(iter(self._answered))]

    def _fail(self, error: BaseException) -> None:
        if self._failure is not None and not self._failure.done():
            self._failure.set_exception(error)

    async def _commit(self, group: Group) -> None:
        while True:
            await asyncio.sleep(self._settings.commit_interval_s)
            await group.commit(tuple(group.lanes.values()))

    async def _watch(self, group: Group) -> None:
        """Raises EffectRunnerStalled when nothing moved for too long although Kafka answers a new client."""
        tick_s = min(self._settings.stall_timeout_s / 6, 10.0)
        seen, moved_s = (-1, -1), time.monotonic()
        while True:
            await asyncio.sleep(tick_s)
            before, seen = seen, (self._finished, group.polls)
            work = group.pending > 0 or before[1] == group.polls
            try:
                work = await group.behind() or work
                self._set_ready(ready=True)
            except (KafkaError, OSError, TimeoutError, AssertionError):
                self._set_ready(ready=False)
                work = True
            if not work or before[0] != seen[0]:
                moved_s = time.monotonic()
                continue
            calls_s = self._settings.max_timeout_ms / 1000 if self._jobs else 0.0
            if time.monotonic() - moved_s < self._settings.stall_timeout_s + calls_s:
                continue
            if await self._kafka_answers():
                raise EffectRunnerStalled(
                    f"effect runner: {group.pending} effects pending and none ended for "
                    f"{time.monotonic() - moved_s:.0f} s although Kafka answers; restart this process"
                )
            _log.warning("effects.waiting_for_kafka", pending=group.pending)
            moved_s = time.monotonic()

    async def _kafka_answers(self) -> bool:
        client = AIOKafkaClient(**self._kafka)
        try:
            await asyncio.wait_for(client.bootstrap(), PROBE_TIMEOUT_S)
        except (KafkaError, OSError, TimeoutError):
            return False
        else:
            return True
        finally:
            await closed_within(client.close(), PROBE_TIMEOUT_S)

    async def _drain(self, group: Group) -> None:
        lanes = tuple(group.lanes.values())
        for lane in lanes:
            lane.close()
        if self._jobs:
            await asyncio.wait(self._jobs.values(), timeout=self._settings.drain_timeout_s)
        await group.commit(lanes)

    async def _abandon_jobs(self) -> None:
        """Cancels what is left: idempotent calls come back from Kafka, the others are told by their timers."""
        await _end(*self._jobs.values())

    def _set_ready(self, *, ready: bool) -> None:
        self._ready = ready
        self._metrics.kafka_up.set(ready)


async def _in_order(
    lane: Lane,
    offset: int,
    earlier: asyncio.Task[bool] | None,
    before: asyncio.Task[bool] | None,
    answer: Callable[[], Awaitable[bool]],
) -> bool:
    """`earlier` is the same record's job from before a rebalance, `before` the stream's effect before this one."""
    if earlier is not None:
        await asyncio.wait([earlier])
        if not earlier.cancelled() and earlier.exception() is None and earlier.result():
            lane.finish(offset)
            return True
    if before is not None:
        await asyncio.wait([before])
    return await answer()


async def _end(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=CANCEL_TIMEOUT_S)
