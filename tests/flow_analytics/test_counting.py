from collections import Counter
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.core.events import EffectFailed
from orchestrator.journeys.flow.events import (
    ActionStarted,
    BranchTaken,
    GoalReached,
    NodeEntered,
    RunEnded,
    RunStarted,
)
from orchestrator.journeys.flow.state import WATCHED_MAX
from projections.flow_analytics.counting import (
    Cell,
    Counts,
    Open,
    count,
    counts,
    decode,
    definition_of,
    encode,
)
from projections.flow_analytics.report import Total, reports
from tests.flow.documents import flows
from tests.flow.test_random_walks import RECORD, _command
from tests.flow.world import DAY, World, definition
from tests.flow_analytics.by_hand import Count, by_hand


def counted(events: list[Any], *, stored_every: int = 0) -> tuple[Counts, Open]:
    """The product's count of a stream; what is open goes through its stored form every so many events."""
    found: Counts = Counter()
    open = Open()
    for place, event in enumerate(events):
        if counts(event):
            count(open, "random", event, found)
        if stored_every and place % stored_every == 0:
            open = decode(encode(open))
    return found, open


def plain(found: Counts) -> Count:
    return Counter({(c.version, c.day, c.node, c.measure, c.key): n for c, n in found.items()})


@st.composite
def walks(draw: st.DrawFn) -> World:
    """A random walk of one customer through a random flow, its second version published on the way."""
    first = definition(draw(flows()))
    second = definition(draw(st.just(first.document) | flows()), version=2)
    world = World(first, record=RECORD, careful=False)
    for step in range(draw(st.integers(3, 25))):
        if step == 5:
            world.definitions[2] = world.newest = second
        if draw(st.booleans()):
            world.wait(draw(st.sampled_from([1, 60_000, 5 * 3_600_000, 40 * DAY])))
        world.do(draw(_command(world)), backfill=draw(st.integers(0, 9)) == 0)
    return world


slow = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@slow
@given(world=walks(), stored_every=st.integers(0, 3))
def test_counts_are_those_made_by_hand(world: World, stored_every: int) -> None:
    """Whatever happens in a flow, each number is what looking through the events says, wherever counting is cut."""
    found, _ = counted(world.events, stored_every=stored_every)
    assert plain(found) == by_hand(world.events)


@slow
@given(world=walks())
def test_numbers_balance(world: World) -> None:
    """Who entered ended or is on the way; who reached a node left it, ended there or is there; no effect goes astray."""
    found, _ = counted(world.events)
    totals = [Total(c.version, c.node, c.measure, c.key, n) for c, n in found.items()]
    documents = {version: one.document for version, one in world.definitions.items()}
    made = reports(totals, documents)
    state = world.state
    active = Counter(run.version for run in state.runs.values()) if state else Counter()
    here = Counter((run.version, run.node) for run in state.runs.values()) if state else Counter()
    assert sum(active.values()) == sum(one.in_progress for one in made)
    for one in made:
        assert one.in_progress == active[one.version]
        assert one.entered == one.in_progress + one.completed + one.failed + one.cancelled
        assert sum(ending.runs for ending in one.endings) == one.entered - one.in_progress
        for node in one.nodes:
            assert node.reached == node.left + sum(e.runs for e in node.ended) + node.here
            assert node.here == here[(one.version, node.node)]
            assert node.dropped <= sum(e.runs for e in node.ended)
        for bucket in one.splits:
            assert all(conversion.runs <= bucket.runs for conversion in bucket.goals)
        assert all(conversion.runs <= one.entered for conversion in one.goals)
    unanswered = sum(node.effects.get("unanswered", 0) for one in made for node in one.nodes)
    assert unanswered == (len(state.pending) if state else 0)


@slow
@given(world=walks())
def test_what_is_remembered_is_bounded_as_the_flows_own_state_is(world: World) -> None:
    """Of a stream there is kept what still can happen: active runs, watched ones and unanswered effects, no more."""
    _, open = counted(world.events)
    state = world.state
    runs = {} if state is None else {**state.watched, **state.runs}
    assert set(open.runs) == set(runs)
    assert sum(run.ended for run in open.runs.values()) <= WATCHED_MAX
    assert set(open.effects) == (set() if state is None else set(state.pending))
    assert decode(encode(open)) == open


def test_a_providers_texts_do_not_become_keys() -> None:
    """An error that isn't a stable word is counted as `other`, whatever it says: the table's size is the document's."""
    events: list[Any] = [
        RunStarted(run="1", node="begin", at_ms=0, definition_version=1, trigger="manual", entry=""),
        NodeEntered(run="1", node="call", visit=1, at_ms=0),
    ]
    words = ["timed out after 3021 ms", "error_812736", "x" * 41, "Überlauf", "status_503", "gone"]
    for n, word in enumerate(words):
        events.append(ActionStarted(run="1", node="call", visit=1, effect=f"e{n}"))
        events.append(EffectFailed(effect=f"e{n}", attempt=1, error=word))
    found, _ = counted(events)
    effects = {cell.key: n for cell, n in found.items() if cell.measure == "effect"}
    assert effects == {"asked": 6, "failed:other": 4, "failed:status_503": 1, "failed:gone": 1}


def test_runs_count_for_the_day_of_their_entry() -> None:
    """Whatever comes of a run later belongs to the day it began: a choice of days is a choice of runs."""
    events: list[Any] = [
        RunStarted(run="1", node="begin", at_ms=DAY * 3 - 1, definition_version=1, trigger="A", entry=""),
        NodeEntered(run="1", node="begin", visit=1, at_ms=DAY * 3 - 1),
        NodeEntered(run="1", node="wait", visit=1, at_ms=DAY * 9),
        ActionStarted(run="1", node="wait", visit=1, effect="e1"),
        GoalReached(run="1", node="wait", goal="g", at_ms=DAY * 10),
        RunEnded(run="1", node="wait", at_ms=DAY * 11, state="COMPLETED", reason="end"),
        EffectFailed(effect="e1", attempt=1, error="gone"),
    ]
    found, _ = counted(events)
    assert {cell.day for cell in found} == {2}
    assert {cell.measure for cell in found} >= {"goal", "ended", "stay", "effect"}
    assert found[Cell("random", 1, 2, "wait", "reached", "")] == 1


def test_a_run_is_put_into_a_branch_of_a_split_once() -> None:
    """A loop that leads through a split again makes no second run of it: shares of conversions stay below one."""
    drawn = BranchTaken(run="1", node="draw", branch="a", to="x", bucket=7, index=0, rule="/nodes/draw")
    events: list[Any] = [
        RunStarted(run="1", node="draw", at_ms=0, definition_version=1, trigger="A", entry=""),
        NodeEntered(run="1", node="draw", visit=1, at_ms=0),
        drawn,
        NodeEntered(run="1", node="draw", visit=2, at_ms=0),
        drawn,
    ]
    found, _ = counted(events, stored_every=1)
    assert found[Cell("random", 1, 0, "draw", "split", "a")] == 1
    assert found[Cell("random", 1, 0, "draw", "branch", "a")] == 2


def test_streams_of_other_kinds_are_left_out() -> None:
    """Only streams of flows have counts; a run in the address doesn't change the definition."""
    assert definition_of("acme/c/anna/flow:welcome") == "welcome"
    assert definition_of("acme/c/anna/flow:welcome:7") == "welcome"
    assert definition_of("acme/c/flow:x/lifecycle:shop") is None
    assert definition_of("/lane/000/lane:log") is None
