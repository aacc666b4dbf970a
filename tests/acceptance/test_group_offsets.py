"""What Kafka remembers of a group, asked while it may not be able to say."""

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

from orchestrator import embedded
from orchestrator.group_offsets import committed_offsets
from tests.support.faults import admin_client


async def test_an_answer_that_lacks_the_partition_is_not_taken_for_none(
    servers: embedded.Servers, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a coordinator loads, the position is asked for again instead of being taken for the beginning."""
    topic, group = f"{topic_prefix}journeys.effects", f"{topic_prefix}group"
    kafka = {"bootstrap_servers": servers.bootstrap}
    admin = admin_client(servers.bootstrap)
    await asyncio.to_thread(admin.create_topics([NewTopic(topic, 2)])[topic].result, 30)
    known, unknown = TopicPartition(topic, 0), TopicPartition(topic, 1)
    async with AIOKafkaConsumer(**kafka, group_id=group, enable_auto_commit=False) as consumer:
        consumer.assign([known])
        await consumer.commit({known: 17})
    ask, asked = AIOKafkaAdminClient.list_consumer_group_offsets, 0

    async def loading_at_first(*arguments: Any, **named: Any) -> Any:
        nonlocal asked
        asked += 1
        return {} if asked < 3 else await ask(*arguments, **named)

    monkeypatch.setattr(AIOKafkaAdminClient, "list_consumer_group_offsets", loading_at_first)
    found = await committed_offsets(kafka, group, [known, unknown])
    assert found[unknown] is None
    assert found[known] is not None
    assert found[known].offset == 17
    assert asked == 3


async def test_a_coordinator_that_never_answers_is_given_up(
    servers: embedded.Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question is asked for a bounded time; then the caller's own waiting begins anew."""

    async def loading(*_arguments: Any, **_named: Any) -> Any:
        return {}

    monkeypatch.setattr(AIOKafkaAdminClient, "list_consumer_group_offsets", loading)
    with pytest.raises(TimeoutError):
        await committed_offsets(
            {"bootstrap_servers": servers.bootstrap}, "any", [TopicPartition("any", 0)], within_s=1.0
        )
