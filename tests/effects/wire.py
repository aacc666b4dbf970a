"""Effect records as the engine writes them, for tests."""

from collections.abc import Sequence
from typing import Any

import orjson
from aiokafka import ConsumerRecord

STREAM = "acme/c/cus-1/lifecycle:shop"


def value(effect: str = "1-0", stream: str = STREAM, kind: str = "webhook", **changes: Any) -> dict[str, Any]:
    """The JSON of one effect request."""
    return {
        "effect": effect,
        "attempt": 1,
        "action": "send_welcome",
        "type": kind,
        "params": {},
        "timeout_ms": 5_000,
        "stream": stream,
        "idempotency_key": f"{stream}/{effect}",
        "requested_ms": 1_700_000_000_000,
        **changes,
    }


def headers(effect: str = "1-0", stream: str = STREAM, attempt: int = 1) -> list[tuple[str, bytes]]:
    """Its CloudEvents headers."""
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", f"{stream}/{effect}/{attempt}".encode()),
        ("ce_type", b"journey.effect"),
        ("ce_subject", stream.encode()),
    ]


def record(
    body: bytes | dict[str, Any] | None, own: Sequence[tuple[str, bytes]] = (), *, offset: int = 7
) -> ConsumerRecord[bytes, bytes]:
    """A consumer's record of it."""
    raw = orjson.dumps(body) if isinstance(body, dict) else body
    return ConsumerRecord(
        "journeys.effects", 3, offset, 0, 0, b"acme/c/cus-1", raw, None, 12, len(raw or b""), tuple(own)
    )
