"""How grants ended, for good and for millions of them: nine bytes each.

An id is remembered by a hash of 64 bits. Hashes stand packed in buckets, which are scanned as bytes: it is asked only
when somebody uses a grant that isn't live, so a few microseconds are quick enough.
"""

from hashlib import blake2b
from typing import Final

_HASH_BYTES: Final = 8
_ENTRY_BYTES: Final = 9
_BUCKETS: Final = 1_024


class Ended:
    """Ids and a small number for each; nothing is ever taken back."""

    __slots__ = ("_buckets",)

    def __init__(self) -> None:
        self._buckets: dict[int, bytearray] = {}

    def add(self, id: str, code: int) -> None:
        """Remember how it ended; `code` is from 1 to 255."""
        hashed = _hash(id)
        self._buckets.setdefault(_bucket(hashed), bytearray()).extend(hashed + bytes((code,)))

    def get(self, id: str) -> int:
        """The code of an id; 0 for an unknown one."""
        hashed = _hash(id)
        packed = self._buckets.get(_bucket(hashed), b"")
        at = packed.find(hashed)
        while at >= 0:
            if at % _ENTRY_BYTES == 0:
                return packed[at + _HASH_BYTES]
            at = packed.find(hashed, at + 1)
        return 0


def _hash(id: str) -> bytes:
    return blake2b(id.encode(), digest_size=_HASH_BYTES).digest()


def _bucket(hashed: bytes) -> int:
    return int.from_bytes(hashed[:2], "big") % _BUCKETS
