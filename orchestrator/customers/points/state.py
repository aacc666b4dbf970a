"""The state of a points ledger: balance, what expires when, and the transactions that can still be reversed."""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct, convert, to_builtins

from orchestrator.customers.points.lots import Lots

EXPIRY_TIMER: Final = "expiry"
REVERSIBLE_MAX: Final = 100
"""Awards and redemptions that are remembered, the newest; older ones can't be reversed any more."""


class Entry(Struct, frozen=True, omit_defaults=True):
    """An award (points above zero) or a redemption (below)."""

    transaction: str
    points: int
    expires_ms: int | None = None
    reversed: bool = False


class LedgerState(Struct, frozen=True, omit_defaults=True):
    """One customer's account. Immutable; `timer_ms` is what the expiry timer was armed for."""

    currency: str
    balance: int = 0
    transactions: int = 0
    lots: Lots = ()
    entries: tuple[Entry, ...] = ()  # oldest first
    timer_ms: int | None = None

    @property
    def next_expiry_ms(self) -> int | None:
        """When the next points expire; None if none ever will."""
        return self.lots[0].expires_ms if self.lots else None

    def entry(self, transaction: str) -> Entry | None:
        """The award or redemption of that id, if it is remembered."""
        return next((entry for entry in self.entries if entry.transaction == transaction), None)


def deadline_ms(state: LedgerState | None, timer: str) -> int | None:
    """When the next points expire: redeeming the oldest moves it without a command."""
    return None if state is None or timer != EXPIRY_TIMER else state.next_expiry_ms


def label(state: LedgerState | None) -> str:
    """OPEN, or OVERDRAWN below zero."""
    if state is None:
        return ""
    return "OVERDRAWN" if state.balance < 0 else "OPEN"


def dump(state: LedgerState) -> dict[str, Any]:
    """JSON form; a ledger holds nothing personal."""
    data: dict[str, Any] = to_builtins(state)
    return data


def load(data: Mapping[str, Any]) -> LedgerState:
    """The state from its dump."""
    return convert(dict(data), LedgerState)


def view(state: LedgerState) -> dict[str, Any]:
    """What others may see."""
    shown: dict[str, Any] = {
        "currency": state.currency,
        "balance": state.balance,
        "transactions": state.transactions,
    }
    if state.lots and state.next_expiry_ms is not None:
        shown["nextExpiry"] = {"points": state.lots[0].points, "at": state.next_expiry_ms}
    return shown
