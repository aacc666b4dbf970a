"""How events change a flow's state. Reads no definition and no clock: events carry what they changed."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec.structs import replace

from orchestrator.core.events import (
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
from orchestrator.journeys.flow.bounds import fits
from orchestrator.journeys.flow.doubt import in_doubt
from orchestrator.journeys.flow.events import (
    ActionSkipped,
    ActionStarted,
    BranchTaken,
    ContactAnswered,
    ContextSet,
    GoalReached,
    NodeEntered,
    Paused,
    Resumed,
    RunEnded,
    RunStarted,
    Unpaused,
    Waiting,
)
from orchestrator.journeys.flow.state import (
    ENDED_MAX,
    IN_PROGRESS,
    KEYS_MAX,
    PAUSED,
    WAITING,
    WATCHED_MAX,
    FlowState,
    LastRun,
    Run,
    Wait,
    changed,
)
from orchestrator.journeys.paths import assign, overlay

RESULT_CHARS_MAX: Final = 4_096  # of an action's result that a run keeps


def timer_of(run: str, node: str, visit: int) -> str:
    """The name of the timer of a run's wait at a node."""
    return f"run:{run}:{node}:{visit}"


def evolve(state: FlowState | None, event: Event) -> FlowState | None:
    """The state after an event; None before the first run."""
    if state is None:
        return FlowState(version=event.definition_version) if isinstance(event, JourneyStarted) else None
    step = _STEPS.get(type(event))
    if step is not None:
        state = step(state, event)
    return changed(state, version=0) if event.unpins else state


def _pinned(state: FlowState, event: JourneyStarted) -> FlowState:
    return changed(state, version=event.definition_version)


def _started(state: FlowState, event: RunStarted) -> FlowState:
    run = Run(
        id=event.run,
        node=event.node,
        started_ms=event.at_ms,
        version=event.definition_version,
        trigger=event.trigger,
        key=event.key,
        context=event.context,
        private=event.private.get("context", {}),
        entry=event.private.get("entry", {}),
        goals=event.goals,
    )
    keys = (*state.keys, event.key_mark)[-KEYS_MAX:] if event.key_mark else state.keys
    return replace(
        state,
        runs={**state.runs, run.id: run},
        watched=_still_watched(state.watched, event.at_ms),
        entered=state.entered + 1,
        last_entry_ms=max(state.last_entry_ms, event.at_ms),
        keys=keys,
    )


def _entered(state: FlowState, event: NodeEntered) -> FlowState:
    run = state.runs[event.run]
    visits = {**run.visits, event.node: event.visit}
    return _with(state, replace(run, node=event.node, visits=visits, state=IN_PROGRESS, hold_until_ms=None))


def _branched(state: FlowState, event: BranchTaken) -> FlowState:
    if event.bucket < 0:
        return state
    run = state.runs[event.run]
    return _with(state, replace(run, splits={**run.splits, event.node: event.branch}))


def _waiting(state: FlowState, event: Waiting) -> FlowState:
    run = state.runs[event.run]
    timer = timer_of(event.run, event.node, event.visit)
    wait = Wait(event.reason, timer, event.due_ms, event.timeout_ms, event.type, reference=event.reference)
    hold_until_ms = run.hold_until_ms if event.hold_until_ms is None else event.hold_until_ms
    return _with(state, replace(run, state=WAITING, wait=wait, hold_until_ms=hold_until_ms))


def _resumed(state: FlowState, event: Resumed) -> FlowState:
    run = state.runs[event.run]
    heard = event.private.get("event", run.event)
    return _with(state, replace(run, state=IN_PROGRESS, wait=None, event=heard))


def _answered(state: FlowState, event: ContactAnswered) -> FlowState:
    run = state.runs[event.run]
    return state if run.wait is None else _with(state, replace(run, wait=replace(run.wait, answered=True)))


def _asked(state: FlowState, event: ActionStarted) -> FlowState:
    owners = {**state.owners, event.effect: (event.run, event.node)}
    contacts = state.contacts
    if event.contact:
        contacts = {**contacts, event.effect: (event.record, event.contact)}
    if not event.awaited:
        return changed(state, owners=owners, contacts=contacts)
    run = replace(state.runs[event.run], effect=event.effect)
    return changed(state, owners=owners, contacts=contacts, runs={**state.runs, run.id: run})


def _skipped(state: FlowState, event: ActionSkipped) -> FlowState:
    return _result(state, event.run, event.node, {"success": False, "error": event.reason})


def _context_set(state: FlowState, event: ContextSet) -> FlowState:
    run = state.runs[event.run]
    context = assign(run.context, event.set) if event.set else run.context
    private = overlay(run.private, event.private) if event.private else run.private
    return _with(state, replace(run, context=context, private=private))


def _goal(state: FlowState, event: GoalReached) -> FlowState:
    run = state.runs.get(event.run) or state.watched[event.run]
    goals = {goal: until for goal, until in run.goals.items() if goal != event.goal}
    run = replace(run, goals=goals, reached=(*run.reached, event.goal))
    if run.id in state.runs:
        return _with(state, run)
    return changed(state, watched=_still_watched({**state.watched, run.id: run}, event.at_ms))


def _paused(state: FlowState, event: Paused) -> FlowState:
    run = state.runs[event.run]
    wait = run.wait
    if wait is not None:
        wait = replace(
            wait,
            due_ms=None,
            timeout_ms=None,
            due_left_ms=event.due_left_ms,
            timeout_left_ms=event.timeout_left_ms,
        )
    return _with(state, replace(run, state=PAUSED, paused=True, wait=wait))


def _unpaused(state: FlowState, event: Unpaused) -> FlowState:
    run = state.runs[event.run]
    wait = run.wait
    if wait is not None:
        wait = replace(
            wait,
            due_ms=event.due_ms,
            timeout_ms=event.timeout_ms,
            due_left_ms=None,
            timeout_left_ms=None,
        )
    going = IN_PROGRESS if wait is None else WAITING
    return _with(state, replace(run, state=going, paused=False, wait=wait))


def _ended(state: FlowState, event: RunEnded) -> FlowState:
    run = state.runs[event.run]
    runs = {id: one for id, one in state.runs.items() if id != run.id}
    over = replace(run, node=event.node, state=event.state, wait=None, effect="", paused=False)
    watched = _still_watched({**state.watched, run.id: over}, event.at_ms)
    last = LastRun(run.id, event.node, event.state, event.reason, event.at_ms)
    ended = (*state.ended, run.id)[-ENDED_MAX:]
    return replace(state, runs=runs, watched=watched, ended=ended, last=last)


def _armed(state: FlowState, event: TimerArmed) -> FlowState:
    # A run's own timers follow from its Waiting and Unpaused; only those of effects are told by their arming.
    return _pending(state, event) if event.timer.startswith(TIMER_PREFIX) else state


def _cancelled(state: FlowState, event: TimerCancelled) -> FlowState:
    effect = event.timer.removeprefix(TIMER_PREFIX)
    if effect == event.timer or effect not in state.pending:
        return state
    # Only a run's end cancels the timer of an effect that is still unanswered: it forgets the effect.
    pending = {name: one for name, one in state.pending.items() if name != effect}
    return _forgotten(changed(state, pending=pending), effect)


def _requested(state: FlowState, event: EffectRequested) -> FlowState:
    if not event.suppressed:
        return _pending(state, event)
    return _settled(state, event.effect, {"success": True, "result": {}, "suppressed": True}, event)


def _succeeded(state: FlowState, event: EffectSucceeded) -> FlowState:
    result = event.result if fits(event.result, RESULT_CHARS_MAX) else {"dropped": "too large"}
    return _settled(state, event.effect, {"success": True, "result": result}, event)


def _failed(state: FlowState, event: EffectFailed) -> FlowState:
    result: dict[str, Any] = {"success": False, "error": event.error}
    return _settled(state, event.effect, result | ({"unknown": True} if event.unknown else {}), event)


def _settled(state: FlowState, effect: str, result: dict[str, Any], event: Event) -> FlowState:
    state = _pending(state, event)
    owner = state.owners.get(effect)
    if owner is None:
        return state
    state = _forgotten(state, effect)
    run = state.runs.get(owner[0])
    if run is None:
        return state
    state = _result(state, run.id, owner[1], result)
    return _with(state, replace(state.runs[run.id], effect="")) if run.effect == effect else state


def _forgotten(state: FlowState, effect: str) -> FlowState:
    """Nothing will be said of the effect any more."""
    return changed(state, owners=_without(state.owners, effect), contacts=_without(state.contacts, effect))


def _attempt_failed(state: FlowState, event: EffectAttemptFailed) -> FlowState:
    state = _pending(state, event)
    if not in_doubt(event) or event.effect not in state.contacts:
        return state
    # Whatever the next attempts say: this one may have reached the customer, so its contact counts.
    return changed(state, contacts=_without(state.contacts, event.effect))


def _result(state: FlowState, run_id: str, node: str, result: dict[str, Any]) -> FlowState:
    run = state.runs[run_id]
    return _with(state, replace(run, results={**run.results, node: result}))


def _pending(state: FlowState, event: Event) -> FlowState:
    pending = effects.evolve(state.pending, event)
    return state if pending is state.pending else changed(state, pending=pending)


def _with(state: FlowState, run: Run) -> FlowState:
    return changed(state, runs={**state.runs, run.id: run})


def _without(values: Mapping[str, tuple[str, str]], effect: str) -> Mapping[str, tuple[str, str]]:
    if effect not in values:
        return values
    return {name: value for name, value in values.items() if name != effect}


def _still_watched(watched: Mapping[str, Run], at_ms: int) -> dict[str, Run]:
    """Ended runs with a goal whose window is open, the newest of them."""
    kept = [(id, run) for id, run in watched.items() if any(until > at_ms for until in run.goals.values())]
    return dict(kept[-WATCHED_MAX:])


_STEPS: dict[type[Event], Callable[[FlowState, Any], FlowState]] = {
    JourneyStarted: _pinned,
    RunStarted: _started,
    NodeEntered: _entered,
    BranchTaken: _branched,
    Waiting: _waiting,
    Resumed: _resumed,
    ActionStarted: _asked,
    ContactAnswered: _answered,
    ActionSkipped: _skipped,
    ContextSet: _context_set,
    GoalReached: _goal,
    Paused: _paused,
    Unpaused: _unpaused,
    RunEnded: _ended,
    TimerArmed: _armed,
    TimerCancelled: _cancelled,
    EffectRequested: _requested,
    EffectSucceeded: _succeeded,
    EffectFailed: _failed,
    EffectAttemptFailed: _attempt_failed,
}
