"""The proof of a draw as one JSON file: everything that is needed to repeat it, and no participant's id."""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from orchestrator.core.errors import OrchestratorError
from orchestrator.distributions.fairness.ranking import ALGORITHM
from orchestrator.distributions.fairness.receipts import Count, Hash, Receipt, Terms, Ticket, Weight
from orchestrator.distributions.fairness.seeds import BEACON_BYTES_MAX, BEACON_BYTES_MIN

FORMAT: Final = "draw-proof/1"
BYTES_MAX: Final = 1_073_741_824
BeaconValue = Annotated[str, Meta(pattern=f"^(([0-9a-f]{{2}}){{{BEACON_BYTES_MIN},{BEACON_BYTES_MAX}}})?$")]
Reason = Literal["", "unclaimed", "unused", "declined", "revoked"]


class InvalidProof(OrchestratorError):
    """A file that isn't the proof of a draw; the message names the place."""


class Entry(Struct, frozen=True, array_like=True, gc=False):
    """One entry, by its place in the list the first has ticket 1. `identity` is a salted hash."""

    identity: Hash
    weight: Weight = 1
    withdrawn: bool = False  # before the close: it is committed, but has no ball in the drum


class Award(Struct, frozen=True, omit_defaults=True):
    """A place that was given: to a winner, or to a replacement for the holder of ticket `replaces`."""

    ticket: Ticket
    rank: Ticket
    replaces: Count = 0
    reason: Reason = ""


class Inclusion(Struct, frozen=True):
    """That a leaf (as committed) is in the tree: the hashes beside its way up."""

    ticket: Ticket
    leaf: Hash
    path: list[Hash]


class Times(Struct, frozen=True):
    """When each step was taken, ms since the epoch, by the draw's own clock."""

    committed_ms: Count
    opened_ms: Count
    closed_ms: Count
    sealed_ms: Count
    drawn_ms: Count


class Proof(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A draw that was held: `awards` are its winners and their replacements."""

    format: Literal["draw-proof/1"] = FORMAT
    algorithm: Literal["drum-sha256-v1"] = ALGORITHM
    terms: Terms
    times: Times
    secret: Hash
    beacon_value: BeaconValue = ""
    seed: Hash
    root: Hash
    entries: list[Entry]
    awards: list[Award] = []
    inclusions: list[Inclusion] = []
    receipts: list[Receipt] = []
    keys: list[dict[str, Any]] = []  # public JSON Web Keys of the receipts


_decoder = msgspec.json.Decoder(Proof)


def read(data: bytes) -> Proof:
    """The proof in a file. Raises InvalidProof, naming the place."""
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidProof(f"this is no proof of a draw ({FORMAT}): {error}") from error


def write(proof: Proof) -> Sequence[bytes]:
    """The file's parts; an entry a line, so that people and line tools can read it."""
    fields = msgspec.to_builtins(proof)
    entries = fields.pop("entries")
    head = msgspec.json.format(msgspec.json.encode(fields), indent=1)
    parts = [head.rstrip()[:-1].rstrip(), b',\n "entries": [']
    if entries:
        parts += [b"\n  ", b",\n  ".join(msgspec.json.encode(entry) for entry in entries), b"\n "]
    parts.append(b"]\n}\n")
    return parts
