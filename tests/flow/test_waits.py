"""Waits: what ends them, and on which branch."""

from typing import Any

import pytest

from orchestrator.core.decider import TimerFired
from orchestrator.core.errors import Rejected
from orchestrator.core.events import CommandIgnored, TimerArmed
from orchestrator.journeys.flow.commands import Continue, Start
from orchestrator.journeys.flow.events import BranchTaken, NodeFailed, Resumed, RunEnded, Waiting
from tests.flow.graphs import world
from tests.flow.world import DAY, HOUR, NOW_MS, World, definition
from tests.support.timers import cancelled


def waiting(way: dict[str, Any], edges: Any = (), **more: Any) -> World:
    return world({"pause": {"kind": "wait", **way}}, list(edges), **more).do(Start(more.get("start", {})))


ORDER = {"event": {"type": "ORDER", "match": {"===": [{"var": "event.payload.id"}, {"var": "run.key"}]}}}
KEYED: dict[str, Any] = {
    "events": ["CART", "ORDER"],
    "entry": [{"event": "CART"}],
    "reentry": {"key": {"var": "event.payload.id"}},
}


def test_a_span_ends_by_its_timer() -> None:
    """Three days later, not before; the timer is named by run, node and visit."""
    flow = waiting({"for": "3d"})
    assert flow.timers == {"run:r1:pause:1": NOW_MS + 3 * DAY}
    assert flow.wait(3 * DAY - 1).new == []
    assert flow.wait(1).of(Resumed)[0].by == "time"
    assert flow.last.state == "COMPLETED"


@pytest.mark.parametrize("value", ["2026-01-06T10:00:00Z", 1_767_693_600_000, {"var": "at"}])
def test_an_instant_ends_at_the_instant(value: Any) -> None:
    """As a constant, in ms, or by a rule over the context."""
    flow = world({"pause": {"kind": "wait", "until": value}}, context={"at": None})
    flow.do(Start({"at": "2026-01-06T10:00:00Z"}))
    assert flow.timers == {"run:r1:pause:1": NOW_MS + DAY}


def test_an_instant_that_has_passed_is_no_wait() -> None:
    """The run goes on in the same decision, and the log says that it would have waited."""
    flow = waiting({"until": "2020-01-01T00:00:00Z"})
    assert (len(flow.of(Waiting)), len(flow.of(Resumed)), flow.timers) == (1, 1, {})
    assert flow.last.state == "COMPLETED"


def test_what_is_no_instant_fails_the_node() -> None:
    """The run fails by name; with a failure edge it goes there."""
    flow = world({"pause": {"kind": "wait", "until": {"var": "at"}}}, context={"at": "soon"}).do(Start())
    assert (flow.last.state, flow.last.reason) == ("FAILED", "bad_instant")
    edges = [("pause", "done", "failure")]
    flow = world({"pause": {"kind": "wait", "until": {"var": "at"}}}, edges, context={"at": "soon"}).do(
        Start()
    )
    assert flow.of(NodeFailed)[0].detail == "/nodes/pause/until"
    assert flow.last.state == "COMPLETED"


@pytest.mark.parametrize(
    ("zone", "record", "hours"),
    [
        ("America/New_York", {"zone": "Europe/Berlin"}, 4),
        (None, {"zone": "Asia/Kathmandu"}, 17.25),
        (None, {"zone": "Nowhere/City"}, 22),
        (None, {}, 22),
    ],
)
def test_local_times_are_the_nodes_the_customers_or_the_documents(
    zone: str | None, record: dict[str, Any], hours: float
) -> None:
    """Nine o'clock where the node says, else where the customer is, else where the document is (Berlin)."""
    way: dict[str, Any] = {"local": {"at": "09:00"}} | ({"zone": zone} if zone else {})
    flow = waiting(way, zone="Europe/Berlin", customer=record)
    assert flow.timers == {"run:r1:pause:1": NOW_MS + int(hours * HOUR)}
    assert flow.of(Waiting)[0].zone == (zone or (record.get("zone") if hours == 17.25 else "Europe/Berlin"))


def test_a_span_that_ends_at_night_ends_in_the_morning() -> None:
    """Quiet hours on a wait move its end out of them."""
    flow = waiting({"for": "12h", "quiet_hours": {"from": "21:00", "to": "08:00"}})
    assert flow.timers == {"run:r1:pause:1": NOW_MS + 22 * HOUR}


def test_an_event_of_the_runs_own_key_ends_its_wait_only() -> None:
    """Two runs wait for their own orders; each order moves one, and its payload is the run's event."""
    flow = world({"pause": {"kind": "wait", **ORDER}}, **KEYED)
    flow.hear("CART", {"id": "o-1"}).hear("CART", {"id": "o-2"})
    assert [run.key for run in flow.state.runs.values()] == ["o-1", "o-2"]  # type: ignore[union-attr]
    flow.hear("ORDER", {"id": "o-3"})
    assert flow.of(CommandIgnored)[0].reason == "no_entry"
    flow.hear("ORDER", {"id": "o-2"})
    (resumed,) = flow.of(Resumed)
    assert (resumed.by, resumed.type) == ("event", "ORDER")
    assert resumed.inputs == {"event.payload.id": "o-2", "run.key": "o-2"}
    assert [run.key for run in flow.state.runs.values()] == ["o-1"]  # type: ignore[union-attr]


def test_a_timeout_takes_its_branch() -> None:
    """No event came: the branch timeout; an event in time cancels the timeout's timer."""
    way = {"kind": "wait", "event": {"type": "ORDER"}, "timeout": "1d"}
    more: dict[str, Any] = {"events": ["ORDER"], "context": {"n": 0}}
    nodes = {"pause": way, "late": {"kind": "end", "result": "late"}}
    edges = [("pause", "late", "timeout"), ("pause", "done")]
    flow = World(_two_ends(nodes, edges, more)).do(Start())
    assert flow.timers == {"run:r1:pause:1:timeout": NOW_MS + DAY}
    late = flow.wait(DAY)
    assert (late.of(BranchTaken)[0].branch, late.of(RunEnded)[0].result) == ("timeout", "late")
    flow = World(_two_ends(nodes, edges, more)).do(Start()).hear("ORDER")
    assert cancelled(flow.new) == ["run:r1:pause:1:timeout"]
    assert flow.of(RunEnded)[0].result == "done"


def _two_ends(nodes: dict[str, Any], edges: Any, more: dict[str, Any]) -> Any:
    return definition(
        {
            "kind": "flow",
            "id": "test",
            **more,
            "nodes": {"begin": {"kind": "start"}, **nodes, "done": {"kind": "end", "result": "done"}},
            "edges": [
                {"from": "begin", "to": "pause"},
                *(dict(zip(("from", "to", "branch"), edge, strict=False)) for edge in edges),
            ],
        }
    )


def test_any_wait_may_have_a_timeout() -> None:
    """Whichever comes first ends it and cancels the other."""
    nodes = {"pause": {"kind": "wait", "for": "3d", "timeout": "1d"}, "late": {"kind": "end"}}
    flow = World(_two_ends(nodes, [("pause", "late", "timeout"), ("pause", "done")], {})).do(Start())
    assert len(flow.timers) == 2
    assert cancelled(flow.wait(DAY).new) == ["run:r1:pause:1"]
    assert flow.timers == {}


def test_a_wait_can_be_continued_by_hand() -> None:
    """`continue` ends it at once; later rules read the event_data as the event's payload."""
    ask = {
        "kind": "condition",
        "branches": [{"id": "large", "when": {">": [{"var": "event.payload.amount"}, 50]}}],
    }
    edges = [("ask", "done", "default"), ("ask", "big", "large")]
    flow = world(
        {"pause": {"kind": "wait", "for": "3d"}, "ask": ask, "big": {"kind": "end", "result": "big"}}, edges
    ).do(Start())
    flow.do(Continue({"event_type": "customer.purchase", "amount": 100}))
    assert (flow.of(Resumed)[0].by, flow.of(Resumed)[0].type) == ("continue", "customer.purchase")
    assert flow.of(BranchTaken)[0].inputs == {"event.payload.amount": 100}
    assert flow.timers == {}


def test_continue_says_why_it_can_not() -> None:
    """No run of that name, none that waits, or more than one."""
    flow = waiting({"for": "3d"}, reentry="always", runs_at_once=2)
    for command, rule in (
        (Continue(run="other"), "flow.no_run"),
        (Continue(run="r1"), None),
        (Continue(), "flow.not_waiting"),
    ):
        flow.do(command)
        assert (None if flow.rejected is None else flow.rejected.rule) == rule
    flow.do(Start()).do(Start()).do(Continue())
    assert isinstance(flow.rejected, Rejected)
    assert flow.rejected.rule == "flow.which_run"


def test_a_timer_nobody_waits_for_is_ignored() -> None:
    """A late or unknown timer changes nothing."""
    flow = waiting({"for": "1d"}).wait(DAY)
    flow.do(TimerFired("run:r1:pause:1", flow.now_ms))
    assert flow.new == [CommandIgnored("timer_not_armed")]


def test_a_timer_that_comes_early_is_armed_again() -> None:
    """A clock that jumped back can't end a wait before its time."""
    flow = waiting({"for": "1d"})
    flow.do(TimerFired("run:r1:pause:1", NOW_MS + HOUR))
    assert flow.new == [TimerArmed("run:r1:pause:1", NOW_MS + DAY)]


def test_an_event_whose_match_fails_is_told_and_the_wait_goes_on() -> None:
    """One odd payload doesn't end a run that has no failure edge; with one it goes there."""
    way = {
        "kind": "wait",
        "event": {"type": "ORDER", "match": {">": [{"-": [{"var": "event.payload.n"}, 1]}, 1]}},
    }
    flow = world({"pause": way}, events=["ORDER"]).do(Start()).hear("ORDER", {"n": "many"})
    assert [event.NAME for event in flow.new] == ["flow.rule_broken.v1"]
    assert flow.new[0].reason == "type_error"  # type: ignore[attr-defined]
    assert flow.hear("ORDER", {"n": 5}).last.state == "COMPLETED"
    flow = world({"pause": way}, [("pause", "done", "failure")], events=["ORDER"]).do(Start())
    assert flow.hear("ORDER", {"n": "many"}).of(NodeFailed)[0].reason == "type_error"
