"""Operators: pause, resume and cancel runs; exits; versions."""

from typing import Any

import pytest

from orchestrator.core.events import JourneyStarted
from orchestrator.journeys.flow import FLOW
from orchestrator.journeys.flow.commands import Cancel, Continue, Pause, Resume, Start
from orchestrator.journeys.flow.events import GoalReached, NodeEntered, Paused, RunEnded, RunStarted
from tests.flow.graphs import LOG, document, world
from tests.flow.world import DAY, HOUR, NOW_MS, World, definition


def waiting(way: dict[str, Any], **more: Any) -> World:
    return world({"pause": {"kind": "wait", **way}}, **more).do(Start())


def test_a_pause_keeps_what_was_left() -> None:
    """Three days, one gone: after a pause of any length two are left."""
    flow = waiting({"for": "3d"}).wait(DAY).do(Pause(reason="holiday"))
    assert (flow.label, flow.timers) == ("PAUSED pause", {})
    flow.wait(100 * DAY).do(Resume())
    assert flow.timers == {"run:r1:pause:1": flow.now_ms + 2 * DAY}
    assert flow.wait(2 * DAY).label == "COMPLETED done"


@pytest.mark.parametrize(
    "way", [{"until": "2026-01-08T10:00:00Z"}, {"local": {"at": "11:00"}, "zone": "UTC"}]
)
def test_a_pause_does_not_move_an_instant(way: dict[str, Any]) -> None:
    """What ends at an instant ends then; if that has passed, at once."""
    flow = waiting(way)
    timers = dict(flow.timers)
    assert flow.do(Pause()).wait(HOUR // 2).do(Resume()).timers == timers
    flow.do(Pause()).wait(30 * DAY).do(Resume())
    assert flow.timers == {"run:r1:pause:1": flow.now_ms}
    assert flow.wait(0).label == "COMPLETED done"


def test_an_answer_during_a_pause_counts_after_it() -> None:
    """The result is kept, and the run goes on when it is resumed."""
    flow = world({"act": LOG}).do(Start()).do(Pause())
    flow.answer("act")
    assert flow.label == "PAUSED act"
    assert flow.do(Resume()).label == "COMPLETED done"
    flow = world({"act": LOG}).do(Start()).do(Pause())
    assert flow.answer("act", "failed", error="gone").label == "PAUSED act"
    assert flow.do(Resume()).last.reason == "gone"
    flow = world({"act": LOG}).do(Start()).do(Pause()).do(Resume())
    assert flow.answer("act").label == "COMPLETED done"


def test_a_paused_run_hears_exits_and_goals_but_moves_by_nothing_else() -> None:
    """Its wait isn't ended by events or by hand; what ends the run still does."""
    flow = world(
        {"pause": {"kind": "wait", "event": {"type": "A"}, "timeout": "1d"}},
        [("pause", "done", "timeout")],
        events=["A", "B"],
        exit=[{"event": "B"}],
        goals=[{"id": "g", "event": "A"}],
    ).do(Start())
    flow.do(Pause()).hear("A")
    assert [event.NAME for event in flow.new] == [GoalReached.NAME]
    assert flow.do(Continue()).rejected is not None
    assert flow.wait(2 * DAY).label == "PAUSED pause"
    assert flow.hear("B").label == "CANCELLED pause"


def test_commands_name_one_run_or_all() -> None:
    """With a run only that one; without, all it can be done with; none at all is rejected."""
    flow = waiting({"for": "3d"}, reentry="always", runs_at_once=3).do(Start(run="b")).do(Start(run="c"))
    flow.do(Pause("b"))
    assert [run.state for run in flow.state.runs.values()] == ["WAITING", "PAUSED", "WAITING"]  # type: ignore[union-attr]
    assert len(flow.do(Pause()).of(Paused)) == 2
    assert {run.state for run in flow.state.runs.values()} == {"PAUSED"}  # type: ignore[union-attr]
    assert flow.do(Pause()).rejected.rule == "flow.not_running"  # type: ignore[union-attr]
    assert flow.do(Resume("c")).do(Resume("c")).rejected.rule == "flow.not_paused"  # type: ignore[union-attr]
    assert flow.do(Cancel("d")).rejected.rule == "flow.no_run"  # type: ignore[union-attr]
    flow.do(Cancel(reason="closed for good"))
    assert [event.inputs for event in flow.of(RunEnded)] == [{"reason": "closed for good"}] * 3
    assert flow.timers == {}
    assert flow.do(Cancel()).rejected.rule == "flow.no_run"  # type: ignore[union-attr]


def test_an_exit_by_rule_ends_the_run_at_any_step() -> None:
    """A rule without an event is asked at each node and each event; the log says which rule and what it read."""
    flow = world(
        {"act": LOG, "pause": {"kind": "wait", "for": "1d"}},
        events=["A"],
        context={"n": 0},
        record={"A": {"n": {"+": [{"var": "n"}, 1]}}},
        exit=[{"when": {">=": [{"var": "n"}, 2]}, "reason": "enough"}],
    ).do(Start())
    flow.hear("A").hear("A")
    (ended,) = flow.of(RunEnded)
    assert (ended.state, ended.reason, ended.rule, ended.inputs) == (
        "CANCELLED",
        "enough",
        "/exit/0",
        {"n": 2},
    )
    at_a_node = world({"act": LOG}, exit=[{"when": {"===": [{"var": "run.node"}, "act"]}}]).do(Start())
    assert (at_a_node.last.node, at_a_node.last.reason) == ("act", "exit")


def two_versions(**more: Any) -> World:
    nodes = {"pause": {"kind": "wait", "for": "1d"}}
    old = definition(document(nodes, reentry="always", runs_at_once=2, **more), 1)
    new = definition(document({**nodes, "act": {**LOG, "wait": False}}, reentry="always", runs_at_once=2), 2)
    flow = World(old)
    flow.do(Start())
    flow.definitions[2] = flow.newest = new
    return flow


def test_runs_keep_their_version_until_none_is_active() -> None:
    """A run that begins beside an active one takes its version; the one after them all takes the newest."""
    flow = two_versions().wait(HOUR).do(Start())
    assert [event.definition_version for event in flow.all(RunStarted)] == [1, 1]
    assert len(flow.all(JourneyStarted)) == 1
    flow.wait(DAY - HOUR)
    assert not any(event.unpins for event in flow.new)
    assert [event.unpins for event in flow.wait(HOUR).new][-1]
    flow.do(Start()).wait(DAY)
    assert flow.all(RunStarted)[-1].definition_version == 2
    assert [event.definition_version for event in flow.all(JourneyStarted)] == [1, 2]
    assert "act" in {event.node for event in flow.all(NodeEntered)}


def test_a_version_without_the_runs_node_fails_that_run_by_name() -> None:
    """Should a run ever be decided by a version that lacks its node, it fails; the lane doesn't."""
    flow = two_versions()
    flow.newest = flow.definitions[1] = definition(document({"other": LOG}), 1)
    flow.wait(2 * DAY)
    assert (flow.last.state, flow.last.reason) == ("FAILED", "unknown_node")


def test_views_show_where_runs_are_and_nothing_they_know() -> None:
    """State, node, times, and the run that ended last; no context, no key."""
    flow = waiting({"for": "1d"}, context={"secret": 1})
    assert FLOW.view(flow.state) == {
        "state": "WAITING",
        "runs": [
            {"run": "r1", "state": "WAITING", "node": "pause", "startedAt": NOW_MS, "due": NOW_MS + DAY}
        ],
        "last": None,
        "entered": 1,
        "definitionVersion": 1,
        "pendingEffects": 0,
    }
