"""What follows from a command to a points ledger: pure decisions."""

from collections.abc import Sequence
from typing import Any

from orchestrator.core.decider import EffectResult, Facts, TimerFired
from orchestrator.core.errors import Rejected
from orchestrator.core.events import CommandIgnored, Event
from orchestrator.customers.points.commands import Award, Redeem, Reverse
from orchestrator.customers.points.events import Awarded, Redeemed, Reversed
from orchestrator.customers.points.state import EXPIRY_TIMER, REVERSIBLE_MAX, LedgerState
from orchestrator.customers.points.turn import Turn


def decide(state: LedgerState | None, command: Any, facts: Facts) -> Sequence[Event]:
    """The events of a command; raises Rejected. Points that are due expire first."""
    match command:
        case EffectResult():
            return (CommandIgnored(reason="no_effect"),)
        case TimerFired():
            return _timer(state, command, facts)
    turn = Turn(state, facts, facts.now_ms)
    turn.expire()
    match command:
        case Award():
            _award(turn, command)
        case Redeem():
            _redeem(turn, command)
        case Reverse():
            _reverse(turn, command)
        case _:
            raise TypeError(f"{type(command).__name__} is no command of a points ledger")
    turn.keep_timer(fired=False)
    turn.tell()
    return turn.events


def _timer(state: LedgerState | None, command: TimerFired, facts: Facts) -> Sequence[Event]:
    if state is None or command.timer != EXPIRY_TIMER or state.timer_ms is None:
        return (CommandIgnored(reason="timer_not_armed"),)
    turn = Turn(state, facts, max(facts.now_ms, command.due_ms))
    turn.expire()
    turn.keep_timer(fired=True)
    turn.tell()
    return turn.events


def _award(turn: Turn, command: Award) -> None:
    _positive(command.points)
    turn.check_award(command.points)
    balance = turn.within(command.points, turn.compiled.balance_max)
    turn.open()
    turn.add(
        Awarded(
            turn.transaction,
            command.points,
            balance,
            turn.now_ms,
            turn.definition_version,
            command.reason,
            command.reference,
            turn.compiled.expires_ms(turn.now_ms),
        )
    )


def _redeem(turn: Turn, command: Redeem) -> None:
    _positive(command.points)
    balance = turn.enough(-command.points)
    turn.add(
        Redeemed(
            turn.transaction,
            -command.points,
            balance,
            turn.now_ms,
            turn.definition_version,
            command.reason,
            command.reference,
        )
    )


def _reverse(turn: Turn, command: Reverse) -> None:
    entry = turn.state.entry(command.transaction)
    if entry is None:
        raise Rejected(
            "points.unknown_transaction", transaction=command.transaction, remembered=REVERSIBLE_MAX
        )
    if entry.reversed:
        raise Rejected("points.already_reversed", transaction=command.transaction)
    if entry.points > 0:
        if entry.expires_ms is not None and entry.expires_ms <= turn.now_ms:
            raise Rejected("points.already_expired", transaction=command.transaction)
        expires_ms, balance = entry.expires_ms, turn.enough(-entry.points)
    else:
        # What a limit of today says about balances doesn't keep from a customer what was spent under it.
        expires_ms, balance = turn.compiled.expires_ms(turn.now_ms), turn.within(-entry.points)
    turn.add(
        Reversed(
            turn.transaction,
            entry.transaction,
            -entry.points,
            balance,
            turn.now_ms,
            turn.definition_version,
            command.reason,
            expires_ms,
        )
    )


def _positive(points: int) -> None:
    if points < 1:
        raise Rejected("points.not_positive", points=points)
