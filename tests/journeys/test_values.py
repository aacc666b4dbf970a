"""What rules of a journey read and set, and the short cuts that must not show."""

from typing import Any

import pytest

from orchestrator.journeys.lifecycle.commands import HandleEvent, SetContext, Start
from tests.support.spec import NOW_MS, Story, spec_of

COUNTING = """
kind: lifecycle
id: counting
events: [ADD, BOTH, NEST]
context: {n: 0, m: 10, box: {n: 5}, last: ""}
record:
  ADD: {n: {"+": [{var: n}, 7]}}
  BOTH: {n: {"+": [{var: m}, 1]}, m: {"+": [{var: n}, -1]}, last: both}
  NEST: {box.n: {"+": [{var: box.n}, 2]}}
initial: S
states:
  S: {}
"""


def after(document: str, *commands: Any) -> Story:
    story = spec_of(document).given().when(Start())
    for command in commands:
        story = story.when(command, now_ms=NOW_MS)
    return story


def test_counting_adds_its_step() -> None:
    """A counter adds what it says, at any depth; several at once all see the values before."""
    add = HandleEvent("ADD", {})
    assert after(COUNTING, add, add).state.context["n"] == 14
    assert after(COUNTING, HandleEvent("NEST", {})).state.context["box"] == {"n": 7}
    both = after(COUNTING, HandleEvent("BOTH", {})).state.context
    assert (both["n"], both["m"], both["last"]) == (11, -1, "both")


@pytest.mark.parametrize(("value", "expected"), [(1.5, 8.5), ("3", 10), (True, 8), (2**60, 2**60 + 7)])
def test_counting_other_values_follows_the_rules(value: Any, expected: Any) -> None:
    """A counter that a service set to something else than a small whole number behaves as JSONLogic says."""
    story = after(COUNTING, SetContext({"n": value}), HandleEvent("ADD", {}))
    assert story.state.context["n"] == expected


def test_counting_a_text_is_rejected() -> None:
    """What can't be added to is a failing rule, not a crash."""
    after(COUNTING, SetContext({"n": "many"}), HandleEvent("ADD", {})).then_rejected(
        "lifecycle.rule_failed", reason="type_error"
    )


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ('{var: {cat: [box, ".", n]}}', 5),
        ('{"!!": [{var: [""]}]}', True),
        ("{var: [box.missing, 4]}", 4),
        ("{missing: [box.n, nothing]}", ["nothing"]),
        ("{var: state}", "S"),
        ("{var: customer}", "cus-1"),
        ("{var: organization}", "acme"),
        ("{var: event.type}", "E"),
        ("{var: event.timestamp}", NOW_MS),
        ("{var: event.payload.list.1}", "b"),
        ("{var: lastEventAt}", NOW_MS - 5),
    ],
)
def test_rules_read_everything_they_may(rule: str, expected: Any) -> None:
    """Computed paths, the whole of the data, defaults, and each of the engine's own variables are there."""
    spec = spec_of(f"""
kind: lifecycle
id: reading
events: [E]
context: {{box: {{n: 5}}, found: null}}
initial: S
states:
  S: {{on: {{E: {{set: {{found: {rule}}}}}}}}}
""")
    started = spec.given().when(Start(), now_ms=NOW_MS - 5)
    story = started.when(HandleEvent("E", {"list": ["a", "b"]}), now_ms=NOW_MS)
    assert story.state.context["found"] == expected
