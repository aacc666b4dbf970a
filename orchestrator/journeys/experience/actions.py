"""What a customer may do now: one total function of state and lane time, which the decider itself obeys."""

from collections.abc import Callable, Mapping
from typing import Final

from orchestrator.journeys.experience.codes import retry_after_ms
from orchestrator.journeys.experience.stages import (
    ACCESS_CODE,
    ADMISSION_EXPIRED,
    ADMITTED,
    AUTHENTICATION,
    BOT_CHECK,
    ENDED,
    ENTER_BY,
    ENTERABLE,
    JOURNEY_ACTIONS,
    NOT_STARTED,
    PARTICIPATING,
    ROUTED,
    ROUTING,
    SEQUENCE_ACTIONS,
    UPCOMING,
    WAITLIST_ENTERED,
)
from orchestrator.journeys.experience.state import (
    CHECKING,
    MET,
    SKIPPED,
    ExperienceState,
    Seat,
    journey_stage,
    stage_at,
)

_ALLOWED: Final = ""


def available(state: ExperienceState | None, now_ms: int) -> dict[str, list[str]]:
    """The actions that would be accepted at a lane time (ms), in the order of the contract."""
    return {
        "journey": [action for action in JOURNEY_ACTIONS if not refusal(state, action, now_ms)],
        "sequence": [action for action in SEQUENCE_ACTIONS if not refusal(state, action, now_ms)],
    }


def refusal(state: ExperienceState | None, action: str, now_ms: int) -> str:
    """The rule that forbids an action now; empty when it is allowed. Raises KeyError for what is no action."""
    if action in _SEQUENCE:
        return _sequence(state, action, now_ms)
    if action not in _JOURNEY:
        raise KeyError(action)
    if action == "start":
        return _ALLOWED if journey_stage(state) == NOT_STARTED else "experience.already_started"
    if state is None or not state.version:
        return "experience.not_started"
    return _JOURNEY[action](state, now_ms)


def throttled_ms(state: ExperienceState | None, now_ms: int) -> int:
    """How long until an access code may be given again; 0: now."""
    if state is None or not state.guess_limit:
        return 0
    return retry_after_ms(state.guesses, state.guess_limit, state.guess_within_ms, now_ms)


def _prove(state: ExperienceState, type: str) -> str:
    need = state.need(type)
    if need is None:
        return "experience.not_required"
    if need.status == CHECKING:
        return "experience.being_checked"
    return "experience.already_met" if need.status == MET else _ALLOWED


def _provide(state: ExperienceState, now_ms: int) -> str:
    if not state.guess_limit:  # the experience has no codes
        return "experience.not_required"
    refused = "" if state.need(ACCESS_CODE) is None else _prove(state, ACCESS_CODE)
    if refused:
        return refused
    if state.engaged:
        return "experience.engaged"
    if state.question is not None:
        return "experience.waiting_for_answer"
    return "access_code.throttled" if throttled_ms(state, now_ms) else _ALLOWED


def _skip(state: ExperienceState, _now_ms: int) -> str:
    refused = _prove(state, ACCESS_CODE)
    need = state.need(ACCESS_CODE)
    if refused or need is None:
        return refused
    if need.status == SKIPPED:
        return "experience.already_skipped"
    return "experience.required" if need.required else _ALLOWED


def _reroute(state: ExperienceState, _now_ms: int) -> str:
    if journey_stage(state) not in {ROUTING, ROUTED}:
        return "experience.requirements_open"
    if state.engaged:
        return "experience.engaged"
    return "experience.waiting_for_answer" if state.question is not None else _ALLOWED


def _retry(state: ExperienceState, _now_ms: int) -> str:
    if state.question is not None:
        return _ALLOWED if state.question.late else "experience.waiting_for_answer"
    return _ALLOWED if journey_stage(state) == ROUTING else "experience.nothing_to_retry"


def _refresh(state: ExperienceState, _now_ms: int) -> str:
    if state.seat is None:
        return "experience.not_routed"
    return "experience.waiting_for_answer" if state.question is not None else _ALLOWED


def _sequence(state: ExperienceState | None, action: str, now_ms: int) -> str:
    if state is None or not state.version:
        return "experience.not_started"
    if state.seat is None:
        return "experience.not_routed"
    if state.question is not None:
        return "experience.waiting_for_answer"
    return _SEQUENCE[action](state, state.seat, now_ms)


def _enter(mechanism: str) -> Callable[[ExperienceState, Seat, int], str]:
    def enter(state: ExperienceState, seat: Seat, now_ms: int) -> str:
        if seat.mechanism != mechanism:
            return "experience.other_mechanism"
        stage = stage_at(state, now_ms)
        if stage == WAITLIST_ENTERED:  # the waitlist holds no one back once the sequence is open
            if seat.closes_ms is not None and seat.closes_ms <= now_ms:
                return "experience.ended"
            return _ALLOWED if seat.opens_ms is None or seat.opens_ms <= now_ms else "experience.not_open"
        if stage == ADMISSION_EXPIRED:
            return _ALLOWED if seat.on_expired == "reenter" else "experience.no_reentry"
        if stage == ENTERABLE:
            return "experience.paused" if state.paused else _ALLOWED
        return {UPCOMING: "experience.not_open", ENDED: "experience.ended"}.get(
            stage, "experience.already_in"
        )

    return enter


def _enter_waitlist(state: ExperienceState, seat: Seat, now_ms: int) -> str:
    stage = stage_at(state, now_ms)
    if not seat.waitlist:
        return "experience.no_waitlist"
    if stage in {UPCOMING, ENTERABLE}:
        return _ALLOWED
    if stage == ADMISSION_EXPIRED:
        return _ALLOWED if seat.on_expired != "end" else "experience.no_reentry"
    return "experience.ended" if stage == ENDED else "experience.already_in"


def _leave_waitlist(state: ExperienceState, _seat: Seat, _now_ms: int) -> str:
    return _ALLOWED if state.stage == WAITLIST_ENTERED else "experience.not_in"


def _complete(state: ExperienceState, seat: Seat, now_ms: int) -> str:
    if seat.mechanism != "timed_release":
        return "experience.other_mechanism"
    if state.admission is not None and state.admission.over(now_ms):
        return "experience.admission_over"
    return _ALLOWED if state.stage in {PARTICIPATING, ADMITTED} else "experience.not_in"


def _leave(state: ExperienceState, _seat: Seat, now_ms: int) -> str:
    admission = state.admission
    if state.stage == ADMITTED and admission is not None:
        if admission.redeemed:
            return "experience.redeemed"
        if admission.over(now_ms):
            return "experience.admission_over"
        return _ALLOWED if admission.distribution else "experience.not_in"
    if state.stage != PARTICIPATING:
        return "experience.not_in"
    return "experience.settling" if state.settling else _ALLOWED


def _bid(state: ExperienceState, seat: Seat, _now_ms: int) -> str:
    if seat.mechanism != "auction":
        return "experience.other_mechanism"
    if state.stage != PARTICIPATING:
        return "experience.not_in"
    return "experience.settling" if state.settling else _ALLOWED


def _book(state: ExperienceState, seat: Seat, now_ms: int) -> str:
    """From outside, for a slot that is held, or in exchange for the one booked before."""
    enters = _enter("appointment")(state, seat, now_ms)
    if enters != "experience.already_in":
        return enters
    return _ALLOWED if state.stage == PARTICIPATING else _leave(state, seat, now_ms)


def _cancel(state: ExperienceState, seat: Seat, now_ms: int) -> str:
    return "experience.other_mechanism" if seat.mechanism != "appointment" else _leave(state, seat, now_ms)


def _accept(state: ExperienceState, _seat: Seat, now_ms: int) -> str:
    if state.offer is None:
        return "experience.no_offer"
    return "experience.offer_over" if state.offer.over(now_ms) else _ALLOWED


_JOURNEY: Final[Mapping[str, Callable[[ExperienceState, int], str]]] = {
    "start": lambda _state, _now_ms: _ALLOWED,  # answered above: it alone is for no state
    "authenticate": lambda state, _now_ms: _prove(state, AUTHENTICATION),
    "provide_access_code": _provide,
    "skip_access_code": _skip,
    "request_reroute": _reroute,
    "retry": _retry,
    "complete_bot_check": lambda state, _now_ms: _prove(state, BOT_CHECK),
    "refresh_distribution": _refresh,
}
_SEQUENCE: Final[Mapping[str, Callable[[ExperienceState, Seat, int], str]]] = {
    "enter_waitlist": _enter_waitlist,
    "leave_waitlist": _leave_waitlist,
    **{action: _enter(mechanism) for action, mechanism in ENTER_BY.items()},
    "complete_timed_release": _complete,
    "leave_participation": _leave,
    "place_bid": _bid,
    "enter_appointment": _book,
    "cancel_appointment": _cancel,
    "accept_offer": _accept,
}
