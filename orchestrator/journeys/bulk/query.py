"""Which runs an operation is for, and the pages in which they are found."""

from typing import Final

from msgspec import Struct

COMMANDS: Final = ("pause", "resume", "cancel")
STATES: Final = ("IN_PROGRESS", "WAITING", "PAUSED")


class Query(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Active runs of one flow; every field that is set narrows it. Times are ms since 1970, compared with the start."""

    definition: str
    customer: str = ""
    run: str = ""
    state: str = ""  # one of STATES
    node: str = ""
    version: int = 0  # of the definition, that the run keeps to
    started_after_ms: int = 0
    started_before_ms: int = 0


class ActiveRun(Struct, frozen=True):
    """What a journey's saved row says of a run."""

    id: str
    node: str
    started_ms: int
    version: int
    state: str = "IN_PROGRESS"
    paused: bool = False


class Cursor(Struct, frozen=True, omit_defaults=True):
    """How far the search has come: everything of lower lanes, and of this lane up to a stream's id."""

    lane: int = 0
    after: str = ""  # UUID; "" at the beginning of the lane


class Page(Struct, frozen=True, forbid_unknown_fields=True):
    """One answer of the search: stream and run of each hit, and where the next page begins."""

    runs: tuple[tuple[str, str], ...]
    cursor: Cursor
    last: bool


def fits(query: Query, command: str, run: ActiveRun) -> bool:
    """Whether the operation is for this run: the query finds it, and the command can be done with it."""
    if (command == "resume" and not run.paused) or (command == "pause" and run.paused):
        return False
    return (
        (not query.run or run.id == query.run)
        and (not query.state or run.state == query.state)
        and (not query.node or run.node == query.node)
        and (not query.version or run.version == query.version)
        and (not query.started_after_ms or run.started_ms >= query.started_after_ms)
        and (not query.started_before_ms or run.started_ms < query.started_before_ms)
    )
