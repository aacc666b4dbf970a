"""The shuffle of a pre-queue, for anyone to repeat: the fair ranking of ticket numbers by a secret committed before."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, Literal

import msgspec
from msgspec import Struct

from orchestrator.distributions.fairness import seeds
from orchestrator.distributions.fairness.checking import (
    NOT_OPERATOR_PROOF,
    Finding,
    Report,
    differs,
    finding,
    some,
)
from orchestrator.distributions.fairness.proof import InvalidProof
from orchestrator.distributions.fairness.ranking import ALGORITHM, ranking
from orchestrator.distributions.fairness.receipts import Hash, Ticket

FORMAT: Final = "shuffle-proof/1"


class ShuffleProof(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who waited at the opening, by ticket, in the order that came out."""

    format: Literal["shuffle-proof/1"] = FORMAT
    algorithm: Literal["drum-sha256-v1"] = ALGORITHM
    queue: str  # the text of its stream
    commitment: Hash
    secret: Hash
    order: list[Ticket]


class _Format(Struct):
    format: str


def is_shuffle(data: bytes) -> bool:
    """Whether a file says of itself that it is the proof of a shuffle."""
    try:
        return msgspec.json.decode(data, type=_Format).format == FORMAT
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False


def read(data: bytes) -> ShuffleProof:
    """The proof in a file. Raises InvalidProof, naming the place."""
    try:
        return msgspec.json.decode(data, type=ShuffleProof)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidProof(f"this is no proof of a shuffle ({FORMAT}): {error}") from error


def leaf(ticket: int) -> bytes:
    """What is ranked of a ticket."""
    return ticket.to_bytes(8, "big")


def ordered(secret: str, tickets: Iterable[int], progress: Callable[[int], None] | None = None) -> list[int]:
    """Tickets in their fair order, by a revealed secret (hex)."""
    given = list(tickets)
    seed = seeds.seed(bytes.fromhex(secret))
    return [given[index] for index in ranking(seed, [leaf(ticket) for ticket in given], progress=progress)]


def check(proof: ShuffleProof, *, progress: Callable[[int], None] | None = None) -> Report:
    """Repeat the shuffle. `progress` hears how many tickets are ranked."""
    twice = [ticket for ticket, times in Counter(proof.order).items() if times > 1]
    again = ordered(proof.secret, sorted(proof.order), progress)
    kept = seeds.keeps(bytes.fromhex(proof.secret), bytes.fromhex(proof.commitment))
    said = f"{NOT_OPERATOR_PROOF}: the order follows from the secret alone, so who knew it could foresee the order"
    findings = [
        finding("tickets", not twice, f"{len(proof.order):,}, each once", f"{some(twice)} appear twice"),
        finding("secret", kept, "it is the one committed to", "it is not the one that was committed to"),
        Finding("beacon", "warning", said),
        finding(
            "order",
            again == proof.order,
            f"{len(again):,} tickets, in the order of the ranking",
            f"it first differs at place {differs(proof.order, again)}",
        ),
    ]
    passed = all(one.status != "failed" for one in findings)
    return Report(findings, passed, operator_proof=False, entries=len(again), winners=[], replacements=[])
