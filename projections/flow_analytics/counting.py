"""What each event of a flow adds to its counts. Pure; a stream's events are counted in their order.

A run's counts belong to the version it was started with and to the UTC day of its entry, whenever they come about: so
for any choice of days, who entered is who ended plus who is on the way, and whoever reached a node left it, ended there
or is there now.
"""

import re
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from msgspec import Struct, json

from orchestrator.core.events import EffectFailed, EffectRequested, EffectSucceeded, Event, TimerCancelled
from orchestrator.journeys.effects import TIMER_PREFIX, EffectAttemptFailed
from orchestrator.journeys.flow.events import (
    ActionSkipped,
    ActionStarted,
    BranchTaken,
    GoalReached,
    NodeEntered,
    NodeFailed,
    RunEnded,
    RunStarted,
)
from orchestrator.journeys.flow.model import EXHAUSTED, NEXT
from orchestrator.journeys.flow.state import FAILED, WATCHED_MAX
from projections.flow_analytics.buckets import bucket_of

DAY_MS: Final = 86_400_000
OTHER: Final = "other"
_WORD = re.compile(r"[a-z]+(?:_[a-z]+)*(?:_[0-9]{1,3})?")
_WORD_MAX: Final = 40
_FLOW: Final = "flow:"


class Cell(NamedTuple):
    """One number of the table: what is counted, and where."""

    definition: str
    version: int
    day: int  # since 1970, UTC, on which the run began
    node: str  # empty: of the run as a whole
    measure: str
    key: str


Counts = Counter[Cell]


class OpenRun(Struct, array_like=True):
    """A run whose events may still come."""

    version: int
    day: int
    node: str = ""
    entered_ms: int = 0
    branched: bool = False  # the way out of the node is counted
    ended: bool = False
    splits: list[str] = []  # nodes; a loop's second pass is no second run
    goals: dict[str, int] = {}  # open ones and until when (ms)


class OpenEffect(Struct, array_like=True):
    """An effect that isn't settled; it may outlive its run."""

    version: int
    day: int
    node: str


class Open(Struct, array_like=True):
    """What counting has to remember of one stream: bounded, as the flow's own state is. Changed in place."""

    runs: dict[str, OpenRun] = {}  # active ones, and ended ones whose goals count, in order of their end
    effects: dict[str, OpenEffect] = {}

    def __bool__(self) -> bool:
        return bool(self.runs or self.effects)


def definition_of(stream: str) -> str | None:
    """The definition of a flow's stream; None for any other stream."""
    last = stream.rpartition("/")[2]
    return last.split(":", 2)[1] if last.startswith(_FLOW) else None


def counts(event: Event) -> bool:
    """Whether an event may change the counts, if its stream is a flow's."""
    return type(event) in _STEPS


def count(open: Open, definition: str, event: Event, into: Counts) -> None:
    """Add what an event changes to `into`, and remember in `open` what later events need."""
    _STEPS[type(event)](open, definition, event, into)


def encode(open: Open) -> bytes:
    """The stored form."""
    return json.encode(open)


decode = json.Decoder(Open).decode


def _started(open: Open, definition: str, event: RunStarted, into: Counts) -> None:
    run = OpenRun(event.definition_version, event.at_ms // DAY_MS, goals=dict(event.goals))
    into[Cell(definition, run.version, run.day, "", "entered", event.trigger)] += 1
    _forget(open, event.at_ms)
    open.runs[event.run] = run


def _entered(open: Open, definition: str, event: NodeEntered, into: Counts) -> None:
    run = open.runs.get(event.run)
    if run is None:
        return
    if run.node:
        _way_out(run, definition, NEXT, into)
        _stay(run, definition, event.at_ms, into)
        into[Cell(definition, run.version, run.day, run.node, "left", "")] += 1
    run.node, run.entered_ms, run.branched = event.node, event.at_ms, False
    into[Cell(definition, run.version, run.day, event.node, "reached", "")] += 1


def _branched(open: Open, definition: str, event: BranchTaken, into: Counts) -> None:
    run = open.runs.get(event.run)
    if run is None:
        return
    if event.branch == EXHAUSTED and event.index < 0:  # of a node that the run may not enter once more
        _way_out(run, definition, NEXT, into)
        into[Cell(definition, run.version, run.day, event.node, "branch", EXHAUSTED)] += 1
        return
    _way_out(run, definition, event.branch, into)
    if event.bucket >= 0 and event.node not in run.splits:
        run.splits = [*run.splits, event.node]
        measure = "holdout" if event.holdout else "split"
        into[Cell(definition, run.version, run.day, event.node, measure, event.branch)] += 1


def _ended(open: Open, definition: str, event: RunEnded, into: Counts) -> None:
    run = open.runs.pop(event.run, None)
    if run is None:
        return
    if run.node:
        _stay(run, definition, event.at_ms, into)
    reason = _word(event.reason) if event.state == FAILED else event.reason
    into[Cell(definition, run.version, run.day, event.node, "ended", f"{event.state}:{reason}")] += 1
    run.ended, run.node, run.splits = True, "", []
    open.runs[event.run] = run
    _forget(open, event.at_ms)


def _goal(open: Open, definition: str, event: GoalReached, into: Counts) -> None:
    run = open.runs.get(event.run)
    if run is None:
        return
    run.goals = {goal: until for goal, until in run.goals.items() if goal != event.goal}
    into[Cell(definition, run.version, run.day, "", "goal", event.goal)] += 1
    for node, branch in event.splits.items():
        into[Cell(definition, run.version, run.day, node, "split_goal", f"{branch}:{event.goal}")] += 1
    if run.ended:
        _forget(open, event.at_ms)


def _node_failed(open: Open, definition: str, event: NodeFailed, into: Counts) -> None:
    run = open.runs.get(event.run)
    if run is not None:
        into[Cell(definition, run.version, run.day, event.node, "failed", _word(event.reason))] += 1


def _asked(open: Open, definition: str, event: ActionStarted, into: Counts) -> None:
    run = open.runs.get(event.run)
    if run is not None:
        open.effects[event.effect] = OpenEffect(run.version, run.day, event.node)
        into[Cell(definition, run.version, run.day, event.node, "effect", "asked")] += 1


def _skipped(open: Open, definition: str, event: ActionSkipped, into: Counts) -> None:
    run = open.runs.get(event.run)
    if run is not None:
        key = f"skipped:{_word(event.reason)}"
        into[Cell(definition, run.version, run.day, event.node, "effect", key)] += 1


def _requested(open: Open, definition: str, event: EffectRequested, into: Counts) -> None:
    if event.suppressed:
        _settle(open, definition, event.effect, "suppressed", into)


def _attempt_failed(open: Open, definition: str, event: EffectAttemptFailed, into: Counts) -> None:
    effect = open.effects.get(event.effect)
    if effect is not None:
        into[Cell(definition, effect.version, effect.day, effect.node, "effect", "tried_again")] += 1


def _succeeded(open: Open, definition: str, event: EffectSucceeded, into: Counts) -> None:
    _settle(open, definition, event.effect, "succeeded", into)


def _failed(open: Open, definition: str, event: EffectFailed, into: Counts) -> None:
    word = "unknown" if event.unknown else "failed"
    _settle(open, definition, event.effect, f"{word}:{_word(event.error)}", into)


def _cancelled(open: Open, definition: str, event: TimerCancelled, into: Counts) -> None:
    effect = event.timer.removeprefix(TIMER_PREFIX)
    if effect != event.timer:  # what is settled is gone by now: the run ended first
        _settle(open, definition, effect, "forgotten", into)


def _settle(open: Open, definition: str, effect: str, key: str, into: Counts) -> None:
    found = open.effects.pop(effect, None)
    if found is not None:
        into[Cell(definition, found.version, found.day, found.node, "effect", key)] += 1


def _way_out(run: OpenRun, definition: str, branch: str, into: Counts) -> None:
    if run.node and not run.branched:
        run.branched = True
        into[Cell(definition, run.version, run.day, run.node, "branch", branch)] += 1


def _stay(run: OpenRun, definition: str, until_ms: int, into: Counts) -> None:
    bucket = str(bucket_of(until_ms - run.entered_ms))
    into[Cell(definition, run.version, run.day, run.node, "stay", bucket)] += 1


def _forget(open: Open, at_ms: int) -> None:
    """Keep the ended runs that the flow's own state keeps: the newest with a goal whose window is open."""
    ended = [id for id, run in open.runs.items() if run.ended]
    kept = [id for id in ended if any(until > at_ms for until in open.runs[id].goals.values())][-WATCHED_MAX:]
    for id in set(ended) - set(kept):
        del open.runs[id]


def _word(text: str) -> str:
    """A stable word; whatever else a provider says is one key, so that the table doesn't grow with its texts."""
    return text if len(text) <= _WORD_MAX and _WORD.fullmatch(text) else OTHER


_STEPS: dict[type[Event], Callable[[Open, str, Any, Counts], None]] = {
    RunStarted: _started,
    NodeEntered: _entered,
    BranchTaken: _branched,
    RunEnded: _ended,
    GoalReached: _goal,
    NodeFailed: _node_failed,
    ActionStarted: _asked,
    ActionSkipped: _skipped,
    EffectRequested: _requested,
    EffectAttemptFailed: _attempt_failed,
    EffectSucceeded: _succeeded,
    EffectFailed: _failed,
    TimerCancelled: _cancelled,
}
