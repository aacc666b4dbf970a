"""The topics of an installation: made by `init`, checked at every start."""

import asyncio
from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from orchestrator import kafka_access
from orchestrator.core.errors import ConfigurationError
from orchestrator.settings import Settings

_ASK_AGAIN, _ASK_AGAIN_EVERY_S = 6, 0.5
_SIGNALS_KEPT_MS = str(3_600_000)
_MAX_MESSAGE_BYTES = str(4 << 20)


def wanted(settings: Settings, lanes: int) -> list[NewTopic]:
    """Every topic with its partitions and configuration; retention is bounded from the start."""
    kept = {"retention.ms": str(settings.topic_retention_ms), "max.message.bytes": _MAX_MESSAGE_BYTES}
    by_broker = kept | {"message.timestamp.type": "LogAppendTime"}
    configs: Mapping[str, dict[str, str]] = {
        "commands": by_broker,
        "raw": by_broker,
        "outcomes": by_broker,
        "signals": by_broker | {"retention.ms": _SIGNALS_KEPT_MS},  # nobody reads an old sign of life
        "snapshots": {"cleanup.policy": "compact", "max.message.bytes": _MAX_MESSAGE_BYTES},
    }
    own = [
        NewTopic(topic, lanes, settings.topic_replication, topic_configs=dict(configs.get(name, kept)))
        for name, topic in settings.topics.items()
    ]
    others = [
        topic for topic in settings.effects_publish_topics if not topic.endswith("*")
    ]  # what actions publish to
    return own + [
        NewTopic(topic, lanes, settings.topic_replication, topic_configs=dict(kept)) for topic in others
    ]


async def create(settings: Settings, lanes: int) -> list[str]:
    """Make what is missing; the names of what was made. Raises KafkaError, and ConfigurationError when refused."""
    kafka = settings.kafka()
    await kafka_access.check(kafka)
    admin = AIOKafkaAdminClient(**kafka)
    await admin.start()
    made = []
    try:
        existing = set(await admin.list_topics())
        for topic in wanted(settings, lanes):
            if topic.name in existing:
                continue
            answer = await admin.create_topics([topic])
            for name, code, *rest in answer.topic_errors:
                error = for_code(code)
                if code and error is not TopicAlreadyExistsError:
                    raise ConfigurationError(f"topic {name} can't be made: {error.__name__} {rest}")
            made.append(topic.name)
    finally:
        await admin.close()
    return made


async def check(settings: Settings, lanes: int) -> None:
    """Raises ConfigurationError when we are refused, or a topic is missing or hasn't as many partitions as there are lanes.

    A topic that was made a moment ago may not be known to the broker that is asked: missing ones are asked for again.
    """
    kafka = settings.kafka()
    await kafka_access.check(kafka)
    admin = AIOKafkaAdminClient(**kafka)
    await admin.start()
    try:
        found = await _partitions(admin, settings)
        for _ in range(_ASK_AGAIN):
            if len(found) == len(settings.topics):
                break
            await asyncio.sleep(_ASK_AGAIN_EVERY_S)
            found = await _partitions(admin, settings)
    finally:
        await admin.close()
    for topic in settings.topics.values():
        if topic not in found:
            raise ConfigurationError(f"topic {topic} does not exist: run `orchestrator init`")
        if found[topic] != lanes:
            raise ConfigurationError(
                f"topic {topic} has {found[topic]} partitions, but the database was made with {lanes} lanes. Keys would"
                f" land in other lanes: point to the right cluster or database, or recreate the topic with {lanes} partitions"
            )


async def _partitions(admin: AIOKafkaAdminClient, settings: Settings) -> dict[str, int]:
    """How many partitions each of our topics has, of those that are there."""
    described = await admin.describe_topics(list(settings.topics.values()))
    return {t["topic"]: len(t["partitions"]) for t in described if not t["error_code"]}


async def log_starts(settings: Settings, topics: tuple[str, ...], lanes: int) -> dict[tuple[str, int], int]:
    """The first offset of each lane's partition: a new lane begins there."""
    reader = AIOKafkaConsumer(**settings.kafka())
    await reader.start()
    try:
        partitions = [TopicPartition(topic, lane) for topic in topics for lane in range(lanes)]
        starts = await reader.beginning_offsets(partitions)
        return {(p.topic, p.partition): offset for p, offset in starts.items()}
    finally:
        await reader.stop()
