"""How events change a bulk operation."""

from msgspec.structs import replace

from orchestrator.core.events import Event
from orchestrator.journeys import effects
from orchestrator.journeys.bulk.events import (
    BulkBegun,
    BulkEnded,
    BulkFailed,
    BulkPaused,
    BulkResumed,
    PageSent,
)
from orchestrator.journeys.bulk.state import FAILED, PAUSED, RUNNING, BulkState


def evolve(state: BulkState | None, event: Event) -> BulkState | None:
    """The state after an event; None before the operation has begun."""
    if state is None:
        if not isinstance(event, BulkBegun):
            return None
        return BulkState(event.command, event.query, event.at_ms, event.reason, event.expected)
    match event:
        case PageSent():
            return replace(state, cursor=event.cursor, told=event.told, pages=state.pages + 1)
        case BulkPaused():
            return replace(state, status=PAUSED)
        case BulkResumed():
            return replace(state, status=RUNNING, error="")
        case BulkFailed():
            return replace(state, status=FAILED, error=event.error)
        case BulkEnded():
            return replace(state, status=event.state, ended_ms=event.at_ms, pending={})
    pending = effects.evolve(state.pending, event)
    return state if pending is state.pending else replace(state, pending=pending)
