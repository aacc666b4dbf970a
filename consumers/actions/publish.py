"""`publish`: one JSON record on a topic of somebody else, as a binary CloudEvent."""

from typing import Any, ClassVar

import msgspec
import orjson
from aiokafka.errors import KafkaError
from msgspec import Struct

from consumers.actions.base import (
    ActionParams,
    Context,
    Done,
    EffectRequest,
    Ending,
    Failed,
    Scalar,
    rfc3339,
    text,
)

SOURCE = "journeys/effects"
MAX_RECORD_BYTES = 256 * 1024
RESERVED_HEADERS = ("ce_", "content-type", "trace", "__connect.")
INTERNAL_PREFIXES = ("journeys.", "__")


class PublishParams(ActionParams, frozen=True):
    """`topic` must be allowed by a setting. `value` is any JSON; without `key` any partition may get it."""

    topic: str
    value: Any = msgspec.field(default_factory=dict)
    key: Scalar = None
    headers: dict[str, Scalar] = msgspec.field(default_factory=dict)  # beside the CloudEvent's own


class PublishProvider:
    """At least once: consumers of the topic recognise a repeat by `ce_id`, the idempotency key."""

    name: ClassVar[str] = "publish"
    idempotent: ClassVar[bool] = True
    params: ClassVar[type[Struct]] = PublishParams

    async def perform(self, request: EffectRequest, params: PublishParams, context: Context) -> Ending:
        """Done with the topic's name once all in-sync replicas have the record."""
        if not may_publish(params.topic, context):
            return Failed(
                "topic_refused", "the topic is internal or not in the setting effects.publish_topics"
            )
        try:
            value = orjson.dumps(params.value)
        except (orjson.JSONEncodeError, TypeError):
            return Failed("invalid_params", "value can't be written as JSON")
        if any(name.lower().startswith(RESERVED_HEADERS) for name in params.headers):
            return Failed(
                "header_refused", "headers starting with ce_, content-type and trace are the engine's"
            )
        if len(value) + sum(len(n) + len(text(v)) for n, v in params.headers.items()) > MAX_RECORD_BYTES:
            return Failed("record_too_large", f"value and headers are longer than {MAX_RECORD_BYTES} bytes")
        headers = [
            ("ce_specversion", b"1.0"),
            ("ce_id", request.idempotency_key.encode()),
            ("ce_source", SOURCE.encode()),
            ("ce_type", (request.action or self.name).encode()),
            ("ce_subject", request.stream.text.encode()),
            ("ce_time", rfc3339(context.now_ms()).encode()),
            ("content-type", b"application/json"),
            *request.trace_headers,
        ]
        headers += [(name, text(value).encode()) for name, value in params.headers.items()]
        key = None if params.key is None else text(params.key).encode()
        try:
            await context.produce(params.topic, key=key, value=value, headers=headers)
        except (KafkaError, OSError, TimeoutError) as error:
            return Failed("publish_failed", type(error).__name__, retryable=True, in_doubt=True)
        return Done({"topic": params.topic})


def may_publish(topic: str, context: Context) -> bool:
    """Whether the settings allow the topic; the engine's own topics are never allowed."""
    if topic in context.internal_topics or topic.startswith(INTERNAL_PREFIXES):
        return False
    return any(
        topic.startswith(allowed[:-1]) if allowed.endswith("*") else topic == allowed
        for allowed in context.settings.publish_topics
    )
