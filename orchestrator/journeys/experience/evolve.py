"""How events change an experience journey's state. Reads no definition and no clock: events carry what they changed."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec.structs import replace

from orchestrator.core.events import (
    CommandRejected,
    EffectFailed,
    EffectRequested,
    EffectSucceeded,
    Event,
    JourneyStarted,
    TimerArmed,
    TimerCancelled,
)
from orchestrator.journeys import effects
from orchestrator.journeys.effects import TIMER_PREFIX, EffectAttemptFailed
from orchestrator.journeys.experience import events as happened
from orchestrator.journeys.experience.codes import recent
from orchestrator.journeys.experience.stages import (
    ACCESS_CODE,
    ADMISSION_EXPIRED,
    ADMITTED,
    ENDED,
    ENTERABLE,
    NONE,
)
from orchestrator.journeys.experience.state import (
    CHECKING,
    MET,
    NOTES_MAX,
    OPEN,
    SKIPPED,
    Admission,
    ExperienceState,
    Need,
    Note,
    Offer,
    Participation,
    Question,
    Seat,
)

THROTTLED: Final = "access_code.throttled"
GUESSES_KEPT_MAX: Final = 100
_WORDS_MAX: Final = 64  # distributions remembered as refused or over


def evolve(state: ExperienceState | None, event: Event) -> ExperienceState | None:
    """The state after an event; None before the first and after the last."""
    if type(event) is JourneyStarted:
        return _started(state, event)
    if state is None:
        return None
    if type(event) is happened.Forgotten:
        return _forgotten(state, event)
    step = _STEPS.get(type(event))
    if step is not None:
        state = step(state, event)
    at_ms = getattr(event, "at_ms", 0)
    note: Note | None = getattr(event, "note", None)
    return replace(
        state,
        revision=state.revision + 1,
        updated_ms=max(state.updated_ms, at_ms),
        timers=_moved(state.timers, event.timers) if event.timers else state.timers,
        notes=state.notes if note is None else _and(state.notes, note),
    )


def told(state: ExperienceState, note: Note) -> ExperienceState:
    """The state as if the last event had carried this note."""
    return replace(state, notes=_and(state.notes, note))


def _and(notes: tuple[Note, ...], note: Note) -> tuple[Note, ...]:
    return (*notes, note)[-NOTES_MAX:]


def _moved(timers: Mapping[str, int], changed: Mapping[str, int | None]) -> dict[str, int]:
    kept = {name: due_ms for name, due_ms in timers.items() if name not in changed}
    return kept | {name: due_ms for name, due_ms in changed.items() if due_ms is not None}


def _started(state: ExperienceState | None, event: JourneyStarted) -> ExperienceState:
    blank = ExperienceState(experience=event.context["experience"], version=event.definition_version)
    kept = state or blank
    return replace(
        blank,
        updated_ms=event.at_ms,
        revision=kept.revision + 1,
        guesses=kept.guesses,
        throttled=kept.throttled,
    )


def _forgotten(state: ExperienceState, event: happened.Forgotten) -> ExperienceState | None:
    """Wrong guesses stay: else forgetting would be the way around their limit."""
    if not state.guesses:
        return None
    return ExperienceState(
        experience=state.experience,
        revision=state.revision + 1,
        updated_ms=event.at_ms,
        guesses=state.guesses,
        throttled=state.throttled,
    )


def _began(state: ExperienceState, event: happened.Began) -> ExperienceState:
    return replace(
        state,
        name=event.name,
        needs=event.needs,
        revision=event.revision - 1,  # one more is counted for every event
        attributes=event.private.get("attributes", {}),
        segments=tuple(event.private.get("segments", ())),
        guess_limit=event.guess_limit,
        guess_within_ms=event.guess_within_ms,
    )


def _attributes(state: ExperienceState, event: happened.AttributesSet) -> ExperienceState:
    said = event.private
    return replace(
        state,
        attributes={**state.attributes, **said.get("attributes", {})},
        segments=tuple(said["segments"]) if "segments" in said else state.segments,
    )


def _needs_added(state: ExperienceState, event: happened.NeedsAdded) -> ExperienceState:
    new = {need.type for need in event.needs}
    return replace(
        state, seat=None, stage=NONE, needs=(*(n for n in state.needs if n.type not in new), *event.needs)
    )


def _proof_given(state: ExperienceState, event: happened.ProofGiven) -> ExperienceState:
    return _stands(replace(state, checks={**state.checks, event.effect: event.need}), event.need, CHECKING)


def _met(state: ExperienceState, event: happened.NeedMet) -> ExperienceState:
    codes = state.codes
    if event.code and event.code not in codes:
        codes = (*codes, event.code)
    return _stands(replace(state, codes=codes), event.need, MET)


def _proof_failed(state: ExperienceState, event: happened.ProofFailed) -> ExperienceState:
    return _stands(state, event.need, OPEN)


def _skipped(state: ExperienceState, event: happened.NeedSkipped) -> ExperienceState:
    return _stands(state, event.need, SKIPPED)


def _missed(state: ExperienceState, event: happened.CodeMissed) -> ExperienceState:
    counted = recent(state.guesses, event.at_ms, event.within_ms)
    return replace(state, guesses=(*counted, event.at_ms)[-GUESSES_KEPT_MAX:])


def _routed(state: ExperienceState, event: happened.Routed) -> ExperienceState:
    seat = Seat(
        event.sequence, event.name, event.distribution, event.mechanism, event.waitlist, event.opens_ms,
        event.closes_ms, event.on_expired,
    )  # fmt: skip
    question = state.question if state.question is not None and not state.question.to else None
    return replace(_bare(state), seat=seat, stage=event.stage, question=question)


def _not_routed(state: ExperienceState, _event: happened.NotRouted) -> ExperienceState:
    return replace(_bare(state), seat=None, stage=NONE)


def _asked(state: ExperienceState, event: happened.Asked) -> ExperienceState:
    if not event.due_ms:  # nobody waits for the answer
        return state
    state = replace(state, question=Question(event.to, event.action, event.due_ms, event.data))
    return state if event.to else _stands(state, ACCESS_CODE, CHECKING)


def _unanswered(state: ExperienceState, _event: happened.Unanswered) -> ExperienceState:
    question = state.question
    return state if question is None else replace(state, question=replace(question, late=True))


def _counted(state: ExperienceState, event: happened.CodeCounted) -> ExperienceState:
    state = _answered(state, "")
    return state if event.accepted else _stands(state, ACCESS_CODE, OPEN)


def _opened(state: ExperienceState, _event: happened.Opened) -> ExperienceState:
    return replace(state, stage=ENTERABLE, paused=False)


def _entered(state: ExperienceState, event: happened.Entered) -> ExperienceState:
    participation = Participation(event.participation, event.mechanism, event.distribution, event.at_ms)
    return replace(
        _answered(_bare(state), event.distribution),
        stage=event.stage,
        participation=participation,
        progress=event.progress,
    )


def _left(state: ExperienceState, event: happened.Left) -> ExperienceState:
    over = _with(state.over, event.distribution) if event.stage == ENDED else state.over
    return replace(_answered(_bare(state), event.distribution), stage=event.stage, over=over)


def _settling(state: ExperienceState, event: happened.Settling) -> ExperienceState:
    return replace(_answered(state, event.distribution), settling=True)


def _offered(state: ExperienceState, event: happened.Offered) -> ExperienceState:
    offer = Offer(event.distribution, event.expires_ms)
    return replace(_answered(state, event.distribution), offer=offer, settling=False, stage=event.stage)


def _accepted(state: ExperienceState, event: happened.OfferAccepted) -> ExperienceState:
    return replace(_answered(_bare(state), event.distribution), stage=event.stage)


def _offer_expired(state: ExperienceState, event: happened.OfferExpired) -> ExperienceState:
    return replace(_answered(_bare(state), event.distribution), stage=event.stage)


def _admitted(state: ExperienceState, event: happened.Admitted) -> ExperienceState:
    admission = Admission(event.jti, event.distribution, event.expires_ms, event.quantity)
    held = state.participation if event.distribution else None
    if held is not None and held.distribution != event.distribution:
        held = None
    return replace(
        _answered(_bare(state), event.distribution),
        stage=ADMITTED,
        admission=admission,
        participation=held,
        progress={**state.progress, **event.progress},
    )


def _redeemed(state: ExperienceState, event: happened.Redeemed) -> ExperienceState:
    admission = state.admission
    if admission is None or admission.jti != event.jti:
        return state
    return replace(state, admission=replace(admission, redeemed=True))


def _admission_expired(state: ExperienceState, _event: happened.AdmissionExpired) -> ExperienceState:
    question = None if state.question is not None and state.question.to else state.question
    return replace(_bare(state), stage=ADMISSION_EXPIRED, question=question)


def _ended(state: ExperienceState, event: happened.Ended) -> ExperienceState:
    over = _with(state.over, event.distribution) if event.distribution else state.over
    return replace(_answered(_bare(state), event.distribution), stage=ENDED, over=over)


def _refused(state: ExperienceState, event: happened.Refused) -> ExperienceState:
    held = state.participation
    entering = event.action in {"enter", "book"} and (held is None or held.distribution != event.distribution)
    refused = _with(state.refused, event.distribution) if entering else state.refused
    question = state.question
    if question is not None and question.action == event.action:
        state = _answered(state, event.distribution)
    return replace(state, refused=refused)


def _updated(state: ExperienceState, event: happened.Updated) -> ExperienceState:
    if event.answers:
        state = _answered(state, event.distribution)
    state = replace(state, progress={**state.progress, **event.progress}, paused=event.paused)
    if event.stage:
        state = replace(state, stage=event.stage)
    if event.opens_ms is not None and state.seat is not None:
        state = replace(state, seat=replace(state.seat, opens_ms=event.opens_ms))
    return state


def _resumed(state: ExperienceState, event: happened.Resumed) -> ExperienceState:
    for type in event.met:
        state = _stands(state, type, MET)
    state = replace(_bare(state), stage=event.stage)
    if event.participation:
        held = Participation(event.participation, event.type, event.distribution, event.entered_ms)
        state = replace(state, participation=held)
    if event.jti:
        state = replace(state, admission=Admission(event.jti, event.distribution, event.expires_ms))
    return state


def _noted(state: ExperienceState, event: happened.Noted) -> ExperienceState:
    note = Note(
        event.id, event.at_ms, event.kind, event.severity, event.audience, event.message, event.detail
    )
    return told(state, note)


def _seen(state: ExperienceState, event: happened.Seen) -> ExperienceState:
    return replace(state, seen=event.id)


def _rejected(state: ExperienceState, event: CommandRejected) -> ExperienceState:
    return replace(state, throttled=state.throttled + 1) if event.rule == THROTTLED else state


def _armed(state: ExperienceState, event: TimerArmed) -> ExperienceState:
    if event.timer.startswith(TIMER_PREFIX):
        return _effect(state, event)
    return replace(state, timers={**state.timers, event.timer: event.due_ms})


def _cancelled(state: ExperienceState, event: TimerCancelled) -> ExperienceState:
    return replace(state, timers={name: due for name, due in state.timers.items() if name != event.timer})


def _effect(state: ExperienceState, event: Event) -> ExperienceState:
    pending = effects.evolve(state.pending, event)
    return state if pending is state.pending else replace(state, pending=pending)


def _effect_over(state: ExperienceState, event: EffectSucceeded | EffectFailed) -> ExperienceState:
    checks = {name: need for name, need in state.checks.items() if name != event.effect}
    return replace(_effect(state, event), checks=checks)


def _stands(state: ExperienceState, type: str, status: str) -> ExperienceState:
    if state.need(type) is None:
        return replace(state, needs=(*state.needs, Need(type, required=False, status=status)))
    needs = (replace(need, status=status) if need.type == type else need for need in state.needs)
    return replace(state, needs=tuple(needs))


def _bare(state: ExperienceState) -> ExperienceState:
    """The state without what a distribution held for the customer."""
    return replace(
        state, settling=False, participation=None, admission=None, offer=None, progress={}, paused=False
    )


def _answered(state: ExperienceState, by: str) -> ExperienceState:
    question = state.question
    return replace(state, question=None) if question is not None and question.to == by else state


def _with(words: tuple[str, ...], word: str) -> tuple[str, ...]:
    return words if word in words else (*words, word)[-_WORDS_MAX:]


_STEPS: Final[dict[type[Event], Callable[[ExperienceState, Any], ExperienceState]]] = {
    happened.Began: _began,
    happened.AttributesSet: _attributes,
    happened.NeedsAdded: _needs_added,
    happened.ProofGiven: _proof_given,
    happened.NeedMet: _met,
    happened.NeedSkipped: _skipped,
    happened.ProofFailed: _proof_failed,
    happened.CodeMissed: _missed,
    happened.Routed: _routed,
    happened.NotRouted: _not_routed,
    happened.Asked: _asked,
    happened.Unanswered: _unanswered,
    happened.CodeCounted: _counted,
    happened.Opened: _opened,
    happened.Entered: _entered,
    happened.Left: _left,
    happened.Settling: _settling,
    happened.Offered: _offered,
    happened.OfferAccepted: _accepted,
    happened.OfferExpired: _offer_expired,
    happened.Admitted: _admitted,
    happened.Redeemed: _redeemed,
    happened.AdmissionExpired: _admission_expired,
    happened.Ended: _ended,
    happened.Refused: _refused,
    happened.Updated: _updated,
    happened.Resumed: _resumed,
    happened.Noted: _noted,
    happened.Seen: _seen,
    CommandRejected: _rejected,
    TimerArmed: _armed,
    TimerCancelled: _cancelled,
    EffectRequested: _effect,
    EffectAttemptFailed: _effect,
    EffectSucceeded: _effect_over,
    EffectFailed: _effect_over,
}
