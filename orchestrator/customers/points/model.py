"""A compiled ledger document, and when points expire by it."""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from orchestrator.core.durations import duration_ms

POINTS_MAX: Final = 2**63 - 1
LOTS_PER_SPAN: Final = 365


class Compiled(Struct, frozen=True):
    """The document in force. Points are whole numbers of 64 bits."""

    currency: str
    award_max: int
    balance_max: int  # no award leads above it
    lowest: int  # neither a redemption nor a reversal leads below it; 0 or less
    after_ms: int | None  # until awarded points expire; None: never
    record: str = ""  # the customer record that is told the balance

    def expires_ms(self, now_ms: int) -> int | None:
        """When points awarded now expire: the span rounded up by at most a 365th of itself.

        So a year's points end at midnight (UTC), and a ledger never holds more than some 366 instants.
        """
        if self.after_ms is None:
            return None
        grain_ms = max(1, self.after_ms // LOTS_PER_SPAN)
        return -(-(now_ms + self.after_ms) // grain_ms) * grain_ms


def compile_document(document: Mapping[str, Any]) -> Compiled:
    """The compiled form; called once per version and process. Expects a document without errors."""
    limits = document.get("limits", {})
    expiry = document.get("expiry")
    return Compiled(
        currency=document["currency"],
        award_max=limits.get("award", POINTS_MAX),
        balance_max=limits.get("balance", POINTS_MAX),
        lowest=-limits.get("overdraft", 0),
        after_ms=None if expiry is None else duration_ms(expiry["after"]),
        record=document.get("record", ""),
    )
