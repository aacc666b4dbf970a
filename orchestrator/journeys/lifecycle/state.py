"""The state of a lifecycle journey: small, immutable by convention, rebuilt from its events."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from orchestrator.journeys import effects
from orchestrator.journeys.effects import PendingEffects
from orchestrator.journeys.paths import assign


class LifecycleState(Struct, frozen=True):
    """Where a customer is. The dicts are never changed in place: states share what didn't change."""

    state: str
    definition_version: int
    last_event_ms: int
    context: dict[str, Any]
    private: Mapping[str, Any] = {}  # personal values by path
    timers: Mapping[str, int] = {}  # armed inactivity timers and their delay in ms
    pending: PendingEffects = {}


def deadline_ms(state: LifecycleState | None, timer: str) -> int | None:
    """When the timer is due: inactivity counts from the last event, so it moves without a command."""
    if state is None:
        return None
    if timer.startswith(effects.TIMER_PREFIX):
        return effects.deadline_ms(state.pending, timer)
    delay_ms = state.timers.get(timer)
    return None if delay_ms is None else state.last_event_ms + delay_ms


def variables(state: LifecycleState) -> dict[str, Any]:
    """What rules can read of a journey; personal values are back in their places."""
    values = assign(state.context, state.private) if state.private else dict(state.context)
    values["state"] = state.state
    values["lastEventAt"] = state.last_event_ms
    return values


def dump(state: LifecycleState) -> dict[str, Any]:
    """JSON form; personal values only under `private`."""
    pending, pending_private = effects.dump(state.pending)
    data: dict[str, Any] = {
        "state": state.state,
        "definition_version": state.definition_version,
        "last_event_ms": state.last_event_ms,
        "context": state.context,
    }
    if state.timers:
        data["timers"] = dict(state.timers)
    if pending:
        data["pending"] = pending
    private = {"context": dict(state.private), "pending": pending_private}
    private = {name: values for name, values in private.items() if values}
    return {**data, "private": private} if private else data


def load(data: Mapping[str, Any]) -> LifecycleState:
    """The state from its dump."""
    private = data.get("private", {})
    return LifecycleState(
        state=data["state"],
        definition_version=data["definition_version"],
        last_event_ms=data["last_event_ms"],
        context=data["context"],
        private=private.get("context", {}),
        timers=data.get("timers", {}),
        pending=effects.load(data.get("pending", {}), private.get("pending", {})),
    )


def view(state: LifecycleState) -> dict[str, Any]:
    """What others may see: the seat in the journey and the context without personal values."""
    return {
        **state.context,
        "state": state.state,
        "lastEventAt": state.last_event_ms,
        "definitionVersion": state.definition_version,
        "pendingEffects": len(state.pending),
    }
