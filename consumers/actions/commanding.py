"""Actions that are commands to other journeys of the same customer: published under the effect's key, decided once."""

from collections.abc import Mapping
from typing import Any

import orjson
from aiokafka.errors import KafkaError

from consumers.actions.base import Context, Deferred, Done, EffectRequest, Ending, Failed, rfc3339
from orchestrator.core.addresses import Stream

SOURCE = "journeys/effects"
_REPLY_TO_MAX = 512
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
    """Deferred once all in-sync replicas have the command: what becomes of it is told by the stream that decides it.

    A repeat carries the same key, so that the other journey decides it once however often it is sent. Where the
    address for its answer is too long for a header, Done with the addressed stream.
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
    reply_to = f"{request.stream.text}?effect={request.effect}&attempt={request.attempt}"
    answered = len(reply_to) <= _REPLY_TO_MAX
    if answered:
        headers.append(("ce_replyto", reply_to.encode()))
    try:
        await context.produce(
            context.commands_topic, key=stream.owner.text.encode(), value=value, headers=headers
        )
    except (KafkaError, OSError, TimeoutError) as error:
        return Failed("publish_failed", type(error).__name__, retryable=True, in_doubt=True)
    return Deferred() if answered else Done({"stream": stream.text, "command": request.idempotency_key})
