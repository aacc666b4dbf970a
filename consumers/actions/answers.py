"""What is kept of an HTTP answer: when to come back, and a bounded, storable part of its body."""

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

MAX_RETRY_AFTER_MS = 24 * 3_600_000
MAX_DEPTH = 16
_INT64 = range(-(2**63), 2**63)


def retry_after_ms(value: str | None, now_ms: int) -> int | None:
    """Milliseconds to wait by a Retry-After header: seconds or an HTTP date; None if absent or unreadable."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit() and len(text) < 12:
        return min(int(text) * 1000, MAX_RETRY_AFTER_MS)
    try:
        date = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    if date.tzinfo is None:  # "-0000" or a zone nobody knows
        date = date.replace(tzinfo=UTC)
    return min(max(int(date.timestamp() * 1000) - now_ms, 0), MAX_RETRY_AFTER_MS)


def kept(body: bytes, limit_bytes: int) -> dict[str, Any]:
    """`{"body": json}` if it is short, storable JSON; else `{"text": start, "truncated": bool}`; {} if empty."""
    if not body:
        return {}
    if len(body) <= limit_bytes:
        try:
            value = msgspec.json.decode(body)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            pass
        else:
            if _storable(value, MAX_DEPTH):
                return {"body": value}
    text = body[:limit_bytes].decode(errors="replace")
    clean = "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)
    # Replacement characters are longer than what they replace: cut once more.
    clean = clean.encode()[:limit_bytes].decode(errors="ignore")
    return {"text": clean, "truncated": len(body) > limit_bytes}


def _storable(value: Any, depth: int) -> bool:
    """Whether the log takes it: no NUL, no integer beyond 64 bits, bounded depth."""
    match value:
        case bool() | None | float():
            return True
        case int():
            return value in _INT64
        case str():
            return "\x00" not in value
        case list():
            return depth > 0 and all(_storable(item, depth - 1) for item in value)
        case dict():
            return depth > 0 and all("\x00" not in k and _storable(v, depth - 1) for k, v in value.items())
    return False
