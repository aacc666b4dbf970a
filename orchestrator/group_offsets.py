"""What Kafka remembers of a group, asked so that "I can't say now" is never taken for "there is nothing"."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
)
from aiokafka.structs import OffsetAndMetadata

_ASK_AGAIN_S = 0.1
_NOT_YET = (GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError)


async def committed_offsets(
    kafka: Mapping[str, Any], group: str, partitions: Collection[TopicPartition], *, within_s: float = 30.0
) -> dict[TopicPartition, OffsetAndMetadata | None]:
    """What the group committed of each partition, None where it has nothing. Raises KafkaError or TimeoutError.

    The client drops an error that concerns the whole group, such as a coordinator still loading after a broker's
    restart; its consumer then believes that nothing was ever committed. Here such an answer, which lacks the
    partitions altogether, is asked for again.
    """
    admin = AIOKafkaAdminClient(**kafka)
    async with asyncio.timeout(within_s):
        await admin.start()
        try:
            while True:
                try:
                    found = await admin.list_consumer_group_offsets(group, partitions=list(partitions))
                except _NOT_YET:  # a fresh broker makes the offsets' topic at the first question
                    found = {}
                if all(p in found for p in partitions):
                    return {p: found[p] if found[p].offset >= 0 else None for p in partitions}
                await asyncio.sleep(_ASK_AGAIN_S)
        finally:
            await admin.close()
