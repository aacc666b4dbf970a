"""What an event means to the runs: it is recorded, converts, ends them, or is what they waited for."""

from typing import Any

from orchestrator.core.rules import RuleFailed
from orchestrator.journeys.flow.bounds import CONTEXT_CHARS_MAX, EVENT_CHARS_MAX, fits
from orchestrator.journeys.flow.events import ContextSet, GoalReached, Resumed
from orchestrator.journeys.flow.model import FAILURE, Trigger
from orchestrator.journeys.flow.state import CANCELLED, COMPLETED, Run
from orchestrator.journeys.flow.travel import fail, go_on
from orchestrator.journeys.flow.turn import Turn
from orchestrator.journeys.paths import overlaps


def hear(turn: Turn) -> None:
    """The event at hand, for each run in order of their beginning."""
    assert turn.heard is not None
    before = turn.state
    for id in [*before.watched, *before.runs]:
        run = turn.state.runs.get(id)
        if run is None:
            _goals(turn, id)
            continue
        _record(turn, run)
        _goals(turn, id)
        if id in turn.state.runs and not _exits(turn, turn.run(id)):
            _wait(turn, turn.run(id))


def _record(turn: Turn, run: Run) -> None:
    assert turn.heard is not None
    type = turn.heard["type"]
    values = turn.compiled.record.get(type)
    if not values:
        return
    public: dict[str, Any] = {}
    private: dict[str, Any] = {}
    for path, template in values.items():
        try:
            value = turn.value(template, run)
        except RuleFailed as failure:
            turn.broken(run, f"/record/{type}/{path}", failure)
            return
        personal = any(overlaps(path, own) for own in (*turn.compiled.personal, *run.private))
        # A value made of personal ones is personal, wherever it is put.
        (private if personal or turn.personal(template, run) else public)[path] = value
    if not fits({**public, **private}, CONTEXT_CHARS_MAX):
        turn.broken(run, f"/record/{type}", RuleFailed("result_too_large", "too large"))
        return
    turn.add(ContextSet(run=run.id, node=run.node, type=type, set=public, private=private))


def _goals(turn: Turn, id: str) -> None:
    assert turn.heard is not None
    for goal in turn.compiled.goals:
        run = turn.state.runs.get(id) or turn.state.watched.get(id)
        if run is None:
            return
        if not _counts(turn, goal, run):
            continue
        inputs: dict[str, Any] = {}
        try:
            if not turn.holds(goal.when, run, inputs):
                continue
        except RuleFailed as failure:
            turn.broken(run, goal.pointer, failure)
            continue
        turn.add(
            GoalReached(
                run=run.id,
                node=run.node,
                goal=goal.id,
                at_ms=turn.heard["timestamp"],
                inputs=inputs,
                splits=dict(run.splits),
            )
        )
        if goal.ends and id in turn.state.runs:
            turn.end(turn.run(id), COMPLETED, "goal", result=goal.id, rule=goal.pointer)


def _counts(turn: Turn, goal: Trigger, run: Run) -> bool:
    """Whether the event at hand can be the goal of the run: an open one, within its window."""
    assert turn.heard is not None
    if goal.id not in run.goals or not goal.about(turn.heard["type"], turn.heard["payload"]):
        return False
    until_ms = run.goals[goal.id]
    at_ms: int = turn.heard["timestamp"]
    if at_ms < run.started_ms:
        return False
    return at_ms < until_ms if until_ms else run.id in turn.state.runs


def _exits(turn: Turn, run: Run) -> bool:
    assert turn.heard is not None
    for exit in turn.compiled.exits:
        if exit.type and not exit.about(turn.heard["type"], turn.heard["payload"]):
            continue
        inputs: dict[str, Any] = {}
        try:
            if turn.holds(exit.when, run, inputs):
                turn.end(run, CANCELLED, exit.reason, rule=exit.pointer, inputs=inputs)
                return True
        except RuleFailed as failure:
            turn.broken(run, exit.pointer, failure)
    return False


def _wait(turn: Turn, run: Run) -> None:
    assert turn.heard is not None
    wait, node = run.wait, turn.compiled.nodes.get(run.node)
    if wait is None or run.paused or wait.reason != "event" or wait.type != turn.heard["type"]:
        return
    match = None if node is None or node.wait is None else node.wait.match
    inputs: dict[str, Any] = {}
    try:
        if not turn.holds(match, run, inputs):
            return
    except RuleFailed as failure:
        pointer = "" if node is None or node.wait is None else node.wait.pointer
        if node is None or FAILURE not in node.edges:
            turn.broken(run, pointer, failure)  # one odd event is no reason to end a wait
            return
        turn.stop_timers(run)
        turn.add(Resumed(run=run.id, node=run.node, at_ms=turn.facts.now_ms, by="failure"))
        fail(turn, turn.run(run.id), failure.reason, pointer)
        return
    resume(turn, run, "event", inputs)


def resume(turn: Turn, run: Run, by: str, inputs: dict[str, Any] | None = None) -> None:
    """End a run's wait because of the event at hand, keep the event, and go on."""
    assert turn.heard is not None
    event = dict(turn.heard)
    keeps = turn.compiled.keeps_event
    if keeps and not fits(event, EVENT_CHARS_MAX):
        turn.stop_timers(run)
        turn.add(Resumed(run=run.id, node=run.node, at_ms=turn.facts.now_ms, by=by, type=event["type"]))
        fail(turn, turn.run(run.id), "event_too_large")
        return
    turn.stop_timers(run)
    turn.add(
        Resumed(
            run=run.id,
            node=run.node,
            at_ms=turn.facts.now_ms,
            by=by,
            type=event["type"],
            inputs=inputs or {},
            private={"event": event} if keeps else {},
        )
    )
    go_on(turn, turn.run(run.id))
