"""Entry receipts: what an entrant keeps to show that they were in, signed by the organizer.

A receipt names the entry's leaf and the digest of the draw's terms (commitment, beacon round, number of winners), so
it also witnesses that these were fixed when the entrant came. It is signed when it is read; the log holds no signature.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Annotated, Any, Final

from msgspec import Meta, Struct, to_builtins

from orchestrator.distributions.fairness.entries import WEIGHT_MAX
from orchestrator.distributions.fairness.seeds import BeaconRound

FORMAT: Final = "draw-receipt/1"
ALGORITHM: Final = "Ed25519"
Hash = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Ticket = Annotated[int, Meta(ge=1, le=2**53)]
Weight = Annotated[int, Meta(ge=1, le=WEIGHT_MAX)]
Sign = Callable[[bytes], bytes]
Verify = Callable[[bytes, bytes], bool]  # message, signature


class Terms(Struct, frozen=True):
    """What an organizer binds themselves to before anyone enters."""

    draw: str  # the text of its stream
    commitment: Hash
    beacon: BeaconRound | None
    winners: Count
    reserves: Count
    weight_max: Weight

    def digest(self) -> str:
        """Hex SHA-256 of the terms' canonical JSON."""
        return sha256(canonical(to_builtins(self))).hexdigest()


class Statement(Struct, frozen=True):
    """What is signed. `terms` is their digest; `entered_ms` is lane time."""

    draw: str
    ticket: Ticket
    weight: Weight
    leaf: Hash
    entered_ms: Count
    terms: Hash
    format: str = FORMAT


class Receipt(Struct, frozen=True):
    """A signed statement; `key` is the id of the key, `signature` base64url without padding."""

    statement: Statement
    key: str
    signature: str
    algorithm: str = ALGORITHM


def canonical(value: Mapping[str, Any]) -> bytes:
    """JSON with sorted names and no blanks, UTF-8: RFC 8785 for texts, whole numbers, booleans and null."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def signed(statement: Statement, key: str, sign: Sign) -> Receipt:
    """The receipt of a statement; `sign` is Ed25519 with the key of that id."""
    signature = urlsafe_b64encode(sign(canonical(to_builtins(statement)))).rstrip(b"=").decode()
    return Receipt(statement, key, signature)


def authentic(receipt: Receipt, verify: Verify) -> bool:
    """Whether the key behind `verify` has signed exactly this statement."""
    if receipt.algorithm != ALGORITHM or receipt.statement.format != FORMAT:
        return False
    try:
        signature = urlsafe_b64decode(receipt.signature + "=" * (-len(receipt.signature) % 4))
    except (ValueError, Base64Error):
        return False
    return verify(canonical(to_builtins(receipt.statement)), signature)
