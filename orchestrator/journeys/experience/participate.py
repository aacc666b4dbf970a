"""What a customer does in a sequence: each action is one question to a distribution, whose answer moves the journey."""

from collections.abc import Mapping
from typing import Any, Final

from orchestrator.core.errors import Rejected
from orchestrator.core.events import CommandIgnored
from orchestrator.journeys.experience.commands import Act, MarkAdmitted
from orchestrator.journeys.experience.events import Admitted
from orchestrator.journeys.experience.model import Sequence
from orchestrator.journeys.experience.routing import attributes_of, route
from orchestrator.journeys.experience.stages import ENTER_BY
from orchestrator.journeys.experience.state import CODES
from orchestrator.journeys.experience.turn import Turn

ASKS: Final[Mapping[str, str]] = {
    "enter_waitlist": "enter",
    "leave_waitlist": "leave",
    **dict.fromkeys(ENTER_BY, "enter"),
    "complete_timed_release": "complete",
    "leave_participation": "leave",
    "place_bid": "bid",
    "enter_appointment": "book",
    "cancel_appointment": "cancel",
    "accept_offer": "claim",
}
"""Each action and what it asks of the distribution."""
HOLD: Final = "hold"  # of `enter_appointment`: keep the slot for a while, and book it later
_ENTERS: Final = frozenset({"enter", "book"})


def act(turn: Turn, command: Act) -> None:
    """A sequence action. Raises Rejected."""
    turn.allow(command.action)
    ask, data = ASKS[command.action], command.data
    if ask == "book" and data.get(HOLD) is True:
        ask, data = "enter", {name: value for name, value in data.items() if name != HOLD}
    ask_as_customer(turn, _target(turn, command.action), ask, data)


def ask_as_customer(turn: Turn, to: str, action: str, data: Mapping[str, Any]) -> None:
    """Ask with what the document's rules say of the customer, where that matters: on entering."""
    sequence = _sequence(turn)
    attributes = attributes_of(turn, sequence) if sequence is not None and action in _ENTERS else {}
    turn.ask(to, action, data, attributes)


def refresh(turn: Turn) -> None:
    """Ask the distribution how things stand. Raises Rejected."""
    turn.allow("refresh_distribution")
    seat, held = turn.state.seat, turn.state.participation
    assert seat is not None
    turn.ask(seat.distribution if held is None else held.distribution, "refresh")


def retry(turn: Turn) -> None:
    """Ask again what wasn't answered, or look for a sequence again. Raises Rejected."""
    turn.allow("retry")
    question = turn.state.question
    if question is None:
        route(turn)
    elif question.to == CODES:
        turn.ask(CODES, question.action, question.data)
    else:
        ask_as_customer(turn, question.to, question.action, question.data)


def reroute(turn: Turn) -> None:
    """Look for a sequence again. Raises Rejected."""
    turn.allow("request_reroute")
    route(turn)


def mark_admitted(turn: Turn, command: MarkAdmitted) -> None:
    """A trusted producer's admission; a place in a distribution is given back for it. Raises Rejected."""
    turn.trust("mark_admitted")
    state = turn.state
    if turn.stage == "not_started":
        raise Rejected("experience.not_started")
    if state.seat is None:
        raise Rejected("experience.not_routed")
    if command.expires_ms and command.expires_ms <= turn.now_ms:
        raise Rejected("experience.admission_over", expires_ms=command.expires_ms)
    if state.admission is not None:
        if state.admission.jti == command.jti:
            turn.add(CommandIgnored(reason="already_known"))
            return
        raise Rejected("experience.already_admitted")
    if state.question is not None:
        raise Rejected("experience.waiting_for_answer", action="mark_admitted")
    if state.participation is not None and not turn.history:
        turn.ask(state.participation.distribution, "leave", wait=False)
    turn.add(
        Admitted(
            at_ms=turn.now_ms,
            jti=command.jti,
            expires_ms=command.expires_ms,
            quantity=command.quantity,
            by=turn.facts.source,
        )
    )
    turn.note("distribution_change", "success", "You may go on.")


def _target(turn: Turn, action: str) -> str:
    """Whom an allowed action asks."""
    state = turn.state
    seat = state.seat
    assert seat is not None
    if action == "enter_waitlist":
        return seat.waitlist
    if action == "accept_offer" and state.offer is not None:
        return state.offer.distribution
    if action in {"leave_waitlist", "leave_participation"}:
        if state.participation is not None:
            return state.participation.distribution
        if state.admission is not None and state.admission.distribution:
            return state.admission.distribution
        return seat.waitlist if action == "leave_waitlist" else seat.distribution
    return seat.distribution


def _sequence(turn: Turn) -> Sequence | None:
    seat = turn.state.seat
    id = "" if seat is None else seat.sequence
    return next((sequence for sequence in turn.compiled.sequences if sequence.id == id), None)
