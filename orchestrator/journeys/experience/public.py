"""JourneyView: what any page may show. It tells what can be done next, and nothing of why.

Two total tables lead from the stages to the words of the view; whatever isn't in them isn't shown.
"""

from collections.abc import Mapping
from typing import Any, Final

from orchestrator.journeys.experience import stages as words
from orchestrator.journeys.experience.actions import available
from orchestrator.journeys.experience.state import ExperienceState, Seat, journey_stage, stage_at

READY, ROUTING, GATED, ROUTED = "ready", "routing", "gated", "routed"
VIEW_STAGES: Final = (READY, ROUTING, GATED, ROUTED)
STAGES: Final[Mapping[tuple[str, bool], str]] = {
    (words.NOT_STARTED, False): READY,
    (words.NOT_STARTED, True): READY,
    (words.ENTERING, False): ROUTING,
    (words.ENTERING, True): GATED,
    (words.NEEDS_AUTH, False): GATED,
    (words.NEEDS_AUTH, True): GATED,
    (words.NEEDS_ACCESS_CODE, False): GATED,
    (words.NEEDS_ACCESS_CODE, True): GATED,
    (words.ROUTING, False): ROUTING,
    (words.ROUTING, True): GATED,
    (words.ROUTED, False): ROUTED,
    (words.ROUTED, True): ROUTED,
}
"""By the journey's stage, and whether a requirement blocks it."""

SCHEDULED, ENTERABLE, PARTICIPATING, SETTLING = "scheduled", "enterable", "participating", "settling"
GRANTED, ENDED, UNAVAILABLE = "granted", "ended", "unavailable"
VIEW_PHASES: Final = (SCHEDULED, ENTERABLE, PARTICIPATING, SETTLING, GRANTED, ENDED, UNAVAILABLE)

PLAIN, SETTLES, PAUSED, OFFERED, OVER, USED, REENTRY = (
    "plain", "settles", "paused", "offered", "over", "used", "reentry",
)  # fmt: skip
CONDITIONS: Final = (PLAIN, SETTLES, PAUSED, OFFERED, OVER, USED, REENTRY)
"""What else a phase depends on: at most one of them holds."""


def _row(plain: str, **others: str) -> dict[str, str]:
    return {condition: others.get(condition, plain) for condition in CONDITIONS}


PHASES: Final[Mapping[str, Mapping[str, str]]] = {
    words.NONE: _row(UNAVAILABLE),
    words.UPCOMING: _row(SCHEDULED),
    words.WAITLIST_ENTERED: _row(PARTICIPATING, offered=ENTERABLE),
    words.ENTERABLE: _row(ENTERABLE, paused=UNAVAILABLE),
    words.PARTICIPATING: _row(PARTICIPATING, settles=SETTLING, offered=ENTERABLE),
    words.ADMITTED: _row(GRANTED, over=UNAVAILABLE),
    words.ADMISSION_EXPIRED: _row(ENDED, reentry=ENTERABLE),
    words.ENDED: _row(ENDED),
}
"""By the sequence's stage and its condition."""


def public_view(
    state: ExperienceState | None, *, now_ms: int | None = None, token: str = ""
) -> dict[str, Any]:
    """The view at a lane time (ms; the last change's when unsaid). `token` is the signed grant, if the reader has a key."""
    at_ms = now_ms if now_ms is not None else 0 if state is None else state.updated_ms
    blocking = [] if state is None else [need for need in state.needs if need.blocks]
    stage = STAGES[journey_stage(state), bool(blocking)]
    actions = available(state, at_ms)
    shown: dict[str, Any] = {"stage": stage, "actions": [*actions["journey"], *actions["sequence"]]}
    if state is None:
        return shown
    if stage == GATED:
        shown["gates"] = [{"type": need.type, "required": need.required} for need in blocking]
    if stage == ROUTED and state.seat is not None:
        shown["sequence"] = _sequence(state, state.seat, at_ms, token)
    return shown


def condition(state: ExperienceState, now_ms: int) -> str:
    """Which of the CONDITIONS holds at a lane time."""
    admission, offer = state.admission, state.offer
    if admission is not None and admission.redeemed:
        return USED
    if admission is not None and admission.over(now_ms):
        return OVER
    if offer is not None and not offer.over(now_ms):
        return OFFERED
    if state.settling:
        return SETTLES
    if state.paused:
        return PAUSED
    reenters = state.seat is not None and state.seat.on_expired == "reenter"
    return REENTRY if reenters and state.stage == words.ADMISSION_EXPIRED else PLAIN


def _sequence(state: ExperienceState, seat: Seat, now_ms: int, token: str) -> dict[str, Any]:
    stage = stage_at(state, now_ms)
    phase = PHASES[stage][condition(state, now_ms)]
    mechanism = words.WAITLIST if stage == words.WAITLIST_ENTERED else seat.mechanism
    shown: dict[str, Any] = {"phase": phase, "mechanism": mechanism}
    if seat.opens_ms is not None:
        shown["opensAt"] = seat.opens_ms
    if seat.closes_ms is not None:
        shown["closesAt"] = seat.closes_ms
    progress = {name: value for name, value in state.progress.items() if not isinstance(value, dict)}
    if progress:
        shown["progress"] = progress
    if state.offer is not None and phase == ENTERABLE and state.offer.expires_ms:
        shown["offer"] = {"expiresAt": state.offer.expires_ms}
    admission = state.admission
    if phase == GRANTED and admission is not None:
        grant: dict[str, Any] = {"quantity": admission.quantity, "used": admission.redeemed}
        if admission.expires_ms:
            grant["expiresAt"] = admission.expires_ms
        if token and not admission.redeemed:
            grant["token"] = token
        shown["grant"] = grant
    return shown
