"""How events change a lifecycle journey's state. Reads no definition: events carry what they changed."""

from collections.abc import Callable
from typing import Any

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
from orchestrator.journeys.lifecycle.events import ContextSet, Destroyed, EventNoted, Moved, Reset
from orchestrator.journeys.lifecycle.state import LifecycleState
from orchestrator.journeys.paths import assign, overlay


def evolve(state: LifecycleState | None, event: Event) -> LifecycleState | None:
    """The state after an event; None before the first and after the last."""
    if state is None:
        return _started(event) if type(event) is JourneyStarted else None
    step = _STEPS.get(type(event))
    return state if step is None else step(state, event)


def _started(event: JourneyStarted) -> LifecycleState:
    context = dict(event.context)
    name = context.pop("state")
    return LifecycleState(name, event.definition_version, event.at_ms, context, event.private)


def _moved(state: LifecycleState, event: Moved) -> LifecycleState:
    return LifecycleState(
        event.to_state,
        state.definition_version,
        event.last_event_ms,
        assign(state.context, event.set) if event.set else state.context,
        overlay(state.private, event.private) if event.private else state.private,
        state.timers,
        state.pending,
    )


def _noted(state: LifecycleState, event: EventNoted) -> LifecycleState:
    return LifecycleState(
        state.state,
        state.definition_version,
        event.last_event_ms,
        assign(state.context, event.set) if event.set else state.context,
        overlay(state.private, event.private) if event.private else state.private,
        state.timers,
        state.pending,
    )


def _context_set(state: LifecycleState, event: ContextSet) -> LifecycleState:
    return LifecycleState(
        state.state,
        state.definition_version,
        state.last_event_ms,
        assign(state.context, event.set),
        overlay(state.private, event.private),
        state.timers,
        state.pending,
    )


def _reset(state: LifecycleState, event: Reset) -> LifecycleState:
    return LifecycleState(
        event.state,
        state.definition_version,
        event.last_event_ms,
        event.context,
        event.private,
        state.timers,
        state.pending,
    )


def _destroyed(_state: LifecycleState, _event: Destroyed) -> None:
    return None


def _armed(state: LifecycleState, event: TimerArmed) -> LifecycleState:
    if event.timer.startswith(TIMER_PREFIX):
        return _effect(state, event)
    return _with_timers(state, {**state.timers, event.timer: event.due_ms - state.last_event_ms})


def _cancelled(state: LifecycleState, event: TimerCancelled) -> LifecycleState:
    if event.timer.startswith(TIMER_PREFIX):
        # Only `reset` cancels the timer of an effect that is still unanswered: it forgets the effect.
        effect = event.timer.removeprefix(TIMER_PREFIX)
        if effect not in state.pending:
            return state
        return _with_pending(state, {name: p for name, p in state.pending.items() if name != effect})
    return _with_timers(state, {name: ms for name, ms in state.timers.items() if name != event.timer})


def _effect(state: LifecycleState, event: Event) -> LifecycleState:
    pending = effects.evolve(state.pending, event)
    return state if pending is state.pending else _with_pending(state, pending)


def _with_timers(state: LifecycleState, timers: dict[str, int]) -> LifecycleState:
    return LifecycleState(
        state.state,
        state.definition_version,
        state.last_event_ms,
        state.context,
        state.private,
        timers,
        state.pending,
    )


def _with_pending(state: LifecycleState, pending: effects.PendingEffects) -> LifecycleState:
    return LifecycleState(
        state.state,
        state.definition_version,
        state.last_event_ms,
        state.context,
        state.private,
        state.timers,
        pending,
    )


_STEPS: dict[type[Event], Callable[[LifecycleState, Any], LifecycleState | None]] = {
    Moved: _moved,
    EventNoted: _noted,
    ContextSet: _context_set,
    Reset: _reset,
    Destroyed: _destroyed,
    TimerArmed: _armed,
    TimerCancelled: _cancelled,
    EffectRequested: _effect,
    EffectSucceeded: _effect,
    EffectFailed: _effect,
    EffectAttemptFailed: _effect,
}
