"""What is committed of an entrant: ticket, weight, salted hash. Who it is can be forgotten; the proof stays."""

import hmac
from hashlib import sha256

from orchestrator.distributions.fairness.merkle import leaf_hash

KEY_BYTES = 32
SALT_BYTES = 16
WEIGHT_MAX = 100  # one ball a unit of weight: the work of a ranking is the sum of its weights
_SALT, _IDENTITY, _ENTRY, _WITHDRAWN = (
    b"draw.salt.v1\x00",
    b"draw.identity.v1\x00",
    b"draw.entry.v1\x00",
    b"\x02",
)


def salt(salt_key: bytes, ticket: int, participant: str) -> bytes:
    """The salt of one entry. Whoever lacks the key can't find a participant by trying ids."""
    whole = hmac.digest(salt_key, _SALT + ticket.to_bytes(8, "big") + participant.encode(), "sha256")
    return whole[:SALT_BYTES]


def identity(salt: bytes, participant: str) -> bytes:
    """The salted hash that stands for a participant; the salt's length is fixed."""
    return sha256(_IDENTITY + salt + participant.encode()).digest()


def draw_hash(draw: str) -> bytes:
    """The draw's stream, as entries name it."""
    return sha256(draw.encode()).digest()


def entry_leaf(draw: bytes, ticket: int, weight: int, identity: bytes) -> bytes:
    """The hashed leaf of an entry; `draw` is its `draw_hash`. Every field has a fixed length."""
    return leaf_hash(_ENTRY + draw + ticket.to_bytes(8, "big") + weight.to_bytes(4, "big") + identity)


def withdrawn_leaf(leaf: bytes) -> bytes:
    """What is committed in place of the leaf of an entry that was withdrawn before the close."""
    return sha256(_WITHDRAWN + leaf).digest()


def committed_leaf(leaf: bytes, *, withdrawn: bool) -> bytes:
    """The leaf as it stands in the tree."""
    return withdrawn_leaf(leaf) if withdrawn else leaf
