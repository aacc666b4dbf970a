"""What happens to a bulk operation, beside the events every kind shares."""

from collections.abc import Sequence
from typing import Any, ClassVar

from orchestrator.core.events import Event, Told
from orchestrator.journeys.bulk.query import Cursor, Query


class BulkBegun(Event, frozen=True):
    """What is to be done to which runs, and why; nothing was sent yet."""

    NAME: ClassVar[str] = "bulk.begun.v1"
    command: str
    query: Query
    at_ms: int
    reason: str = ""
    expected: int = 0


class PageSent(Event, frozen=True):
    """The command for each run of a page; the log itself sends them, each decided once. `told` counts all so far."""

    NAME: ClassVar[str] = "bulk.page_sent.v1"
    TELLS: ClassVar[bool] = True
    command: str
    runs: tuple[tuple[str, str], ...]  # stream and run
    cursor: Cursor  # after this page
    told: int
    at_ms: int
    reason: str = ""

    def tells(self) -> Sequence[Told]:
        """One command a run; a resumed run takes no reason."""
        why: dict[str, Any] = {"reason": self.reason} if self.reason and self.command != "resume" else {}
        return tuple(Told(stream, self.command, {"run": run, **why}) for stream, run in self.runs)


class BulkPaused(Event, frozen=True):
    """Nothing more is sent until it is resumed."""

    NAME: ClassVar[str] = "bulk.paused.v1"
    at_ms: int
    reason: str = ""


class BulkResumed(Event, frozen=True):
    """It goes on where it stood."""

    NAME: ClassVar[str] = "bulk.resumed.v1"
    at_ms: int


class BulkFailed(Event, frozen=True):
    """The search for runs failed for good, by a stable word; `resume` tries it again."""

    NAME: ClassVar[str] = "bulk.failed.v1"
    error: str
    at_ms: int
    detail: str = ""


class BulkEnded(Event, frozen=True):
    """DONE: every run found was sent its command. CANCELLED: an operator ended it before."""

    NAME: ClassVar[str] = "bulk.ended.v1"
    state: str
    told: int
    at_ms: int
    reason: str = ""


EVENTS: tuple[type[Event], ...] = (BulkBegun, PageSent, BulkPaused, BulkResumed, BulkFailed, BulkEnded)
