"""The state of a bulk operation: what it is for, how far it has come, and the search it waits for."""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct, convert, to_builtins

from orchestrator.journeys import effects
from orchestrator.journeys.bulk.query import Cursor, Query
from orchestrator.journeys.effects import PendingEffects

RUNNING: Final = "RUNNING"
PAUSED: Final = "PAUSED"
FAILED: Final = "FAILED"
DONE: Final = "DONE"
CANCELLED: Final = "CANCELLED"


class BulkState(Struct, frozen=True, omit_defaults=True):
    """One operation. Times are ms since 1970; `told` counts the commands sent."""

    command: str
    query: Query
    begun_ms: int
    reason: str = ""
    expected: int = 0
    status: str = RUNNING
    told: int = 0
    pages: int = 0
    cursor: Cursor = Cursor()
    error: str = ""
    ended_ms: int = 0
    pending: PendingEffects = {}

    @property
    def over(self) -> bool:
        """Whether nothing will happen any more."""
        return self.status in {DONE, CANCELLED}


def label(state: BulkState | None) -> str:
    """RUNNING, PAUSED, FAILED, DONE or CANCELLED."""
    return "" if state is None else state.status


def deadline_ms(state: BulkState | None, timer: str) -> int | None:
    """When the search is asked again, or counts as unanswered."""
    return None if state is None else effects.deadline_ms(state.pending, timer)


def dump(state: BulkState) -> dict[str, Any]:
    """JSON form; nothing of it is personal."""
    data: dict[str, Any] = to_builtins(state)
    data.pop("pending", None)
    pending, _ = effects.dump(state.pending)
    return {**data, "pending": pending} if pending else data


def load(data: Mapping[str, Any]) -> BulkState:
    """The state from its dump."""
    return convert({**data, "pending": effects.load(data.get("pending", {}), {})}, BulkState)


def view(state: BulkState) -> dict[str, Any]:
    """What others may see."""
    return {
        "state": state.status,
        "command": state.command,
        "query": to_builtins(state.query),
        "reason": state.reason,
        "expected": state.expected,
        "told": state.told,
        "pages": state.pages,
        "error": state.error,
        "begunAt": state.begun_ms,
        "endedAt": state.ended_ms or None,
    }
