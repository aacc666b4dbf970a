from typing import Any

import pytest

from orchestrator.core.addresses import Stream
from orchestrator.core.errors import Malformed, Undecidable
from orchestrator.core.events import (
    CommandIgnored,
    CommandRejected,
    EffectRequested,
    Event,
    JourneyStarted,
    TimerArmed,
    timers_of,
    with_timers,
)
from orchestrator.core.messages import Outcome
from orchestrator.engine.batch import Batch
from orchestrator.engine.frame import Frame, timer_id
from orchestrator.engine.store import TimerRow
from tests.support.memory import NOW_MS, STREAM, Engine, Published, command, definition, frame, same
from tests.support.toy import Added, State


def _names(batch: Batch) -> list[str]:
    return [type(r.envelope.data).__name__ for r in batch.events]


def _decided(engine: Engine, one: Frame, *commands: Any, now_ms: int = NOW_MS) -> Batch:
    batch = engine.batch(now_ms)
    for each in commands:
        batch.decide(one, each)
    engine.commit(batch)
    return batch


def test_a_repeat_in_the_same_batch_decides_nothing_and_tells_the_first_outcome() -> None:
    """A key decides once; its repeat gets the first outcome again, marked as a duplicate."""
    engine, one = Engine(), frame()
    batch = _decided(engine, one, command(), command())
    assert _names(batch) == ["JourneyStarted", "Added"]
    assert one.state == State(total=1)
    assert engine.outcomes(batch) == [Outcome("applied", "tests", "k1", STREAM.text, 2, duplicate=True)]


def test_a_repeat_of_an_earlier_batch_tells_the_first_outcome() -> None:
    """The outcome of a repeat comes from the event its first copy left, however long ago."""
    engine, one = Engine(), frame()
    _decided(engine, one, command(data={"n": -5}), command(id="k2"), command(id="k3"))
    again = engine.rebuilt()
    batch = _decided(engine, again, command(data={"n": -5}), command(id="k3"))
    assert batch.events == []
    assert engine.outcomes(batch) == [
        Outcome(
            "rejected", "tests", "k1", STREAM.text, 1, duplicate=True, reason="toy.negative", detail={"n": -5}
        ),
        Outcome("applied", "tests", "k3", STREAM.text, 4, duplicate=True),
    ]


@pytest.mark.parametrize(
    "other", [{"data": {"n": 2}}, {"data": {"n": 1, "m": 1}}, {"type": "ask", "data": {"n": 1}}]
)
def test_the_same_key_with_another_body_is_a_conflict(other: dict[str, Any]) -> None:
    """A key that comes back with another body or type is refused and changes nothing."""
    engine, one = Engine(), frame()
    _decided(engine, one, command())
    batch = _decided(engine, one, command(**other))
    assert batch.events == []
    [outcome] = engine.outcomes(batch)
    assert (outcome.outcome, outcome.reason, outcome.duplicate) == ("rejected", "idempotency_conflict", False)
    assert one.state == State(total=1)


def test_the_same_body_in_another_order_is_a_repeat() -> None:
    """The order of JSON fields says nothing."""
    engine, one = Engine(), frame()
    batch = _decided(engine, one, command(data={"n": 1, "m": 2}), command(data={"m": 2, "n": 1}))
    assert engine.outcomes(batch)[0].duplicate


def test_the_same_id_from_another_source_is_another_command() -> None:
    """Keys are per source: two producers may count alike."""
    engine, one = Engine(), frame()
    batch = _decided(engine, one, command(), command(source="elsewhere"))
    assert one.state == State(total=2)
    assert batch.repeats == []


def test_commands_of_the_engine_are_not_compared() -> None:
    """An effect's second answer may read otherwise than its first: the first wins, and no conflict is told."""
    engine, one = Engine(), frame()
    answer = {"effect": "e1", "attempt": 1}
    _decided(engine, one, command("ask", id="k0"))
    batch = _decided(
        engine,
        one,
        command("effect.succeeded", source="engine/effects", id="x/e1/1", data=answer | {"result": {"a": 1}}),
        command("effect.succeeded", source="engine/effects", id="x/e1/1", data=answer | {"result": {"a": 2}}),
    )
    [outcome] = engine.outcomes(batch)
    assert (outcome.outcome, outcome.duplicate) == ("applied", True)
    assert _names(batch) == ["EffectSucceeded"]


@pytest.mark.parametrize(
    ("type", "source"), [("timer.fired", "tests"), ("add", "engine/timers"), ("timer.fired", "engine/timers")]
)
def test_nobody_else_fires_timers(type: str, source: str) -> None:
    """What the engine makes for itself can't be published by others."""
    engine, one = Engine(), frame()
    with pytest.raises(Malformed) as refused:
        engine.batch().decide(one, command(type, source=source))
    assert refused.value.reason == "reserved"
    same(one, frame())


def test_a_command_that_changes_nothing_still_leaves_its_key() -> None:
    """Every decided command leaves an event, so that its repeat is known."""
    engine, one = Engine(), frame()
    batch = _decided(engine, one, command("misbehave", data={"how": "nothing"}))
    assert [type(r.envelope.data) for r in batch.events] == [CommandIgnored]
    again = _decided(engine, one, command("misbehave", data={"how": "nothing"}))
    assert engine.outcomes(again)[0].reason == "no_consequence"


def test_a_rejection_creates_no_journey() -> None:
    """A refused first command leaves its key but starts nothing; the next one starts the journey with its pin."""
    engine, one = Engine(), frame()
    batch = _decided(engine, one, command(data={"n": -1}), command(id="k2"))
    assert [type(r.envelope.data) for r in batch.events] == [CommandRejected, JourneyStarted, Added]
    assert one.definition_version == 1


@pytest.mark.parametrize("how", ["raise", "unstorable", "evolve", "unregistered", "deep", "parse"])
def test_what_cannot_be_decided_leaves_the_frame_as_it_was(how: str) -> None:
    """A decider that raises, or makes what can't be stored or folded, costs its own command and nothing else."""
    engine, one = Engine(), frame()
    batch = engine.batch()
    batch.decide(one, command())
    version, state, keys, events = one.version, one.state, bytes(one.keys.packed), list(batch.events)
    with pytest.raises(Undecidable) as refused:
        batch.decide(one, command("misbehave", id="bad", data={"how": how}))
    assert refused.value.reason in {"decider_failed", "unstorable", "malformed"}
    assert (one.version, one.state, bytes(one.keys.packed), batch.events) == (version, state, keys, events)
    batch.decide(one, command(id="k2"))
    engine.commit(batch)
    assert _names(batch) == ["JourneyStarted", "Added", "Added"]
    same(engine.rebuilt(), one)


def test_a_number_that_no_store_keeps_is_refused() -> None:
    """Integers beyond 64 bits are refused before anything is decided."""
    engine, one = Engine(), frame()
    with pytest.raises(Malformed):
        engine.batch().decide(one, command(data={"n": 2**64}))
    same(one, frame())


def test_a_decision_sees_the_ones_before_it_in_the_batch() -> None:
    """Within a batch each command is decided against the state its predecessors left."""
    engine, one = Engine(), frame()
    batch = _decided(engine, one, *(command(id=f"k{n}", data={"n": n}) for n in range(1, 6)))
    assert [r.version for r in batch.events] == [1, 2, 3, 4, 5, 6]
    assert one.state == State(total=15)
    same(engine.rebuilt(), one)


def test_a_running_journey_keeps_its_definition_and_a_new_one_takes_the_newest() -> None:
    """Publishing changes no journey that runs."""
    published = Published(definition(1))
    engine, one = Engine(catalogue=published), frame()
    _decided(engine, one, command())
    published.publish(definition(2, compiled="nothing"))
    _decided(engine, one, command(id="k2"))
    assert (one.definition_version, one.state) == (1, State(total=2))
    new = frame(Stream(STREAM.owner, "toy", "t", "second"))
    batch = _decided(engine, new, command(stream=new.stream))
    assert [type(r.envelope.data) for r in batch.events] == [CommandIgnored]


def test_no_definition_no_decision() -> None:
    """A command for a definition that isn't published can't be decided, whoever sends it."""
    engine, one = Engine(catalogue=Published()), frame()
    with pytest.raises(Undecidable) as refused:
        engine.batch().decide(one, command())
    assert refused.value.reason == "unknown_definition"
    same(one, frame())


# ------------------------------------------------------------------ timers


def _row(one: Frame, name: str) -> TimerRow:
    timer = one.timers[name]
    return TimerRow(one.stream.id, name, timer.armed_at, timer.due_ms, one.stream.text)


def test_an_armed_timer_is_a_row_and_fires_once() -> None:
    """A due timer becomes one decision; its row goes with the same transaction, and a second firing does nothing."""
    engine, one = Engine(), frame()
    armed = _decided(engine, one, command("arm", data={"timer": "a", "delay_ms": 50}))
    row = TimerRow(STREAM.id, "a", 2, NOW_MS + 50, STREAM.text)
    assert armed.timers == {(STREAM.id, "a"): row}
    batch = engine.batch(NOW_MS + 60)
    batch.fire(one, row, NOW_MS + 60)
    batch.fire(one, row, NOW_MS + 60)
    engine.commit(batch)
    assert _names(batch) == ["Added"]
    assert batch.events[0].envelope.id == timer_id(STREAM.text, "a", 2)
    assert batch.timers == {(STREAM.id, "a"): None}
    assert one.state.total == 1000
    same(engine.rebuilt(), one)


def test_an_event_arms_and_cancels_timers_beside_its_own_fact() -> None:
    """A timer needs no event of its own: rows, frame and a replay follow from the one that carries it."""
    engine, one = Engine(), frame()
    batch = _decided(engine, one, command("arm", data={"timer": "t", "delay_ms": 10, "carried": True}))
    assert _names(batch) == ["JourneyStarted", "Added"]
    row = batch.timers[(one.stream.id, "t")]
    assert row is not None
    assert (row.due_ms, row.armed_at, one.timers["t"].armed_at) == (NOW_MS + 10, 2, 2)
    same(engine.rebuilt(), one)
    batch = _decided(engine, one, command("disarm", "k2", data={"timer": "t", "carried": True}))
    assert (batch.timers, dict(one.timers)) == ({(one.stream.id, "t"): None}, {})
    same(engine.rebuilt(), one)


def test_timers_come_on_top_of_those_an_event_already_carries() -> None:
    """The last event of a decision may be told to carry more; what it was about stays."""
    events: list[Event] = [Added(1), TimerArmed("a", 5, timers={"b": 6})]
    with_timers(events, {"c": None})
    with_timers(events, {})
    assert [dict(timers_of(event)) for event in events] == [{}, {"a": 5, "b": 6, "c": None}]


def test_a_deadline_that_moved_moves_the_row() -> None:
    """A row that is due earlier than the state's deadline is moved, not fired."""
    engine, one = Engine(), frame()
    _decided(engine, one, command("arm", data={"timer": "a", "delay_ms": 50}))
    early = _row(one, "a")
    _decided(engine, one, command("arm", id="k2", data={"timer": "a", "delay_ms": 500}))
    batch = engine.batch(NOW_MS + 60)
    batch.fire(one, early, NOW_MS + 60)
    assert batch.events == []
    assert batch.timers == {(STREAM.id, "a"): _row(one, "a")}


def test_a_cancelled_timer_does_not_fire() -> None:
    """Cancelling deletes the row; a row that was read before is dropped."""
    engine, one = Engine(), frame()
    _decided(engine, one, command("arm", data={"timer": "a", "delay_ms": 50}))
    row = _row(one, "a")
    batch = _decided(engine, one, command("disarm", id="k2", data={"timer": "a"}))
    assert batch.timers == {(STREAM.id, "a"): None}
    late = engine.batch(NOW_MS + 60)
    late.fire(one, row, NOW_MS + 60)
    assert late.events == []
    assert late.timers == {(STREAM.id, "a"): None}


def test_backfill_fires_what_was_due_before_in_order_and_at_its_time() -> None:
    """Imported history sees its timers fire when they were due, before the next imported command."""
    engine, one = Engine(), frame()
    old_ms = NOW_MS - 10_000_000
    history: dict[str, Any] = {"backfill": True}
    batch = _decided(
        engine,
        one,
        command("arm", id="a", data={"timer": "late", "delay_ms": 3000}, time_ms=old_ms, **history),
        command("arm", id="b", data={"timer": "early", "delay_ms": 1000}, time_ms=old_ms + 1, **history),
        command("arm", id="c", data={"timer": "never", "delay_ms": 900_000}, time_ms=old_ms + 2, **history),
        command(id="d", time_ms=old_ms + 5000, **history),
    )
    fired = [r.envelope for r in batch.events if r.envelope.source == "engine/timers"]
    assert [(e.id.split("#")[1], e.at_ms) for e in fired] == [
        ("early", old_ms + 1001),
        ("late", old_ms + 3000),
    ]
    assert batch.events[-1].envelope.at_ms == old_ms + 5000
    assert [type(r.envelope.data).__name__ for r in batch.events[-3:]] == ["Added"] * 3
    assert set(one.timers) == {"never"}
    assert batch.timers[(STREAM.id, "early")] is None
    same(engine.rebuilt(), one)


def test_a_failing_timer_of_the_past_is_not_lost_with_its_import() -> None:
    """When a timer due in imported history can't be decided, the import is refused and the timer stays armed."""
    engine, one = Engine(), frame()
    _decided(engine, one, command("arm", data={"timer": "explode", "delay_ms": 50}))
    batch = engine.batch(NOW_MS + 200)
    with pytest.raises(Undecidable):
        batch.decide(one, command(id="k2", time_ms=NOW_MS + 100, backfill=True))
    assert batch.timers.get((STREAM.id, "explode"), "untouched") == "untouched"
    assert "explode" in one.timers
    assert batch.events == []


@pytest.mark.parametrize("timer", ["x" * 600, "a\x00b", ""])
def test_a_timer_that_no_row_can_hold_is_refused(timer: str) -> None:
    """A timer's name that the database would refuse costs its own command, not its lane."""
    engine, one = Engine(), frame()
    with pytest.raises(Undecidable) as refused:
        engine.batch().decide(one, command("arm", data={"timer": timer, "delay_ms": 1}))
    assert refused.value.reason == "unstorable"
    same(one, frame())


@pytest.mark.parametrize("delay_ms", [2**63, 2**64 - 1, -(2**63)])
def test_a_timer_beyond_all_time_is_refused(delay_ms: int) -> None:
    """A due time outside 1970 to 9999 is a decider's slip, found before it is stored."""
    engine, one = Engine(), frame()
    with pytest.raises(Undecidable) as refused:
        engine.batch().decide(one, command("arm", data={"timer": "a", "delay_ms": delay_ms}))
    assert refused.value.reason == "unstorable"
    same(one, frame())


def test_an_event_larger_than_any_topic_takes_is_refused() -> None:
    """What couldn't be published is never decided: a publisher must not stand before it for good."""
    engine, one = Engine(), frame()
    with pytest.raises(Undecidable) as refused:
        engine.batch().decide(one, command("misbehave", data={"how": "bloat"}))
    assert refused.value.reason == "unstorable"
    same(one, frame())


def test_effects_and_timers_of_a_batch_are_its_events() -> None:
    """What a decision asks for is in the log beside it, never only in memory."""
    engine, one = Engine(), frame()
    batch = _decided(engine, one, command("ask"), command("arm", id="k2", data={"timer": "a", "delay_ms": 5}))
    assert [type(r.envelope.data) for r in batch.events] == [JourneyStarted, EffectRequested, TimerArmed]
    assert [(r.envelope.index, r.envelope.count) for r in batch.events] == [(0, 2), (1, 2), (0, 1)]
