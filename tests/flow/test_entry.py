"""Who may enter, when, and how often."""

from typing import Any

import pytest

from orchestrator.core.events import CommandIgnored
from orchestrator.journeys.flow.commands import SEGMENT_ENTERED, Start
from orchestrator.journeys.flow.events import EntryRefused, GoalReached, RunStarted
from orchestrator.journeys.flow.state import ENDED_MAX, KEYS_MAX, RUNS_MAX
from tests.flow.graphs import world
from tests.flow.world import DAY, HOUR, NOW_MS, World

PAUSE = {"pause": {"kind": "wait", "for": "1d"}}
LARGE = {"event": "ORDER", "when": {">": [{"var": "event.payload.total"}, 100]}}


def ordering(**more: Any) -> World:
    return world(PAUSE, **({"events": ["ORDER"], "entry": [LARGE]} | more))


def ignored(flow: World) -> str:
    (event,) = flow.of(CommandIgnored)
    return str(event.reason)


def test_an_event_enters_if_its_rule_holds() -> None:
    """The first entry that holds starts the run and is named with what it read; otherwise nothing happens."""
    assert ignored(ordering().hear("ORDER", {"total": 50})) == "entry_condition"
    (started,) = ordering().hear("ORDER", {"total": 500}).of(RunStarted)
    assert (started.trigger, started.entry) == ("ORDER", "/entry/0")
    assert started.inputs == {"event.payload.total": 500}


def test_an_entry_rule_may_ask_the_customer_record() -> None:
    """Attributes of the record decide as well as the event does."""
    entry = [{"event": "ORDER", "when": {"===": [{"var": "customer.tier"}, "gold"]}}]
    assert ignored(ordering(entry=entry).hear("ORDER")) == "entry_condition"
    gold = ordering(entry=entry, customer={"attributes": {"tier": "gold"}}).hear("ORDER")
    assert gold.of(RunStarted)[0].inputs == {"customer.tier": "gold"}


def test_segments_enter_by_name() -> None:
    """Only the segment that is named, told by a command or an event."""
    flow = ordering(entry=[{"segment": "vip"}])
    assert ignored(flow.hear(SEGMENT_ENTERED, {"segment": "others"})) == "no_entry"
    assert flow.hear(SEGMENT_ENTERED, {"segment": "vip"}).of(RunStarted)[0].trigger == SEGMENT_ENTERED


def test_by_hand_only_where_the_document_says_so() -> None:
    """Without an entry by hand `start` is rejected; a document without entries has only that one."""
    flow = ordering().do(Start())
    assert flow.rejected is not None
    assert flow.rejected.rule == "flow.no_manual_entry"
    assert world(PAUSE).do(Start()).label == "WAITING pause"


def test_only_declared_values_come_in() -> None:
    """A start may set what the context declares, by path too, within bounds."""
    flow = world(PAUSE, context={"a": {"b": 1, "c": 2}}).do(Start({"x": 1}))
    assert flow.rejected is not None
    assert flow.rejected.rule == "flow.unknown_variable"
    flow.do(Start({"a": {"b": "x" * 20_000}}))
    assert flow.rejected.rule == "flow.context_too_large"
    assert flow.do(Start({"a.b": 5})).all(RunStarted)[0].context == {"a": {"b": 5, "c": 2}}


def test_dates_open_and_close_the_entry() -> None:
    """Before start_at and from stop_at on nobody enters; runs under way go on."""
    flow = ordering(start_at="2026-01-05T12:00:00Z", stop_at="2026-01-06T10:00:00Z", reentry="always")
    assert ignored(flow.hear("ORDER", {"total": 500})) == "not_open_yet"
    flow.wait(2 * HOUR).hear("ORDER", {"total": 500})
    flow.wait(DAY - 2 * HOUR).hear("ORDER", {"total": 500})
    assert flow.label == "WAITING pause"
    assert ignored(flow) == "closed"
    assert flow.wait(2 * HOUR).label == "COMPLETED done"


@pytest.mark.parametrize(
    ("reentry", "at_once", "after_end", "much_later"),
    [
        ("once", "entered_before", "entered_before", "entered_before"),
        ("always", "too_many_runs", "", ""),
        ({"after": "30d"}, "too_soon", "too_soon", ""),
    ],
)
def test_reentry(reentry: Any, at_once: str, after_end: str, much_later: str) -> None:
    """Once ever; whenever no run is active; or only so long after the last entry."""
    flow = ordering(reentry=reentry).hear("ORDER", {"total": 500})
    for wait_ms, why in ((0, at_once), (2 * DAY, after_end), (40 * DAY, much_later)):
        flow.wait(wait_ms).hear("ORDER", {"total": 500})
        assert ([] if why == "" else [why]) == [event.reason for event in flow.of(CommandIgnored)]


def test_a_key_enters_once_and_keys_run_side_by_side() -> None:
    """Each order has one run; the key is the run's; a value that is no key lets nobody in."""
    flow = ordering(reentry={"key": {"var": "event.payload.id"}})
    flow.hear("ORDER", {"total": 500, "id": "o-1"}).hear("ORDER", {"total": 500, "id": 2})
    assert [event.key for event in flow.all(RunStarted)] == ["o-1", 2]
    assert ignored(flow.hear("ORDER", {"total": 500, "id": "o-1"})) == "entered_with_key"
    for odd in (None, "", "x" * 200, ["o-1"], True, 1.5):
        assert ignored(flow.hear("ORDER", {"total": 500, "id": odd})) == "no_key"
    flow.wait(2 * DAY)
    assert ignored(flow.hear("ORDER", {"total": 500, "id": "o-1"})) == "entered_with_key"


def test_what_is_remembered_is_bounded() -> None:
    """Active runs, keys and ended runs have their limits; the oldest key is forgotten first."""
    flow = ordering(reentry={"key": {"var": "event.payload.id"}})
    for n in range(RUNS_MAX + 1):
        flow.hear("ORDER", {"total": 500, "id": n})
    assert ignored(flow) == "too_many_runs"
    short = world({}, events=["ORDER"], entry=[LARGE], reentry={"key": {"var": "event.payload.id"}})
    for n in range(KEYS_MAX + 1):
        short.hear("ORDER", {"total": 500, "id": n})
    assert short.state is not None
    assert (len(short.state.keys), len(short.state.ended)) == (KEYS_MAX, ENDED_MAX)
    assert short.hear("ORDER", {"total": 500, "id": 0}).of(RunStarted), "the first key was the oldest"
    assert ignored(short.hear("ORDER", {"total": 500, "id": 5})) == "entered_with_key"


def test_a_run_may_be_named_once() -> None:
    """A name given by the caller can't be used again, neither beside nor soon after the first."""
    flow = world(PAUSE, reentry="always", runs_at_once=3).do(Start(run="mine")).do(Start(run="mine"))
    assert flow.rejected is not None
    assert flow.rejected.rule == "flow.run_exists"
    flow.wait(2 * DAY).do(Start(run="mine"))
    assert flow.rejected.rule == "flow.run_exists"


def test_an_entry_rule_that_fails_hurts_nobody_else() -> None:
    """Alone it rejects the event; beside a run that the event moves, it is told in the log and the run moves."""
    entry = [{"event": "ORDER", "when": {"-": [{"var": "event.payload.total"}, 1]}}]
    flow = ordering(entry=entry, reentry="always", runs_at_once=2).hear("ORDER", {"total": "x"})
    assert flow.rejected is not None
    assert flow.rejected.rule == "flow.rule_failed"
    flow = ordering(entry=entry, reentry="always", goals=[{"id": "g", "event": "ORDER"}])
    flow.hear("ORDER", {"total": 5}).hear("ORDER", {"total": "x"})
    assert [event.NAME for event in flow.new] == [GoalReached.NAME, EntryRefused.NAME]


def test_an_event_too_large_to_keep_can_not_start_a_run() -> None:
    """Only where something reads it later: else it isn't kept at all."""
    payload = {"total": 500, "text": "x" * 20_000}
    assert ordering().hear("ORDER", payload).of(RunStarted)[0].private == {}
    act = {"act": {"kind": "action", "type": "log", "params": {"message": {"var": "entry.payload.total"}}}}
    flow = world(act, events=["ORDER"], entry=[LARGE])
    assert ignored(flow.hear("ORDER", payload)) == "event_too_large"
    kept = flow.hear("ORDER", {"total": 500}).of(RunStarted)[0].private
    assert kept == {"entry": {"type": "ORDER", "payload": {"total": 500}, "timestamp": NOW_MS}}


def test_a_goal_counts_from_the_entry_to_the_end_of_its_window() -> None:
    """By when it occurred: not before the entry, not at the window's end, once a run."""
    goals = [{"id": "g", "event": "ORDER", "within": "2d"}]
    flow = ordering(goals=goals).hear("ORDER", {"total": 500})
    assert flow.of(GoalReached) == [], "the entry is no goal"
    assert flow.hear("ORDER", occurred_ms=NOW_MS - 1).of(GoalReached) == []
    flow.wait(3 * DAY)
    assert flow.hear("ORDER", occurred_ms=NOW_MS + 2 * DAY).of(GoalReached) == []
    assert len(flow.hear("ORDER", occurred_ms=NOW_MS + 2 * DAY - 1).of(GoalReached)) == 1
    assert flow.hear("ORDER", occurred_ms=NOW_MS + DAY).of(GoalReached) == []


def test_a_goal_that_ends_completes_the_run() -> None:
    """`ends: true`: the run is over, its timers cancelled, and a goal without window ends with its run."""
    goals = [{"id": "g", "event": "ORDER", "ends": True}]
    flow = ordering(goals=goals).hear("ORDER", {"total": 500}).hear("ORDER")
    assert (flow.last.state, flow.last.reason, flow.timers) == ("COMPLETED", "goal", {})
    flow = ordering(goals=[{"id": "g", "event": "ORDER"}]).hear("ORDER", {"total": 500}).wait(2 * DAY)
    assert flow.hear("ORDER").of(GoalReached) == []
