"""A whole installation for a test: topics and lanes of its own on the shared servers, a worker in this process."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple
from uuid import uuid4

import orjson
import psycopg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from psycopg.rows import dict_row

from consumers.commands.lane_runner import LaneRunner
from orchestrator.app import Worker
from orchestrator.core.addresses import lane_of
from orchestrator.installation import Databases, init
from orchestrator.settings import Settings
from projections.journeys import Journeys
from tests.support.toy import TOY

WAIT_S = 60.0
_POLL_S = 0.05
DOCUMENT: dict[str, Any] = {"events": ["view"]}


class Read(NamedTuple):
    """A record as a consumer of the product sees it."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]

    def header(self, name: str) -> str:
        return self.headers[name].decode()

    @property
    def json(self) -> Any:
        assert self.value is not None
        return orjson.loads(self.value)


class World:
    """`start` and `stop` the worker; `send` commands; `read` topics; `rows` of tables; `settled` when all is done."""

    def __init__(self, settings: Settings, kinds: Sequence[Any]) -> None:
        self.settings = settings
        self.role = "lanes"  # "all": it performs effects as well
        self.worker: Worker | None = None
        self._kinds = kinds
        self._task: asyncio.Task[None] | None = None
        self._producer: AIOKafkaProducer | None = None
        self._ids = 0

    # ---------------------------------------------------------------- the worker

    async def start(self) -> None:
        """Start a worker and wait until all its lanes move."""
        self.begin()
        await self.until(
            lambda: self.readiness()["ready"] and len(self.runners) == self.settings.lanes, "ready"
        )

    def begin(self) -> None:
        """Start a worker; what becomes of it is the test's to see."""
        assert self._task is None
        self.worker = Worker(self.settings, kinds=self._kinds, role=self.role)
        self._task = asyncio.create_task(self.worker.run())

    async def stop(self) -> None:
        """Stop the worker, if there is one."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self.worker = None

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    def readiness(self) -> dict[str, Any]:
        return self.worker.readiness() if self.worker is not None else {"ready": False, "lanes": {}}

    @property
    def runners(self) -> list[LaneRunner]:
        consumer = self.worker._consumer if self.worker is not None else None
        return consumer.runners if consumer is not None else []

    def runner(self, lane: int) -> LaneRunner:
        return next(r for r in self.runners if r.lane.number == lane)

    async def until(self, condition: Callable[[], Any], what: str, wait_s: float = WAIT_S) -> Any:
        """The condition's first true answer. Raises AssertionError when it stays false, or the worker ended."""
        deadline_s = time.monotonic() + wait_s
        while True:
            answer = condition()
            if asyncio.iscoroutine(answer):
                answer = await answer
            if answer:
                return answer
            if self._task is not None and self._task.done():
                self._task.result()
            assert time.monotonic() < deadline_s, f"not {what} in {wait_s} s: {self.readiness()}"
            await asyncio.sleep(_POLL_S)

    async def settled(self) -> None:
        """Wait until every message was handled and every follower has dealt with every event."""
        topics = (self.settings.topic("commands"), self.settings.topic("raw"))
        while True:
            before = [r.lane.position for r in self.runners]
            ends = await self.ends(*topics)
            await self.until(partial(self._handled, ends), "handled")
            await self.until(self._followed, "followed")
            if before == [r.lane.position for r in self.runners] and ends == await self.ends(*topics):
                return

    def _handled(self, ends: Mapping[TopicPartition, int]) -> bool:
        return all(
            r.state == "ready" and r.lane.offsets[p.topic] >= end - 1
            for r in self.runners
            for p, end in ends.items()
            if p.partition == r.lane.number
        )

    def _followed(self) -> bool:
        return all(r.followers and not any(f.lag_events for f in r.followers) for r in self.runners)

    async def handled(self) -> None:
        """Wait until every message was handled, whatever the followers do."""
        ends = await self.ends(self.settings.topic("commands"), self.settings.topic("raw"))
        await self.until(partial(self._handled, ends), "handled")

    def write_no_rows(self) -> None:
        """Journeys' rows stay as they are until somebody else owns the lanes."""
        for runner in self.runners:
            for follower in runner.followers:
                if isinstance(follower, Journeys):
                    follower._quiet_s = 3600.0

    # ---------------------------------------------------------------- Kafka

    @property
    def producer(self) -> AIOKafkaProducer:
        assert self._producer is not None
        return self._producer

    def owner(self, customer: str) -> str:
        return f"acme/c/{customer}"

    def lane(self, customer: str) -> int:
        return lane_of(self.owner(customer), self.settings.lanes)

    def customers(self, lane: int, count: int, prefix: str = "cus") -> list[str]:
        """Customers who live in one lane."""
        found = (c for n in range(10_000) if self.lane(c := f"{prefix}-{n}") == lane)
        return [next(found) for _ in range(count)]

    def headers(self, customer: str, type_: str, command_id: str, stream: str = "toy:t") -> dict[str, bytes]:
        return {
            "ce_specversion": b"1.0",
            "ce_id": command_id.encode(),
            "ce_source": b"tests",
            "ce_type": type_.encode(),
            "ce_subject": f"{self.owner(customer)}/{stream}".encode(),
            "content-type": b"application/json",
        }

    async def send(
        self,
        customer: str,
        type: str = "add",
        data: Any = None,
        *,
        id: str | None = None,
        **more: Any,
    ) -> TopicPartition:
        """Publish a command; `headers` add or (None) remove, `value`, `key`, `partition`, `topic`, `stream` replace."""
        self._ids += 1
        headers: dict[str, Any] = self.headers(
            customer, type, id or f"id-{self._ids}", more.get("stream", "toy:t")
        )
        headers |= more.get("headers", {})
        made = [(k, v if isinstance(v, bytes) else v.encode()) for k, v in headers.items() if v is not None]
        value = more.get("value", orjson.dumps({"n": 1} if data is None and type == "add" else data or {}))
        key = more.get("key", self.owner(customer).encode())
        return await self.put(
            more.get("topic", "commands"), value, key, made, more.get("partition", self.lane(customer))
        )

    async def traffic(self, customers: int = 12, rounds: int = 5) -> None:
        """Commands of several types for several customers; called again, it sends the same again."""
        for n in range(rounds):
            for c in range(customers):
                type_ = ("add", "ask", "add", "add", "arm")[(n + c) % 5]
                data = {"timer": "a", "delay_ms": 3_600_000} if type_ == "arm" else None
                await self.send(f"cus-{c}", type_, data, id=f"{c}-{n}")

    async def put(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
        partition: int = 0,
    ) -> Any:
        """Publish anything; where it came to stand."""
        return await self.producer.send_and_wait(
            self.settings.topic(topic), value, key=key, headers=list(headers), partition=partition
        )

    async def raw(self, customer: str, type_: str, n: int, key: str) -> None:
        """Publish a raw event of the shop's flat shape."""
        event = {"userId": customer, "type": type_, "payload": {"n": n}, "idempotencyKey": key}
        organization = [("ce_organization", b"acme")]
        await self.put(
            "raw", orjson.dumps(event), self.owner(customer).encode(), organization, self.lane(customer)
        )

    async def ends(self, *topics: str) -> dict[TopicPartition, int]:
        async with self._reader() as reader:
            partitions = [TopicPartition(t, n) for t in topics for n in range(self.settings.lanes)]
            found: dict[TopicPartition, int] = await reader.end_offsets(partitions)
            return found

    async def read(self, topic: str) -> list[Read]:
        """All there is on a topic, committed, partition by partition in order."""
        async with self._reader() as reader:
            name = self.settings.topic(topic)
            partitions = [TopicPartition(name, n) for n in range(self.settings.lanes)]
            reader.assign(partitions)
            await reader.seek_to_beginning()
            ends = await reader.end_offsets(partitions)
            found: list[Read] = []
            deadline_s = time.monotonic() + WAIT_S
            while any([await reader.position(p) < end for p, end in ends.items()]):
                assert time.monotonic() < deadline_s, f"{name} can't be read to its end"
                for records in (await reader.getmany(timeout_ms=200)).values():
                    found += [Read(r.partition, r.offset, r.key, r.value, dict(r.headers)) for r in records]
            return sorted(found, key=lambda r: (r.partition, r.offset))

    @asynccontextmanager
    async def _reader(self) -> AsyncIterator[AIOKafkaConsumer]:
        reader = AIOKafkaConsumer(
            **self.settings.kafka(),
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            fetch_max_wait_ms=50,
        )
        await reader.start()
        try:
            yield reader
        finally:
            await reader.stop()

    async def outcomes(self) -> list[Any]:
        return [r.json for r in await self.read("outcomes")]

    # ---------------------------------------------------------------- PostgreSQL

    def rows(self, query: str, *params: Any) -> list[dict[str, Any]]:
        """Rows of a query; `{lane}` isn't replaced: name the schema."""
        with psycopg.connect(self.settings.database_url, row_factory=dict_row) as connection:
            return connection.execute(query.encode(), params).fetchall()

    def execute(self, statement: str, *params: Any) -> None:
        with psycopg.connect(self.settings.database_url) as connection:
            connection.execute(statement.encode(), params)

    def publish(
        self, definition: str = "t", version: int = 1, document: Any = None, kind: str = "toy"
    ) -> None:
        """Publish a definition, as another process would."""
        text = orjson.dumps(DOCUMENT if document is None else document).decode()
        self.execute(
            "INSERT INTO orchestrator.definitions (kind, id, version, document, digest) VALUES (%s, %s, %s, %s, '')",
            kind, definition, version, text,
        )  # fmt: skip

    async def ask(self, lane: int, control: str, **data: Any) -> str:
        """Ask a lane something, as an operator does; its answer."""
        return await self.ask_raw(lane, control, orjson.dumps(data).decode())

    async def ask_raw(self, lane: int, control: str, text: str) -> str:
        name, schema = uuid4().hex, f"lane_{lane:03d}"
        self.execute(
            f"INSERT INTO {schema}.controls (id, type, data) VALUES (%s, %s, %s)", name, control, text
        )

        def answer() -> Any:
            return self.rows(f"SELECT answer FROM {schema}.controls WHERE id = %s", name)[0]["answer"]

        return str(await self.until(answer, f"answered {control}"))

    def dead_letters(self) -> list[dict[str, Any]]:
        """The read model, lane by lane."""
        lanes = range(self.settings.lanes)
        return [
            r | {"lane": n}
            for n in lanes
            for r in self.rows(f"SELECT * FROM lane_{n:03d}.dead_letters ORDER BY version")
        ]

    def journey(self, customer: str, stream: str = "toy:t") -> dict[str, Any] | None:
        """Version and snapshot of a journey's row."""
        lane = self.lane(customer)
        found = self.rows(
            f"SELECT * FROM lane_{lane:03d}.journeys WHERE stream = %s", f"{self.owner(customer)}/{stream}"
        )
        return (found[0] | {"snapshot": orjson.loads(found[0]["snapshot"])}) if found else None


@asynccontextmanager
async def world(
    bootstrap: str, dsn: str, topic_prefix: str, *, kinds: Sequence[Any] = (TOY,), **settings: Any
) -> AsyncIterator[World]:
    """An initialised installation, its worker not yet started; stopped at the end."""
    chosen: dict[str, Any] = {
        "lanes": 2,
        "metrics_port": -1,
        "session_timeout_ms": 6_000,
        "heartbeat_interval_ms": 500,
        "snapshot_quiet_ms": 100,
        "consumer_group": "group",
    }
    made = Settings(
        kafka_bootstrap_servers=bootstrap,
        database_url=dsn,
        topic_prefix=topic_prefix,
        **{**chosen, **settings},
    )
    databases = Databases(made)
    try:
        await init(made, databases)
    finally:
        databases.close()
    one = World(made, kinds)
    one._producer = AIOKafkaProducer(
        **made.kafka(), acks="all", enable_idempotence=True, max_request_size=8 << 20
    )
    await one._producer.start()
    try:
        yield one
    finally:
        await one.stop()
        await one._producer.stop()
