"""Commands to a points ledger, and how they are read from a message's type and data."""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from orchestrator.core.errors import Malformed
from orchestrator.customers import fields

REASON_CHARS_MAX: Final = 200
REFERENCE_CHARS_MAX: Final = 128
_TRANSACTION_CHARS_MAX: Final = 32


class Award(Struct, frozen=True):
    """Give points; the first award opens the account."""

    points: int
    reason: str
    reference: str = ""


class Redeem(Struct, frozen=True):
    """Spend points."""

    points: int
    reason: str
    reference: str = ""


class Reverse(Struct, frozen=True):
    """Undo an award or a redemption as a whole."""

    transaction: str
    reason: str = ""


def parse(type: str, data: Mapping[str, Any]) -> Any:
    """The command of an addressed message. Raises Malformed, naming the field and what it should be."""
    match type:
        case "award" | "redeem":
            fields.only(type, data, {"points", "reason", "reference"})
            points = fields.whole(type, data, "points")
            reason = fields.text(type, data, "reason", max_chars=REASON_CHARS_MAX)
            reference = fields.text(type, data, "reference", max_chars=REFERENCE_CHARS_MAX, default="")
            return (Award if type == "award" else Redeem)(points, reason, reference)
        case "reverse":
            fields.only(type, data, {"transaction", "reason"})
            transaction = fields.text(type, data, "transaction", max_chars=_TRANSACTION_CHARS_MAX)
            return Reverse(
                transaction, fields.text(type, data, "reason", max_chars=REASON_CHARS_MAX, default="")
            )
    raise Malformed(
        f"{type[:100]!r} is no command of a points ledger; these are: award, redeem, reverse", "unknown_type"
    )


def parse_raw(type: str, data: Mapping[str, Any]) -> Any:  # noqa: ARG001 - the kind's signature
    """A ledger listens to no raw event: points are awarded by command. Raises Malformed."""
    raise Malformed(f"event {type[:100]!r}: a points ledger listens to no events", "unknown_type")
