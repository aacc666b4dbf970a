"""What a replay tells: how far it is, what it counted, and every difference with its place and its cure."""

from collections.abc import Mapping

from msgspec import Struct

DIFFERENCES_MAX = 100
"""So many are told in full; the rest are counted."""

_REBUILD = (
    "the log is right, the read model isn't: `orchestrator lanes pause {lane}`, then"
    " `orchestrator replay --rebuild --lane {lane}`, then `orchestrator lanes resume {lane}`"
)
_RESTORE = (
    "the log itself is damaged: stop the workers and restore {schema} from a backup; rebuild nothing from it"
)
_CURES: Mapping[str, str] = {
    "log": _RESTORE,
    "log.unknown": "upgrade: a newer release wrote this",
    "position": "stop the workers, then set {schema}.positions back to where the log ends, or restore {schema} from a backup",
    "position.note": "stop the workers and restore {schema}.positions from a backup: what stands beside the position is wrong",
}
_UNDERMINING = ("position.log", "position.note")
"""With these, beside all of `log.`, nothing is built upon the log."""


class ReplayProgress(Struct, frozen=True):
    """How far a replay is. Totals are those at its start."""

    lane: int
    lanes_done: int
    lanes_total: int
    events: int
    events_total: int
    streams: int
    differences: int

    @property
    def note(self) -> str:
        """For beside a bar."""
        found = f", {self.differences} differences" if self.differences else ""
        return f"lane {self.lane} ({self.lanes_done}/{self.lanes_total} done){found}"


class Difference(Struct, frozen=True):
    """One thing that isn't what the log says. `code` is stable; no personal data, no values of states."""

    lane: int
    code: str
    place: str
    found: str
    cure: str


class Report(Struct, frozen=True):
    """The end of a replay."""

    ok: bool
    mode: str  # fold, verify or rebuild
    lanes: list[int]
    streams: int
    events: int
    timers: int  # armed by the log
    dead_letters: int
    journeys_compared: int
    journeys_outdated: int  # rows of another fold version: ignored by workers, so not compared
    rows_written: int
    elapsed_s: float
    events_per_s: int
    differences_found: int
    differences: list[Difference]  # the first DIFFERENCES_MAX


class Findings:
    """Differences as they are found, bounded in memory; and what was counted."""

    def __init__(self) -> None:
        self.found = 0
        self.in_log = 0
        self.kept: list[Difference] = []
        self.streams = 0
        self.events = 0
        self.timers = 0
        self.dead_letters = 0
        self.journeys_compared = 0
        self.journeys_outdated = 0
        self.rows_written = 0

    def add(self, lane: int, code: str, place: str, found: str) -> None:
        """Note a difference; `code` begins with what is wrong: log, position, or a read model."""
        self.found += 1
        self.in_log += code.startswith("log.") or code in _UNDERMINING
        if len(self.kept) < DIFFERENCES_MAX:
            self.kept.append(Difference(lane, code, place, found, _cure(lane, code)))


def _cure(lane: int, code: str) -> str:
    text = _CURES.get(code) or _CURES.get(code.partition(".")[0]) or _REBUILD
    return text.format(lane=lane, schema=f"lane_{lane:03d}")
