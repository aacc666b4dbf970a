"""What follows from a command to a bulk operation, or from a page of runs: pure decisions."""

from collections.abc import Sequence
from typing import Any, Final

from msgspec import ValidationError, convert, to_builtins
from msgspec.structs import replace

from orchestrator.core.addresses import RESOURCE
from orchestrator.core.decider import EffectResult, Facts, TimerFired
from orchestrator.core.errors import Rejected
from orchestrator.core.events import (
    CommandIgnored,
    EffectRequested,
    EffectSucceeded,
    Event,
    JourneyStarted,
    TimerArmed,
    TimerCancelled,
)
from orchestrator.journeys import effects
from orchestrator.journeys.bulk.commands import Begin, Cancel, Pause, Resume
from orchestrator.journeys.bulk.events import (
    BulkBegun,
    BulkEnded,
    BulkFailed,
    BulkPaused,
    BulkResumed,
    PageSent,
)
from orchestrator.journeys.bulk.model import Compiled
from orchestrator.journeys.bulk.query import Cursor, Page
from orchestrator.journeys.bulk.state import CANCELLED, DONE, PAUSED, RUNNING, BulkState
from orchestrator.journeys.effects import TIMER_PREFIX, EffectPolicy, Settled

FIND_RUNS: Final = "find_runs"
"""The effect by which a page of runs is looked for; it changes nothing, so asking again is harmless."""
_POLICIES: Final = {
    FIND_RUNS: EffectPolicy(
        attempts=60, max_ms=30_000, timeout_ms=45_000, answer_within_ms=120_000, unknown="retry"
    )
}


def decide(state: BulkState | None, command: Any, facts: Facts) -> Sequence[Event]:
    """The events of a command; raises Rejected."""
    if state is None:
        return _begin(command, facts)
    match command:
        case EffectResult():
            return _settle(state, effects.answer(state.pending, command, facts, _POLICIES), facts)
        case TimerFired():
            return _timer(state, command, facts)
        case Begin():
            raise Rejected("bulk.begun_already", state=state.status)
    if state.over:
        raise Rejected("bulk.over", state=state.status)
    match command:
        case Pause():
            if state.status == PAUSED:
                raise Rejected("bulk.not_running", state=state.status)
            return (BulkPaused(at_ms=facts.now_ms, reason=command.reason),)
        case Resume():
            if state.status == RUNNING:
                raise Rejected("bulk.not_paused", state=state.status)
            search = () if state.pending else _search(state, state.cursor, facts)
            return (BulkResumed(at_ms=facts.now_ms), *search)
        case Cancel():
            return (*_forget(state), BulkEnded(CANCELLED, state.told, facts.now_ms, command.reason))
    raise TypeError(f"{type(command).__name__} is no command of a bulk operation")


def _begin(command: Any, facts: Facts) -> Sequence[Event]:
    if isinstance(command, EffectResult | TimerFired):
        return (CommandIgnored(reason="not_begun"),)
    if not isinstance(command, Begin):
        raise Rejected("bulk.not_begun")
    if facts.stream.owner.scope != RESOURCE:
        raise Rejected("bulk.not_a_resource", owner=facts.stream.owner.text)
    if facts.backfill:
        raise Rejected("bulk.no_history")
    begun = BulkBegun(command.command, command.query, facts.now_ms, command.reason, command.expected)
    state = BulkState(command.command, command.query, facts.now_ms)
    started = JourneyStarted(definition_version=facts.definition.version, at_ms=facts.now_ms)
    return (started, begun, *_search(state, Cursor(), facts))


def _timer(state: BulkState, command: TimerFired, facts: Facts) -> Sequence[Event]:
    due_ms = effects.deadline_ms(state.pending, command.timer)
    if due_ms is not None and due_ms > max(facts.now_ms, command.due_ms):
        return (TimerArmed(timer=command.timer, due_ms=due_ms),)
    return _settle(state, effects.timer_fired(state.pending, command.timer, facts, _POLICIES), facts)


def _settle(state: BulkState, settled: Settled, facts: Facts) -> Sequence[Event]:
    """A page is sent and the next one looked for, unless somebody said stop in the meantime: then it is dropped."""
    if not settled.events:
        return (CommandIgnored(reason="effect_already_settled"),)
    if settled.effect is None:
        return settled.events
    if not settled.succeeded:
        if state.status == PAUSED:  # resuming asks again
            return settled.events
        return (*settled.events, BulkFailed(settled.error, facts.now_ms))
    try:
        page = convert(settled.result, Page)
    except ValidationError as error:
        return (*_short(settled, {}), BulkFailed("bad_answer", facts.now_ms, str(error)[:200]))
    told = _short(settled, {"runs": len(page.runs), "last": page.last})
    if state.status != RUNNING:
        return told
    return (*told, *_send(state, page, facts))


def _send(state: BulkState, page: Page, facts: Facts) -> Sequence[Event]:
    count = state.told + len(page.runs)
    sent = PageSent(state.command, page.runs, page.cursor, count, facts.now_ms, state.reason)
    if page.last:
        return (sent, BulkEnded(DONE, count, facts.now_ms))
    return (sent, *_search(state, page.cursor, facts))


def _search(state: BulkState, cursor: Cursor, facts: Facts) -> Sequence[Event]:
    compiled: Compiled = facts.definition.compiled
    policy = _POLICIES[FIND_RUNS]
    effect = EffectRequested(
        effect=effects.effect_id(facts, 0),
        action=FIND_RUNS,
        type=FIND_RUNS,
        params={
            "command": state.command,
            "query": to_builtins(state.query),
            "cursor": to_builtins(cursor),
            "limit": compiled.page,
        },
        timeout_ms=policy.timeout_ms,
    )
    return effects.request(facts, effect, pending=0, policy=policy)


def _short(settled: Settled, result: dict[str, Any]) -> Sequence[Event]:
    """The answer's events without the runs, which stand in the page that is sent."""
    return tuple(
        replace(event, result=result) if isinstance(event, EffectSucceeded) else event
        for event in settled.events
    )


def _forget(state: BulkState) -> Sequence[Event]:
    return tuple(TimerCancelled(timer=TIMER_PREFIX + effect) for effect in state.pending)
