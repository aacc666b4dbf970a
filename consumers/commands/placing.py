"""Where a lane begins to read: at its own position, after making sure that the topic is still the log it was.

Kafka's committed offset is advice only; the lane's position, the record there and the log's ends decide.
"""

import asyncio
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from consumers.commands import lenient
from orchestrator.core.errors import LaneStopped
from orchestrator.engine.keeping import record_digest
from orchestrator.engine.positions import TopicDetail, topic_detail

_READ_TIMEOUT_S = 30.0


class Placing(NamedTuple):
    """The offset to read next, and why reading restarts from there if it isn't right after the position."""

    next_offset: int
    rebased: str | None = None


async def place(
    consumer: AIOKafkaConsumer, partition: TopicPartition, at: int, detail: str, lane: int
) -> Placing:
    """Decide where to read on. Raises LaneStopped for a gap, KafkaError or TimeoutError while Kafka can't say."""
    known = topic_detail(detail)
    async with asyncio.timeout(_READ_TIMEOUT_S):
        first = (await consumer.beginning_offsets([partition]))[partition]
        end = (await consumer.end_offsets([partition]))[partition]
        if first > at + 1:
            if end <= first and not known.digest:
                return Placing(first)
            raise LaneStopped(
                f"lane {lane}: {partition.topic}[{partition.partition}] begins at {first}, but this lane has handled only"
                f" up to {at}: messages {at + 1} to {first - 1} were deleted unread. Restore them, or accept the loss with"
                f" `orchestrator lanes rebase {lane} --topic {partition.topic}`"
            )
        if end < at + 1:
            return Placing(
                first,
                f"the log ends at {end}, before the position {at}: its tail is lost or it was recreated",
            )
        if at < first or not known.digest:
            return Placing(at + 1)
        if not await _same_record(consumer, partition, at, known):
            return Placing(
                first, f"the record at {at} is another one: the topic was recreated or its tail replaced"
            )
    return Placing(at + 1)


async def _same_record(
    consumer: AIOKafkaConsumer, partition: TopicPartition, at: int, known: TopicDetail
) -> bool:
    """Read the record at the position again and compare it with what was remembered of it."""
    consumer.seek(partition, at)
    try:
        while True:
            # Each time: a fetch of the lane's last life may end only now, and pause it.
            consumer.resume(partition)
            try:
                got: dict[Any, Any] = await consumer.getmany(partition, timeout_ms=1000, max_records=1)
            except UnicodeDecodeError:
                got = {partition: await lenient.fetch(consumer, partition, at)}
            for record in got.get(partition, ()):
                same: bool = record.offset == at and record.timestamp == known.timestamp_ms
                return same and record_digest(record) == known.digest
    finally:
        consumer.pause(partition)
