"""What the command line asks of Kafka beside producing and consuming: ends of logs, members of a group."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import GroupCoordinatorNotAvailableError, NotCoordinatorForGroupError, for_code

from orchestrator.settings import Settings

_TRIES, _TRY_AGAIN_S = 25, 0.2


class Group(NamedTuple):
    """A consumer group: its state, and which member holds each partition."""

    state: str
    owners: Mapping[tuple[str, int], str]


class Log(NamedTuple):
    """A partition's first offset, and the one after its last."""

    first: int
    end: int


@asynccontextmanager
async def administrator(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    """An admin client. Raises KafkaError."""
    admin = AIOKafkaAdminClient(**settings.kafka())
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def group(settings: Settings, name: str) -> Group:
    """Who is in a consumer group. Raises KafkaError."""
    async with administrator(settings) as admin:
        answers = await _described(admin, name)
    error_code, _name, state, _type, _protocol, members, *_rest = answers[0].groups[0]
    if error_code:
        raise for_code(error_code)(f"group {name}")
    owners = {}
    for member in members:
        member_id, client, host, assignment = member[0], member[-4], member[-3], member[-1]
        if not assignment:
            continue
        for partition in ConsumerProtocolMemberAssignment.decode(assignment).partitions():
            owners[(partition.topic, partition.partition)] = f"{client}{host}#{member_id[-6:]}"
    return Group(state or "Empty", owners)


async def _described(admin: AIOKafkaAdminClient, name: str) -> Any:
    """A fresh broker makes its offsets topic at the first question and knows no coordinator until then."""
    for _ in range(_TRIES - 1):
        try:
            return await admin.describe_consumer_groups([name])
        except (GroupCoordinatorNotAvailableError, NotCoordinatorForGroupError):
            await asyncio.sleep(_TRY_AGAIN_S)
    return await admin.describe_consumer_groups([name])


async def logs(settings: Settings, topics: Iterable[str], partitions: int) -> dict[tuple[str, int], Log]:
    """First and end offset of each partition. Raises KafkaError."""
    reader = AIOKafkaConsumer(**settings.kafka())
    await reader.start()
    try:
        wanted = [TopicPartition(topic, partition) for topic in topics for partition in range(partitions)]
        first, end = await reader.beginning_offsets(wanted), await reader.end_offsets(wanted)
        return {(p.topic, p.partition): Log(first[p], end[p]) for p in wanted}
    finally:
        await reader.stop()


async def sample(settings: Settings, topic: str, partitions: int, most: int) -> list[Any]:
    """The last records of each partition of a topic, up to about `most` in all. Raises KafkaError."""
    reader = AIOKafkaConsumer(**settings.kafka(), enable_auto_commit=False, isolation_level="read_committed")
    await reader.start()
    try:
        wanted = [TopicPartition(topic, partition) for partition in range(partitions)]
        first, end = await reader.beginning_offsets(wanted), await reader.end_offsets(wanted)
        reader.assign(wanted)
        left = {}
        for partition in wanted:
            begin = max(first[partition], end[partition] - max(1, most // partitions))
            reader.seek(partition, begin)
            if begin < end[partition]:
                left[partition] = end[partition]
        found: list[Any] = []
        for _ in range(100):
            if not left:
                break
            for partition, records in (await reader.getmany(*left, timeout_ms=500)).items():
                found += records
                if await reader.position(partition) >= left[partition]:
                    del left[partition]
        return found
    finally:
        await reader.stop()
