"""Messages a lane can't decide, kept whole in its own stream: strays to forward, and dead letters."""

import base64
from hashlib import blake2b
from typing import Any

import structlog

from orchestrator.core.errors import Undecidable
from orchestrator.core.lane_events import DeadLettered, Forwarded
from orchestrator.core.messages import Command
from orchestrator.engine import inbound
from orchestrator.engine.batch import Batch

log = structlog.get_logger("lane")
_DIGEST_BYTES = 16


def forward(batch: Batch, record: Any, command: Command, to_lane: int, *, raw: bool) -> None:
    """Note a stray for its own lane. Raises Undecidable for one that was forwarded before."""
    if dict(record.headers).get(inbound.HOPS_HEADER, b"0") != b"0":
        raise Undecidable(
            "stray_twice", "this lane isn't its key's lane and the message was forwarded before"
        )
    batch.tally.forwarded[command.source] += 1
    batch.note(
        Forwarded(to_lane, 1, command.source, message_of(record, raw=raw)),
        f"{record.topic}/{record.partition}/{record.offset}",
    )


def dead_letter(batch: Batch, record: Any, trouble: Undecidable, *, raw: bool) -> None:
    """Note a message with its bytes, headers and the reason."""
    identity = inbound.identity_of(record, raw=raw)
    dead_id = dead_letter_id(record)
    batch.tally.dead[trouble.reason] += 1
    batch.tally.outcomes[("dead_lettered", False)] += 1
    trace = inbound.trace_of(record)
    log.warning("dead letter", lane=record.partition, id=dead_id, reason=trouble.reason, traceparent=trace[0])
    secret = {"error": _storable(trouble.secret)} if trouble.secret else {}
    batch.note(
        DeadLettered(
            dead_id,
            record.topic,
            record.partition,
            record.offset,
            trouble.reason,
            _storable(str(trouble)),
            identity["source"],
            identity["id"],
            identity["type"],
            identity["subject"],
            message_of(record, raw=raw) | secret,
        ),
        dead_id,
        *trace,
    )


def record_digest(record: Any) -> str:
    """Enough of a record to know its log again."""
    return blake2b((record.key or b"") + b"\0" + (record.value or b""), digest_size=_DIGEST_BYTES).hexdigest()


def dead_letter_id(record: Any) -> str:
    """Stable for one message at one place: reading it again names the same dead letter."""
    return f"{record.topic}-{record.partition}-{record.offset}-{record_digest(record)[:8]}"


def message_of(record: Any, *, raw: bool) -> dict[str, Any]:
    """The message as JSON: bytes in base64, headers in order."""

    def text(data: bytes | None) -> str | None:
        return None if data is None else base64.b64encode(data).decode()

    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp_ms": record.timestamp,
        "raw": raw or dict(record.headers).get(inbound.FORMAT_HEADER) == b"raw",
        "key": text(record.key),
        "value": text(record.value),
        "headers": [[name, text(value)] for name, value in record.headers],
    }


def _storable(text: str) -> str:
    """An error's words as the log, the tables and a header can hold them."""
    return text[:2000].encode(errors="replace").decode().replace("\x00", "\ufffd")
