"""Actions that are commands to other journeys of the same customer: published under the effect's key, decided once."""

from collections.abc import Mapping
from typing import Any

import orjson
from aiokafka.errors import KafkaError

from consumers.actions.base import Context, Done, EffectRequest, Ending, Failed, rfc3339
from orchestrator.core.addresses import Stream

SOURCE = "journeys/effects"
MAX_DATA_BYTES = 200 * 1024  # commands may have 256 KiB


async def send_command(
    request: EffectRequest,
    context: Context,
    *,
    kind: str,
    definition: str,
    command: str,
    data: Mapping[str, Any],
) -> Ending:
    """Done with the addressed stream once all in-sync replicas have the command; it is decided a moment later.

    A repeat carries the same key, so that the other journey decides it once however often it is sent. What that
    journey answers (a limit, say) is told by its own outcome and events.
    """
    stream = Stream(request.stream.owner, kind, definition)
    try:
        value = orjson.dumps(data)
    except (orjson.JSONEncodeError, TypeError):
        return Failed("invalid_params", "the command's data can't be written as JSON")
    if len(value) > MAX_DATA_BYTES:
        return Failed("record_too_large", f"the command's data is longer than {MAX_DATA_BYTES} bytes")
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", request.idempotency_key.encode()),
        ("ce_source", SOURCE.encode()),
        ("ce_type", command.encode()),
        ("ce_subject", stream.text.encode()),
        ("ce_time", rfc3339(context.now_ms()).encode()),
        ("content-type", b"application/json"),
        *request.trace_headers,
    ]
    try:
        await context.produce(
            context.commands_topic, key=stream.owner.text.encode(), value=value, headers=headers
        )
    except (KafkaError, OSError, TimeoutError) as error:
        return Failed("publish_failed", type(error).__name__, retryable=True, in_doubt=True)
    return Done({"stream": stream.text, "command": request.idempotency_key})
