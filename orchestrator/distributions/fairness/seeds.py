"""The seed of a draw: a secret committed before anyone enters, and a public value unknown before the close."""

import hmac
from hashlib import sha256
from typing import Final

from msgspec import Struct

SECRET_BYTES: Final = 32
BEACON_BYTES_MIN: Final = 16
BEACON_BYTES_MAX: Final = 128
_COMMITMENT, _SEED = b"draw.secret.v1\x00", b"draw.seed.v1\x00"


class BeaconRound(Struct, frozen=True):
    """A round of a public source of randomness, named before it exists; `at_ms` is when it will be published."""

    source: str
    round: int
    at_ms: int


def commitment(secret: bytes) -> bytes:
    """What is published of the secret before the draw. Raises ValueError for a secret of another length."""
    return sha256(_COMMITMENT + _checked(secret)).digest()


def keeps(secret: bytes, committed: bytes) -> bool:
    """Whether a revealed secret is the committed one."""
    return len(secret) == SECRET_BYTES and hmac.compare_digest(commitment(secret), committed)


def seed(secret: bytes, beacon: bytes = b"") -> bytes:
    """The 32 bytes that decide a draw; the secret's length is fixed, so the two can't be divided in another way."""
    return sha256(_SEED + _checked(secret) + beacon).digest()


def _checked(secret: bytes) -> bytes:
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"a secret has {SECRET_BYTES} bytes, not {len(secret)}")
    return secret
