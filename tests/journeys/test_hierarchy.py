"""States inside states: what is entered and left, and what is inherited."""

import pytest

from orchestrator.core.events import CommandIgnored, EffectRequested, JourneyStarted
from orchestrator.journeys.lifecycle.commands import HandleEvent, Start
from orchestrator.journeys.lifecycle.events import EventNoted, Moved
from tests.journeys.documents import NESTED
from tests.support.spec import Story, spec_of

SPEC = spec_of(NESTED)


def actions(story: Story) -> list[tuple[str, str]]:
    return [(effect.action, effect.params["message"]) for effect in story.of(EffectRequested)]


def in_state(state: str) -> Story:
    return SPEC.given(JourneyStarted(definition_version=1, at_ms=0, context={"state": state}))


@pytest.mark.parametrize(
    ("state", "type", "target", "expected"),
    [
        ("A", "GO", "B.X", [("exit_a", "A"), ("act", "B.X"), ("enter_b", "B.X"), ("enter_x", "B.X")]),
        ("B.X", "IN", "B.Y.DEEP", [
            ("exit_x", "B.X"), ("act", "B.Y.DEEP"), ("enter_y", "B.Y.DEEP"), ("enter_deep", "B.Y.DEEP"),
        ]),
        ("B.Y.DEEP", "BACK", "B.X", [("exit_deep", "B.Y.DEEP"), ("exit_y", "B.Y.DEEP"), ("enter_x", "B.X")]),
        ("B.X", "BACK", "A", [("exit_x", "B.X"), ("exit_b", "B.X"), ("act", "A"), ("enter_a", "A")]),
        ("B.Y.SHALLOW", "UP", "B.X", [("exit_y", "B.Y.SHALLOW"), ("act", "B.X"), ("enter_x", "B.X")]),
        ("B.X", "UP", "B.X", [("act", "B.X")]),
        ("B.X", "SELF", "B.X", [("act", "B.X")]),
        ("B.Y.DEEP", "OUT", "END", [
            ("exit_deep", "B.Y.DEEP"), ("exit_y", "B.Y.DEEP"), ("exit_b", "B.Y.DEEP"), ("act", "END"),
            ("enter_end", "END"),
        ]),
    ],
)  # fmt: skip
def test_exactly_the_levels_left_and_entered_act(
    state: str, type: str, target: str, expected: list[tuple[str, str]]
) -> None:
    """Exit actions from the inside out see the old state, the transition's and entry actions the new one."""
    story = in_state(state).when(HandleEvent(type, {}))
    assert story.label == target
    assert actions(story) == expected


def test_the_innermost_transition_wins() -> None:
    """A state's own transition is tried before the one it inherits for the same event."""
    assert in_state("B.Y.DEEP").when(HandleEvent("BACK", {})).label == "B.X"
    assert in_state("B.Y.SHALLOW").when(HandleEvent("BACK", {})).label == "A"


def test_an_inherited_transition_is_named_by_its_own_place() -> None:
    """The receipt of a move points at the level whose transition was taken."""
    (moved,) = in_state("B.X").when(HandleEvent("OUT", {})).of(Moved)
    assert (moved.from_state, moved.transition) == ("B.X", "/on/OUT")


def test_a_terminal_state_ignores_everything() -> None:
    """After the end events change nothing, and say so."""
    in_state("END").when(HandleEvent("GO", {})).then(CommandIgnored(reason="terminal_state"))


def test_starting_enters_the_initial_levels() -> None:
    """The initial state's entry actions run when a journey begins there, and not when one is taken over elsewhere."""
    assert actions(SPEC.given().when(Start())) == [("enter_a", "A")]
    assert actions(SPEC.given().when(HandleEvent("UP", {}))) == [("enter_a", "A")]
    taken_over = SPEC.given().when(Start({}, "B.X"))
    assert taken_over.label == "B.X"
    assert actions(taken_over) == []


def test_states_with_states_inside_cannot_be_started_in() -> None:
    """Only a leaf is a place to be."""
    SPEC.given().when(Start({}, "B")).then_rejected("lifecycle.unknown_state", state="B")


def test_candidates_are_tried_in_order() -> None:
    """The first candidate whose condition holds is taken; the refused ones and their inputs are in the receipt."""
    spec = spec_of("""
kind: lifecycle
id: order
events: [E]
context: {n: 0}
initial: S
states:
  S:
    on:
      E:
        - {when: {">": [{var: event.payload.x}, 10]}, target: BIG}
        - {when: {">": [{var: event.payload.x}, 5]}, set: {n: {var: event.payload.x}}}
        - {when: {"===": [{var: event.payload.x}, 1]}, target: ONE}
  BIG: {}
  ONE: {}
""")
    at = "/states/S/on/E"
    start = spec.given().when(Start())
    assert start.when(HandleEvent("E", {"x": 11})).label == "BIG"
    middle = start.when(HandleEvent("E", {"x": 6}), now_ms=1)
    (noted,) = middle.of(EventNoted)
    assert (noted.transition, noted.refused, noted.set) == (f"{at}/1", (f"{at}/0",), {"n": 6})
    assert noted.inputs == {"event.payload.x": 6}
    (moved,) = start.when(HandleEvent("E", {"x": 1})).of(Moved)
    assert (moved.transition, moved.refused) == (f"{at}/2", (f"{at}/0", f"{at}/1"))
    (none,) = start.when(HandleEvent("E", {"x": 0})).of(EventNoted)
    assert (none.transition, len(none.refused)) == ("", 3)


def test_any_event_comes_after_the_named_ones() -> None:
    """`*` takes every listed event the same state doesn't name, before what it inherits."""
    spec = spec_of("""
kind: lifecycle
id: any
events: [A, B, C]
initial: S
on: {C: THIRD}
states:
  S: {on: {A: FIRST, "*": SECOND}}
  FIRST: {}
  SECOND: {}
  THIRD: {}
""")
    targets = {type: spec.given().when(HandleEvent(type, {})).label for type in "ABC"}
    assert targets == {"A": "FIRST", "B": "SECOND", "C": "SECOND"}


def test_recorded_values_come_first() -> None:
    """`record` applies in every state, and conditions of the same event see its result."""
    spec = spec_of("""
kind: lifecycle
id: record
events: [E]
context: {n: 0}
record: {E: {n: {"+": [{var: n}, 1]}}}
initial: S
states:
  S: {on: {E: {when: {">=": [{var: n}, 2]}, target: T}}}
  T: {}
""")
    story = spec.given().when(HandleEvent("E", {}))
    assert (story.label, story.state.context["n"]) == ("S", 1)
    story = story.when(HandleEvent("E", {}))
    assert (story.label, story.state.context["n"]) == ("T", 2)
    assert story.when(HandleEvent("E", {})).state.context["n"] == 3


def test_a_failing_rule_rejects_the_event() -> None:
    """A condition that can't be evaluated is a business no with its reason; nothing has happened."""
    spec = spec_of("""
kind: lifecycle
id: fail
events: [E]
initial: S
states:
  S: {on: {E: {when: {">": [{"+": [{var: event.payload.x}, 1]}, 5]}, target: T}}}
  T: {}
""")
    spec.given().when(HandleEvent("E", {"x": "many"})).then_rejected(
        "lifecycle.rule_failed", state="S", type="E", reason="type_error"
    )
