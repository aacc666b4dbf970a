"""JourneySnapshot: the whole state as the customer's own page and server read it, without secrets.

The admittance token is no part of the state: whoever reads with a signing key passes it in. Times are ms, UTC.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, to_builtins

from orchestrator.journeys.experience.actions import available
from orchestrator.journeys.experience.stages import ADMITTED, WAITLIST
from orchestrator.journeys.experience.state import ExperienceState, Need, Seat, journey_stage, stage_at


class GrantFacts(Struct, frozen=True):
    """What a token for this journey has to say, beside issuer, audience and subject. `expires_ms` 0: without an end."""

    jti: str
    experience: str
    sequence: str
    distribution: str
    mechanism: str
    expires_ms: int
    quantity: int


def snapshot(
    state: ExperienceState | None, *, experience: str = "", now_ms: int | None = None, token: str = ""
) -> dict[str, Any]:
    """The snapshot at a lane time (ms; the last change's when unsaid). `experience` names it before the start."""
    if state is None:
        state = ExperienceState(experience=experience)
    at_ms = state.updated_ms if now_ms is None else now_ms
    shown: dict[str, Any] = {
        "revision": state.revision,
        "updatedAt": state.updated_ms,
        "journeyStage": journey_stage(state),
        "sequenceStage": stage_at(state, at_ms),
        "requirements": [_requirement(need) for need in state.needs],
        "availableActions": available(state, at_ms),
        "context": _context(state, at_ms, token),
        "events": [to_builtins(note) | {"detail": note.detail} for note in state.notes],
    }
    if state.seen:
        shown["lastSeenEventId"] = state.seen
    return shown


def grant_facts(state: ExperienceState | None, now_ms: int) -> GrantFacts | None:
    """What there is to sign at a lane time; None without a grant that can still be used.

    A trusted producer proves its own admissions: no distribution of ours could say whether they are used.
    """
    if state is None or state.stage != ADMITTED or state.admission is None or state.seat is None:
        return None
    admission, seat = state.admission, state.seat
    if admission.redeemed or admission.over(now_ms) or not admission.distribution:
        return None
    return GrantFacts(
        jti=admission.jti,
        experience=state.experience,
        sequence=seat.sequence,
        distribution=admission.distribution,
        mechanism=seat.mechanism if admission.distribution == seat.distribution else WAITLIST,
        expires_ms=admission.expires_ms,
        quantity=admission.quantity,
    )


def _requirement(need: Need) -> dict[str, Any]:
    shown: dict[str, Any] = {"type": need.type, "required": need.required, "status": need.status}
    if need.reason:
        shown["reason"] = need.reason
    if need.metadata:
        shown["metadata"] = need.metadata
    return shown


def _context(state: ExperienceState, now_ms: int, token: str) -> dict[str, Any]:
    context: dict[str, Any] = {"experienceId": state.experience}
    if state.name:
        context["experience"] = {"id": state.experience, "name": state.name}
    if state.codes:
        context["accessCode"] = state.codes[-1]  # its id
    seat, held = state.seat, state.participation
    if seat is None:
        return context
    context["sequenceId"] = seat.sequence
    context["distribution"] = _distribution(seat, state.progress)
    if held is not None:
        context["participation"] = {"id": held.id, "type": held.type, "enteredAt": held.at_ms}
    if state.offer is not None and not state.offer.over(now_ms):
        context["offer"] = {"expiresAt": state.offer.expires_ms or None}
    if state.question is not None:
        context["waitingFor"] = {"action": state.question.action, "late": state.question.late}
    admission = state.admission
    if admission is not None and not admission.over(now_ms):
        if admission.expires_ms:
            context["admittanceExpiresAt"] = admission.expires_ms
        context["admittance"] = {"quantity": admission.quantity, "redeemed": admission.redeemed}
        if token and not admission.redeemed:
            context["admittanceToken"] = token
    return context


def _distribution(seat: Seat, progress: Mapping[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": seat.distribution, "type": seat.mechanism}
    if seat.opens_ms is not None:
        shown["opensAt"] = seat.opens_ms
    if seat.closes_ms is not None:
        shown["closesAt"] = seat.closes_ms
    return shown | ({"progress": dict(progress)} if progress else {})
