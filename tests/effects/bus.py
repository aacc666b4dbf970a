"""The topics of one test on the real Kafka: made, filled, read until enough is there."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from consumers.effects import EffectRunner, EffectSettings, EffectTopics
from orchestrator.core.addresses import parse_stream
from tests.effects.wire import headers, value

PARTITIONS = 3
WAIT_S = 60


class Bus:
    """Topics named `<prefix>effects`, `commands`, `dead`, `out` with PARTITIONS partitions each."""

    def __init__(self, prefix: str, bootstrap: str, security: dict[str, Any] | None = None) -> None:
        self.kafka = {"bootstrap_servers": bootstrap}
        self.secured = security or self.kafka
        self.topics = EffectTopics(
            effects=f"{prefix}effects",
            commands=f"{prefix}commands",
            dead_letters=f"{prefix}dead",
            also_internal=(f"{prefix}internal",),
        )
        self.out = f"{prefix}out"
        self.group = f"{prefix}group"

    async def make(self, partitions: int = PARTITIONS) -> None:
        admin = AIOKafkaAdminClient(**self.kafka)
        await admin.start()
        try:
            names = (self.topics.effects, self.topics.commands, self.topics.dead_letters, self.out)
            await admin.create_topics([NewTopic(name, partitions, 1) for name in names])
            async with asyncio.timeout(
                30
            ):  # as a worker does: a group that forms before may stay without partitions
                while any(t["error_code"] for t in await admin.describe_topics(list(names))):
                    await asyncio.sleep(0.05)
        finally:
            await admin.close()

    def settings(self, **changes: Any) -> EffectSettings:
        """Quick to notice, allowed to call this machine."""
        return EffectSettings(
            **{
                "allow_http": True,
                "allowed_networks": ("127.0.0.1/32",),
                "publish_topics": (self.out,),
                "group_id": self.group,
                "session_timeout_s": 3.0,
                "commit_interval_s": 0.05,
                "produce_timeout_s": 5.0,
                "retry_backoff_s": 0.1,
                **changes,
            }
        )

    @asynccontextmanager
    async def running(
        self, settings: EffectSettings | None = None, **options: Any
    ) -> AsyncIterator[EffectRunner]:
        """A runner at work; its failure fails the test, its stop is waited for."""
        runner = EffectRunner(
            kafka=self.secured, topics=self.topics, settings=settings or self.settings(), **options
        )
        task = asyncio.create_task(runner.run())
        try:
            yield runner
            runner.request_stop()
            await asyncio.wait_for(task, WAIT_S)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task

    async def request(self, *requests: dict[str, Any]) -> None:
        """Effect requests as the engine's publisher writes them: keyed by owner."""
        await self.write(
            self.topics.effects,
            [
                (
                    parse_stream(r["stream"]).owner.text.encode(),
                    orjson.dumps(r),
                    headers(r["effect"], r["stream"], r["attempt"]),
                )
                for r in requests
            ],
        )

    async def write(
        self, topic: str, records: Iterable[tuple[bytes | None, bytes | None, Sequence[tuple[str, bytes]]]]
    ) -> None:
        producer = AIOKafkaProducer(**self.kafka, acks="all", enable_idempotence=True)
        await producer.start()
        try:
            sent = [await producer.send(topic, v, key=k, headers=list(h)) for k, v, h in records]
            await asyncio.gather(*sent)
        finally:
            await producer.stop()

    async def read(self, topic: str, enough: Callable[[list[ConsumerRecord]], bool]) -> list[ConsumerRecord]:
        """Everything on a topic once `enough` says so; fails after WAIT_S."""
        found: list[ConsumerRecord] = []
        consumer = AIOKafkaConsumer(topic, **self.kafka, auto_offset_reset="earliest")
        await consumer.start()
        try:
            async with asyncio.timeout(WAIT_S):
                while not enough(found):
                    for records in (await consumer.getmany(timeout_ms=100)).values():
                        found += records
        finally:
            await consumer.stop()
        return found

    async def answers(self, count: int) -> list[ConsumerRecord]:
        """The result commands, once `count` different effects are answered."""
        return await self.read(
            self.topics.commands, lambda found: len({ce(r)["ce_id"] for r in found}) >= count
        )

    async def committed(self) -> dict[int, int]:
        """The group's offsets by partition; 0 where there is none."""
        consumer = AIOKafkaConsumer(**self.kafka, group_id=self.group, enable_auto_commit=False)
        await consumer.start()
        try:
            partitions = [TopicPartition(self.topics.effects, p) for p in range(PARTITIONS)]
            consumer.assign(partitions)
            return {p.partition: await consumer.committed(p) or 0 for p in partitions}
        finally:
            await consumer.stop()

    async def members(self) -> int:
        """How many runners the group has, as its coordinator sees it."""
        admin = AIOKafkaAdminClient(**self.kafka)
        await admin.start()
        try:
            (response,) = await admin.describe_consumer_groups([self.group])
            return len(response.groups[0][5])
        finally:
            await admin.close()

    async def ends(self) -> dict[int, int]:
        """The end of each effects partition."""
        consumer = AIOKafkaConsumer(**self.kafka)
        await consumer.start()
        try:
            partitions = [TopicPartition(self.topics.effects, p) for p in range(PARTITIONS)]
            return {p.partition: end for p, end in (await consumer.end_offsets(partitions)).items()}
        finally:
            await consumer.stop()


def ce(record: ConsumerRecord) -> dict[str, str]:
    """The headers of a record as text."""
    return {name: found.decode() for name, found in record.headers}


def data(record: ConsumerRecord) -> Any:
    """The JSON of a record."""
    return json.loads(record.value)


def stream_of(customer: int) -> str:
    return f"acme/c/cus-{customer}/lifecycle:shop"


def effect(customer: int, number: int = 0, **changes: Any) -> dict[str, Any]:
    """One effect request of a customer."""
    return value(f"{number}-0", changes.pop("stream", stream_of(customer)), **changes)
