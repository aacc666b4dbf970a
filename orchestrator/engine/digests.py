"""Keyed hashes of command keys and bodies: short, and useless to whoever lacks the lane's secret."""

from hashlib import blake2b
from typing import Any
from uuid import UUID

import orjson

from orchestrator.core.errors import Malformed

_DIGEST_BYTES = 12


def key_hash(secret: bytes, source: str, command_id: str) -> bytes:
    """8 bytes naming a command key within its stream; ids hold no NUL, so the join is unambiguous."""
    return blake2b(f"{source}\0{command_id}".encode(), digest_size=8, key=secret).digest()


def canonical(command_type: str, data: dict[str, Any]) -> bytes:
    """Type and sorted-key JSON of the body. Raises Malformed for numbers JSON stores can't keep."""
    try:
        return command_type.encode() + b"\0" + orjson.dumps(data, option=orjson.OPT_SORT_KEYS)
    except (TypeError, ValueError, RecursionError) as error:
        raise Malformed(f"data can't be kept: {error}") from error


def digest(secret: bytes, stream: UUID, body: bytes) -> str:
    """The body's digest for this stream: two customers sending the same body don't show it."""
    return blake2b(body, digest_size=_DIGEST_BYTES, key=secret, salt=stream.bytes).hexdigest()
