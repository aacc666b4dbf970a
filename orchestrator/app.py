"""Wiring: a worker is lanes with their followers, an effect runner, probes and a watchdog in one process."""

import asyncio
import contextlib
import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import orjson
import structlog
import uvloop
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from prometheus_client import REGISTRY

from consumers.actions import PROVIDERS
from consumers.actions.address_book import AddressBook
from consumers.actions.base import Provider
from consumers.actions.delivery_environment import delivery_from
from consumers.actions.templates import CachedTemplates, Templates
from consumers.callbacks import composed
from consumers.commands.consumer import CommandConsumer
from consumers.commands.lane_runner import LaneRunner
from consumers.commands.rounds import Rounds
from consumers.effects import EffectMetrics, EffectRunner
from consumers.signals.presence import Presence
from orchestrator import kafka_topics, metrics
from orchestrator.core.decider import Definition, JourneyKind
from orchestrator.core.errors import ConfigurationError
from orchestrator.customers.record import RECORD, shown
from orchestrator.database_actions import database_actions
from orchestrator.effect_settings import EffectSettings, EffectTopics, secrets_from
from orchestrator.engine import catalogue
from orchestrator.engine.catalogue import Catalogue
from orchestrator.engine.codec import Codec
from orchestrator.engine.database import PersistenceError
from orchestrator.engine.follower import Follower
from orchestrator.engine.frames import RecordSource
from orchestrator.engine.group_commit import GroupCommit
from orchestrator.engine.lane import Lane
from orchestrator.engine.store import LaneStore
from orchestrator.installation import Databases, lanes_of
from orchestrator.journeys import KINDS
from orchestrator.messages import TEMPLATE
from orchestrator.probes import Probes
from orchestrator.settings import Settings
from orchestrator.watchdog import Watchdog
from projections.analytics import sinks
from projections.dead_letters import DeadLetters
from projections.exactly_once import ExactlyOnce
from projections.flow_analytics import FlowAnalytics
from projections.journeys import Journeys
from projections.producers import SharedProducer
from projections.publisher import Publisher

_GC_THRESHOLDS = (400_000, 50, 100)
"""A batch makes some ten thousand short-lived objects, none of them in cycles; looking at them took a tenth of the time."""
_SWITCH_INTERVAL_S = 0.0005
"""A store call waits for the interpreter after each of its round trips: at Python's 5 ms, up to 5 ms each time."""
_DEFINITIONS_EVERY_S = 1.0
_FINISH_TIMEOUT_S = 15.0
ROLES = ("all", "lanes", "effects")
SECRETS_PREFIX = "ORCHESTRATOR_WEBHOOK_SECRET_"
"""`ORCHESTRATOR_WEBHOOK_SECRET_SHOP=whsec_…` is the signing secret that definitions call `shop`."""
log = structlog.get_logger("worker")


class Worker:
    """One worker process. `run` ends on SIGTERM or SIGINT, or by raising."""

    def __init__(
        self, settings: Settings, kinds: Sequence[JourneyKind] = KINDS, *, role: str = "lanes"
    ) -> None:
        if role not in ROLES:
            raise ConfigurationError(f"role {role[:40]!r} is none of {', '.join(ROLES)}")
        self._settings = settings
        self._role = role
        self._kinds = {kind.name: kind for kind in kinds}
        self._databases = Databases(settings, pool_size=8)
        self._codec = Codec(event for kind in kinds for event in kind.events)
        self._executor = ThreadPoolExecutor(max_workers=16, thread_name_prefix="postgres")
        self._kafka = (
            settings.kafka()
        )  # one for all lanes: its certificates are read, its tokens fetched once
        self._producer = SharedProducer(self._kafka)
        self._group = GroupCommit(self._in_thread)
        self._effects, self._callbacks = None, None
        if role != "lanes":
            self._callbacks, book = composed(
                settings, os.environ, self._databases.main, self._executor, _effect_metrics()
            )
            providers = (*PROVIDERS, *database_actions(self._databases, self._executor))
            self._effects = effect_runner(settings, self._templates(), book, providers)
        self._effects_ended = asyncio.Event()
        self._effects_ended.set()
        self._lanes = 0
        self._catalogue = Catalogue(self._databases.main, self._build)
        self._consumer: CommandConsumer | None = None
        self._database_up = self._kafka_up = False  # until seen
        self.probes = Probes(settings.metrics_host, max(0, settings.metrics_port), self.readiness)

    def _build(self, kind: str, definition_id: str, version: int, document: str) -> Definition:
        """Definitions of kinds this release lacks are kept uncompiled: commands for them are dead-lettered, none is hurt."""
        parsed, journey_kind = orjson.loads(document), self._kinds.get(kind)
        if journey_kind is None:
            return Definition(kind, definition_id, version, parsed, None, frozenset())
        return Definition(
            kind, definition_id, version, parsed, journey_kind.compile(parsed), journey_kind.listens(parsed)
        )

    def _templates(self) -> Templates:
        """Published templates, asked of PostgreSQL in a thread."""

        async def fetch(template: str, version: int | None) -> tuple[int, dict[str, Any]] | None:
            loop = asyncio.get_running_loop()
            try:
                found = await loop.run_in_executor(
                    self._executor, catalogue.document, self._databases.main, TEMPLATE.name, template, version
                )
            except PersistenceError as error:
                raise OSError("the database of templates does not answer") from error
            return None if found is None else (found[0], orjson.loads(found[1]))

        return CachedTemplates(fetch, now_ms=lambda: time.time_ns() // 1_000_000)

    def readiness(self) -> dict[str, Any]:
        """What /readyz answers."""
        consumer = self._consumer
        lanes = (
            {f"{r.lane.number:03d}": {"state": r.state, "reason": r.reason} for r in consumer.runners}
            if consumer
            else {}
        )
        joined = consumer is not None and consumer.joined
        kafka = self._kafka_up if consumer is None else consumer.kafka_up
        database = self._database_up and all(r.database_up for r in (consumer.runners if consumer else ()))
        ready = joined and kafka and all(lane["state"] in ("ready", "paused") for lane in lanes.values())
        state: dict[str, Any] = {
            "ready": ready,
            "kafka": "up" if kafka else "waiting",
            "postgresql": "up" if database else "waiting",
            "lanes": lanes,
        }
        if self._effects is not None:
            state["effects"] = "ready" if self._effects.ready else "waiting"
            if self._role == "effects":
                state |= {"ready": self._effects.ready, "kafka": "up" if self._effects.ready else "waiting"}
        return state

    async def run(self) -> None:
        """Until asked to stop. Raises ConfigurationError when settings, database and topics don't fit."""
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        if self._settings.metrics_port >= 0:
            await self.probes.start()
            log.info("probes listening", port=self.probes.port)
        stop = asyncio.create_task(stopping.wait())
        work = asyncio.create_task(self._work())
        try:
            await asyncio.wait((stop, work), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
        finally:
            await self._finish_effects()
            work.cancel()
            await asyncio.wait((work,), timeout=20)
            stop.cancel()
            await self._producer.close()
            await self.probes.stop()
            self._databases.close()
            self._executor.shutdown(wait=False, cancel_futures=True)

    async def _work(self) -> None:
        self._lanes = await self._check()
        async with asyncio.TaskGroup() as group:
            group.create_task(Watchdog(self._settings.stall_timeout_s).beat())
            if self._role != "effects":
                group.create_task(self._consume())
                group.create_task(self._learn_definitions())
                group.create_task(self._presence().run())
            if self._effects is not None:
                group.create_task(self._perform())
            if self._callbacks is not None:
                group.create_task(self._callbacks.run())

    async def _perform(self) -> None:
        assert self._effects is not None
        self._effects_ended.clear()
        try:
            await self._effects.run()
        finally:
            self._effects_ended.set()

    async def _finish_effects(self) -> None:
        """Let calls under way end and be answered: one cut off is repeated, or unknown, after the restart."""
        if self._effects is not None:
            self._effects.request_stop()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FINISH_TIMEOUT_S):
                    await self._effects_ended.wait()

    async def _learn_definitions(self) -> None:
        """A new version of a known definition is no cache miss: it is looked for regularly."""
        while True:
            await asyncio.sleep(_DEFINITIONS_EVERY_S)
            with contextlib.suppress(PersistenceError):  # the lanes say what is wrong with the database
                await asyncio.get_running_loop().run_in_executor(self._executor, self._catalogue.refresh)

    async def _check(self) -> int:
        """Wait for database and broker, then compare them."""
        delay_s = 0.2
        loop = asyncio.get_running_loop()
        while True:
            try:
                lanes = await loop.run_in_executor(self._executor, lanes_of, self._databases.main)
                self._database_up = self._seen("postgresql", up=True)
                await kafka_topics.check(self._settings, lanes)
            except PersistenceError as error:
                self._database_up = self._seen("postgresql", up=False, error=error)
                await loop.run_in_executor(self._executor, self._databases.main.refuse_wrong_address)
            except (KafkaError, OSError, TimeoutError) as error:
                self._kafka_up = self._seen("kafka", up=False, error=error)
            else:
                self._kafka_up = self._seen("kafka", up=True)
                return lanes
            await asyncio.sleep(delay_s)
            delay_s = min(5.0, delay_s * 2)

    def _seen(self, dependency: str, *, up: bool, error: Exception | None = None) -> bool:
        """Note for the gauge and the log whether a dependency answered."""
        metrics.DEPENDENCY_UP.labels(dependency).set(up)
        if error is not None:
            words = dependency + " does not answer, waiting"
            log.warning(words, error=f"{type(error).__name__}: {error}"[:300])
        return up

    def _presence(self) -> Presence:
        topics = self._settings.topics
        return Presence(
            kafka=self._kafka,
            topic=topics["signals"],
            commands_topic=topics["commands"],
            producers=self._producer,
            lanes=lambda: [
                r.lane for r in (self._consumer.runners if self._consumer else ()) if r.state == "ready"
            ],
            clock_ms=lambda: time.time_ns() // 1_000_000,
        )

    async def _consume(self) -> None:
        settings = self._settings
        self._consumer = CommandConsumer(
            kafka=self._kafka,
            group_id=settings.group,
            topics=(settings.topic("commands"), settings.topic("raw")),
            session_timeout_ms=settings.session_timeout_ms,
            heartbeat_interval_ms=settings.heartbeat_interval_ms,
            group_commit=self._group,
            make_runner=self._make_runner,
        )
        await self._consumer.run()

    async def _in_thread(self, call: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, call, *args)

    def _make_runner(self, lane: int, consumer: AIOKafkaConsumer, rounds: Rounds) -> LaneRunner:
        settings = self._settings
        store = LaneStore(self._databases.of_lane(lane), lane)
        made = Lane(
            store,
            lanes=self._lanes,
            kinds=self._kinds,
            catalogue=self._catalogue,
            codec=self._codec,
            executor=self._executor,
            default_organization=settings.default_organization,
            cache_streams=lambda: self._share(settings.cache_streams),
            record=RecordSource(RECORD.name, settings.customer_record, shown),
            group=self._group,
        )
        topics = {settings.topic("commands"): False, settings.topic("raw"): True}
        return LaneRunner(
            made,
            consumer,
            rounds,
            topics=topics,
            followers=self._followers,
            batch_commands=settings.batch_commands,
        )

    def _share(self, streams: int) -> int:
        """One lane's part of what is meant for all lanes of this worker."""
        return max(1_000, streams // max(1, len(self._consumer.runners) if self._consumer else 1))

    def _followers(self, lane: Lane) -> Sequence[Follower]:
        settings = self._settings
        return (
            Publisher(lane, self._producer, settings.topics),
            ExactlyOnce(lane, self._kafka, settings.topics),
            Journeys(
                lane,
                growth_events=settings.snapshot_growth_events,
                quiet_ms=settings.snapshot_quiet_ms,
                dirty_max=lambda: self._share(settings.dirty_streams),
            ),
            DeadLetters(lane),
            FlowAnalytics(lane),
            *sinks(lane, settings),
        )


def effect_runner(
    settings: Settings,
    templates: Templates | None = None,
    addresses: AddressBook | None = None,
    providers: Sequence[Provider[Any]] = PROVIDERS,
) -> EffectRunner:
    """A member of the effects group, as the settings permit it."""
    topics = settings.topics
    return EffectRunner(
        kafka=settings.kafka(),
        topics=EffectTopics(
            effects=topics["effects"],
            commands=topics["commands"],
            dead_letters=topics["dead_letters"],
            also_internal=tuple(
                t for n, t in topics.items() if n not in {"effects", "commands", "dead_letters"}
            ),
        ),
        settings=EffectSettings(
            allowed_networks=settings.webhook_allowed_networks,
            allow_http=settings.webhook_allow_http,
            ca_file=settings.webhook_ca_file,
            publish_topics=settings.effects_publish_topics,
            secrets=secrets_from(os.environ, SECRETS_PREFIX),
            group_id=f"{settings.group}-effects",
            concurrency=settings.effects_concurrency,
            elsewhere=settings.effects_elsewhere,
            session_timeout_s=settings.session_timeout_ms / 1000,
        ),
        metrics=_effect_metrics(),
        delivery=delivery_from(os.environ),
        templates=templates,
        addresses=addresses,
        customer_record=settings.customer_record,
        providers=providers,
    )


@cache
def _effect_metrics() -> EffectMetrics:
    """The registry takes each name once a process."""
    return EffectMetrics(REGISTRY)


def run_worker(settings: Settings, role: str = "all") -> None:
    """The body of a worker process. `role`: all, lanes, or effects alone."""
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(Worker(settings, role=role).run())


__all__ = ["Worker", "metrics", "run_worker"]
