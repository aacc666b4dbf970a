"""PostgreSQL's binary COPY stream for the event table: one buffer a batch instead of five adapted arrays."""

from collections.abc import Iterable
from struct import Struct
from typing import Any

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_LEAD = Struct("!hi16siqi")  # 5 fields; uuid; version; length of the name
_LENGTH = Struct("!i")
_TAIL = Struct("!iq")


def events(rows: Iterable[Any]) -> bytes:
    """Rows with position, stream_id, version, name and stored; columns in the order of the COPY statement."""
    parts = bytearray(_HEADER)
    for row in rows:
        name = row.name.encode()
        parts += _LEAD.pack(5, 16, row.stream_id.bytes, 8, row.version, len(name))
        parts += name
        parts += _LENGTH.pack(len(row.stored))
        parts += row.stored
        parts += _TAIL.pack(8, row.position)
    parts += _TRAILER
    return bytes(parts)
