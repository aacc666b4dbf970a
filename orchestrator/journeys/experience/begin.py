"""The beginning of a journey, its rebuilding from what a server knows, and its end."""

from typing import Final

from orchestrator.core.errors import Rejected
from orchestrator.core.events import CommandIgnored, JourneyStarted
from orchestrator.journeys.effects import TIMER_PREFIX
from orchestrator.journeys.experience.commands import Acknowledge, SetAttributes, Start
from orchestrator.journeys.experience.events import AttributesSet, Began, Forgotten, Resumed, Routed, Seen
from orchestrator.journeys.experience.model import Sequence
from orchestrator.journeys.experience.needs import code_at_start, refuse_throttled
from orchestrator.journeys.experience.routing import go_on
from orchestrator.journeys.experience.server_data import Known
from orchestrator.journeys.experience.stages import (
    ADMISSION_EXPIRED,
    ADMITTED,
    ENDED,
    ENTERABLE,
    PARTICIPATING,
    UPCOMING,
    WAITLIST,
    WAITLIST_ENTERED,
)
from orchestrator.journeys.experience.state import CODES, Need
from orchestrator.journeys.experience.turn import Turn

_FREES_NOTHING: Final = frozenset({"refresh", "leave", "cancel", "complete"})


def start(turn: Turn, command: Start) -> None:
    """Begin, or begin again. Raises Rejected."""
    if command.attributes is not None or command.segments is not None:
        turn.trust("start")
    if turn.stage == "not_started" or not command.reset:
        turn.allow("start")
    closes_ms = turn.compiled.closes_ms
    if closes_ms is not None and closes_ms <= turn.now_ms:
        raise Rejected("experience.closed", closed_ms=closes_ms)
    if command.access_code:
        if not turn.compiled.codes.by_hash:
            raise Rejected("experience.not_required", action="provide_access_code")
        refuse_throttled(turn)
    if turn.stage != "not_started":
        forget(turn)
    begin(turn, SetAttributes(command.attributes, command.segments))
    if command.access_code:
        code_at_start(turn, command.access_code)
    go_on(turn)


def begin(turn: Turn, known: SetAttributes) -> None:
    """The first events of a journey."""
    compiled, codes = turn.compiled, turn.compiled.codes
    turn.add(
        JourneyStarted(
            definition_version=turn.facts.definition.version,
            at_ms=turn.now_ms,
            context={"experience": turn.facts.stream.definition},
        ),
        Began(
            at_ms=turn.now_ms,
            revision=turn.facts.version + len(turn.events) + 2,
            name=compiled.name,
            needs=tuple(
                Need(g.type, g.required, reason=g.reason, metadata=g.metadata) for g in compiled.gates
            ),
            guess_limit=codes.guesses if codes.by_hash else 0,
            guess_within_ms=codes.within_ms,
            private=_private(known),
        ),
    )


def set_attributes(turn: Turn, command: SetAttributes) -> None:
    """What a trusted producer knows of the customer; read by the next routing. Raises Rejected."""
    turn.trust("set_attributes")
    _started(turn)
    turn.add(AttributesSet(turn.now_ms, _private(command)))


def acknowledge(turn: Turn, command: Acknowledge) -> None:
    """Remember what the customer has seen. Raises Rejected for an event that isn't there."""
    _started(turn)
    state = turn.state
    ids = [note.id for note in state.notes]
    if command.id and command.id not in ids:
        raise Rejected("experience.unknown_event", kept=len(ids))
    id = command.id or (ids[-1] if ids else "")
    if not id or (state.seen and int(id) <= int(state.seen)):
        turn.add(CommandIgnored(reason="already_seen"))
    else:
        turn.add(Seen(turn.now_ms, id))


def destroy(turn: Turn) -> None:
    """Forget the journey; what a distribution holds for it is given back."""
    _started(turn)
    forget(turn)


def forget(turn: Turn) -> None:
    """Leave what the journey is in, cancel its timers, and forget it."""
    state = turn.state
    held = set()
    if state.participation is not None:
        held.add(state.participation.distribution)
    if state.admission is not None and state.admission.distribution and not state.admission.redeemed:
        held.add(state.admission.distribution)
    if state.offer is not None:
        held.add(state.offer.distribution)
    question = state.question
    if question is not None and question.to != CODES and question.action not in _FREES_NOTHING:
        held.add(question.to)  # its answer may be on the way
    if not turn.history:
        for distribution in sorted(held):
            turn.ask(distribution, "leave", wait=False)
    timers = (*state.timers, *(TIMER_PREFIX + effect for effect in state.pending))
    turn.add(Forgotten(at_ms=turn.now_ms, timers=dict.fromkeys(timers)))


def resume(turn: Turn, known: Known) -> None:
    """Rebuild the journey from a trusted producer's data, then ask the distribution how things stand. Raises Rejected."""
    turn.trust("resume")
    if not known.sequence or turn.state.engaged or turn.state.question is not None:
        reason = "already_under_way" if known.sequence else "nothing_to_resume"
        turn.add(CommandIgnored(reason=reason))
        return
    sequence = next((one for one in turn.compiled.sequences if one.id == known.sequence), None)
    if sequence is None:
        raise Rejected("experience.unknown_sequence", sequence=known.sequence)
    if known.type == WAITLIST and known.waitlist != sequence.waitlist:
        raise Rejected("experience.unknown_waitlist", waitlist=known.waitlist)
    if known.type not in {"", WAITLIST, sequence.mechanism}:
        raise Rejected("experience.other_mechanism", mechanism=known.type)
    if turn.stage == "not_started":
        begin(turn, SetAttributes())
    _resumed(turn, known, sequence)
    turn.note("info", "success", "Welcome back.", audience="system")
    if known.type and not turn.history:
        turn.ask(sequence.waitlist if known.type == WAITLIST else sequence.distribution, "refresh")


def _resumed(turn: Turn, known: Known, sequence: Sequence) -> None:
    turn.add(
        Routed(
            at_ms=turn.now_ms,
            definition_version=turn.facts.definition.version,
            sequence=sequence.id,
            name=sequence.name,
            rule="resumed",
            distribution=sequence.distribution,
            mechanism=sequence.mechanism,
            stage=outside(turn, sequence.opens_ms, sequence.closes_ms),
            waitlist=sequence.waitlist,
            opens_ms=sequence.opens_ms,
            closes_ms=sequence.closes_ms,
            on_expired=sequence.on_expired,
        )
    )
    stage, jti = turn.state.stage, known.jti
    if known.type:
        stage = WAITLIST_ENTERED if known.type == WAITLIST else PARTICIPATING
    if jti and known.expires_ms and known.expires_ms <= turn.now_ms:
        stage, jti = ADMISSION_EXPIRED, ""
    elif jti:
        stage = ADMITTED
    distribution = sequence.waitlist if known.type == WAITLIST else sequence.distribution
    turn.add(
        Resumed(
            at_ms=turn.now_ms,
            by=turn.facts.source,
            stage=stage,
            met=known.met,
            participation="" if stage == ADMISSION_EXPIRED else known.participation,
            type=known.type,
            distribution=distribution if known.type else "",
            entered_ms=known.entered_ms,
            jti=jti,
            expires_ms=known.expires_ms if jti else 0,
        )
    )


def outside(turn: Turn, opens_ms: int | None, closes_ms: int | None) -> str:
    """Where somebody stands who is in nothing: before, within or after the sequence's window."""
    if closes_ms is not None and closes_ms <= turn.now_ms:
        return ENDED
    return UPCOMING if opens_ms is not None and opens_ms > turn.now_ms else ENTERABLE


def _started(turn: Turn) -> None:
    if turn.stage == "not_started":
        raise Rejected("experience.not_started")


def _private(known: SetAttributes) -> dict[str, object]:
    private: dict[str, object] = {}
    if known.attributes is not None:
        private["attributes"] = dict(known.attributes)
    if known.segments is not None:
        private["segments"] = list(known.segments)
    return private
