"""How events change a points ledger. Events carry their numbers; no document is read."""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from orchestrator.core.events import Event, TimerArmed, TimerCancelled
from orchestrator.customers.points.events import AccountOpened, Awarded, Expired, Redeemed, Reversed
from orchestrator.customers.points.lots import Lots, put, take, take_from
from orchestrator.customers.points.state import REVERSIBLE_MAX, Entry, LedgerState


def evolve(state: LedgerState | None, event: Event) -> LedgerState | None:
    """The state after an event; None before the account is opened."""
    if state is None:
        return LedgerState(event.currency) if isinstance(event, AccountOpened) else None
    step = _STEPS.get(type(event))
    return state if step is None else step(state, event)


def _awarded(state: LedgerState, event: Awarded) -> LedgerState:
    lots = _come_in(state, event.points, event.balance, event.expires_ms)
    return _after(state, event.balance, lots, Entry(event.transaction, event.points, event.expires_ms))


def _redeemed(state: LedgerState, event: Redeemed) -> LedgerState:
    return _after(
        state, event.balance, take(state.lots, -event.points), Entry(event.transaction, event.points)
    )


def _reversed(state: LedgerState, event: Reversed) -> LedgerState:
    if event.points < 0:
        lots = take_from(state.lots, -event.points, event.expires_ms)
    else:
        lots = _come_in(state, event.points, event.balance, event.expires_ms)
    entries = tuple(
        replace(entry, reversed=True) if entry.transaction == event.reverses else entry
        for entry in state.entries
    )
    return replace(
        state, balance=event.balance, transactions=state.transactions + 1, lots=lots, entries=entries
    )


def _expired(state: LedgerState, event: Expired) -> LedgerState:
    lots = take_from(state.lots, -event.points, event.expires_ms)
    return replace(state, balance=event.balance, transactions=state.transactions + 1, lots=lots)


def _come_in(state: LedgerState, points: int, balance: int, expires_ms: int | None) -> Lots:
    """What comes in pays back an overdraft first; only the rest can be spent and expire."""
    return put(state.lots, min(points, balance), expires_ms)


def _after(state: LedgerState, balance: int, lots: Lots, entry: Entry) -> LedgerState:
    entries = (*state.entries, entry)[-REVERSIBLE_MAX:]
    return LedgerState(state.currency, balance, state.transactions + 1, lots, entries, state.timer_ms)


def _armed(state: LedgerState, event: TimerArmed) -> LedgerState:
    return replace(state, timer_ms=event.due_ms)


def _cancelled(state: LedgerState, _event: TimerCancelled) -> LedgerState:
    return replace(state, timer_ms=None)


_STEPS: dict[type[Event], Callable[[LedgerState, Any], LedgerState]] = {
    Awarded: _awarded,
    Redeemed: _redeemed,
    Reversed: _reversed,
    Expired: _expired,
    TimerArmed: _armed,
    TimerCancelled: _cancelled,
}
