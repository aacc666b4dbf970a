"""JSONLogic under budgets: the official suite, an oracle, and what is refused."""

import json
import math
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_logic import jsonLogic

from orchestrator.core.rules import (
    RESULT_CHARS_MAX,
    RULE_NODES_MAX,
    Data,
    Rule,
    RuleFailed,
    check_rule,
    counter_of,
    is_rule,
    truthy,
)
from orchestrator.core.templates import Template

SUITE = json.loads((Path(__file__).parent / "jsonlogic" / "tests.json").read_text())


def reason(rule: Any, data: Any = None) -> str:
    with pytest.raises(RuleFailed) as failed:
        Rule(rule).value(Data(data or {}))
    return failed.value.reason


def test_the_official_suite_passes() -> None:
    """Every case of JSONLogic's shared compatibility suite gives its expected result, and conditions agree with it."""
    cases = [case for case in SUITE if not isinstance(case, str)]
    assert len(cases) == 275
    for source, data, expected in cases:
        rule, values = Rule(source), Data({} if data is None else data)
        assert json.dumps(rule.value(values)) == json.dumps(expected) or rule.value(values) == expected, (
            source
        )
        assert rule.holds(values) == truthy(expected), source


_numbers = st.integers(-1_000, 1_000)
_words = st.sampled_from(["a", "b", "cart", "order"])
_names = st.sampled_from(["n", "m", "s", "t", "deep.n", "missing"])
_number = st.recursive(
    _numbers | st.sampled_from([{"var": "n"}, {"var": "m"}, {"var": "deep.n"}]),
    lambda inner: st.builds(
        lambda op, a, b: {op: [a, b]}, st.sampled_from(["+", "-", "min", "max"]), inner, inner
    ),
    max_leaves=8,
)
_text = st.one_of(_words, st.sampled_from([{"var": "s"}, {"var": "t"}]))
_truth = st.recursive(
    st.one_of(
        st.builds(
            lambda op, a, b: {op: [a, b]},
            st.sampled_from(["<", ">", "<=", ">=", "===", "!=="]),
            _number,
            _number,
        ),
        st.builds(lambda op, a, b: {op: [a, b]}, st.sampled_from(["===", "!=="]), _text, _text),
        st.builds(lambda a: {"in": [a, ["a", "cart"]]}, _text),
        st.builds(lambda names: {"!!": [{"missing": names}]}, st.lists(_names, max_size=3)),
    ),
    lambda inner: st.one_of(
        st.builds(
            lambda op, parts: {op: parts},
            st.sampled_from(["and", "or"]),
            st.lists(inner, min_size=1, max_size=3),
        ),
        st.builds(lambda part: {"!": [part]}, inner),
        st.builds(lambda a, b, c: {"if": [a, b, c]}, inner, inner, inner),
    ),
    max_leaves=12,
)


@given(_truth, _numbers, _numbers, _words, _words)
def test_an_independent_implementation_agrees(rule: Any, n: int, m: int, s: str, t: str) -> None:
    """Random conditions over numbers and texts mean the same to a second JSONLogic implementation."""
    data = {"n": n, "m": m, "s": s, "t": t, "deep": {"n": n - m}}
    assert Rule(rule).holds(Data(data)) == bool(jsonLogic(rule, data))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"now": []}, "not_deterministic"),
        ({">": [{"timestamp": [{"now": []}]}, 5]}, "not_deterministic"),
        ({"vr": "x"}, "unknown_operator"),
        ({"try": [{"var": "x"}, 1]}, "unknown_operator"),
        ({"map": [1]}, "bad_rule"),
        ({"a": 1, "b": 2}, "bad_rule"),
        ({"+": ["a", 1]}, "type_error"),
        ({"/": [1, 0]}, "type_error"),
        ({"datetime": "yesterday"}, "bad_rule"),
    ],
)
def test_failures_have_stable_reasons(rule: Any, expected: str) -> None:
    """Every way a rule can fail has one word which outcomes and metrics can rely on."""
    assert reason(rule) == expected


def test_a_folded_away_clock_is_no_clock() -> None:
    """A branch that can never run doesn't make a rule depend on the clock."""
    assert Rule({"if": [False, {"now": []}, 1]}).value(Data({})) == 1


def test_work_is_bounded() -> None:
    """A rule whose work grows with its data stops at the budget, not at the end of memory."""
    doubling = {
        "reduce": [{"var": "l"}, {"cat": [{"var": "accumulator"}, {"var": "accumulator"}]}, "abcdefgh"]
    }
    assert reason(doubling, {"l": list(range(30))}) == "over_budget"
    joining = {"reduce": [{"var": "l"}, {"merge": [{"var": "accumulator"}, {"var": "accumulator"}]}, [1]]}
    assert reason(joining, {"l": list(range(30))}) == "over_budget"
    assert (
        reason({"map": [{"var": "l"}, {"map": [{"val": [[1], "l"]}, 1]}]}, {"l": [1] * 5_000})
        == "over_budget"
    )


@pytest.mark.parametrize(
    "body",
    [
        [{"var": "accumulator"}, {"var": "accumulator"}],
        {"merge": [[{"var": "accumulator"}], [{"var": "accumulator"}]]},
        {"map": [[1, 2], {"val": [[2], "accumulator"]}]},
        {"reduce": [{"var": "accumulator"}, [{"var": "current"}, {"var": "current"}], 0]},
        [{"var": ""}, 1],
        {"if": [True, [{"val": "accumulator"}, 1], 0]},
    ],
)
def test_growth_which_the_budget_does_not_see_is_refused(body: Any) -> None:
    """Lists of lists of the accumulator double at each step without costing the engine anything: refused unseen."""
    assert reason({"reduce": [{"var": "l"}, body, "abcdefgh"]}, {"l": [1]}) == "too_large"


def test_collecting_values_in_a_reduce_is_allowed() -> None:
    """The everyday way of building a list from another still works."""
    rule = {"reduce": [{"var": "l"}, {"merge": [{"var": "accumulator"}, [{"var": "current.x"}]]}, []]}
    assert Rule(rule).value(Data({"l": [{"x": 1}, {"x": 2}]})) == [1, 2]


def test_results_are_bounded() -> None:
    """A result that would not fit a journey's context is refused before it is built."""
    long_text = "x" * (RESULT_CHARS_MAX + 1)
    assert reason({"var": "t"}, {"t": long_text}) == "result_too_large"
    assert reason({"var": "t"}, {"t": {"a": [long_text]}}) == "result_too_large"
    assert (
        reason({"map": [{"var": "l"}, {"val": [[2], "t"]}]}, {"l": [1] * 20, "t": "x" * 1_000})
        == "result_too_large"
    )
    assert Rule({"var": "t"}).value(Data({"t": "x" * RESULT_CHARS_MAX})) == "x" * RESULT_CHARS_MAX


def test_too_large_results_are_not_built() -> None:
    """The size of a result that repeats a large value is asked before the result exists."""
    rule = Rule({"map": [{"var": "l"}, {"val": [[2], "t"]}]})
    data = Data({"l": [1] * 14, "t": "x" * 10_000})
    tracemalloc.start()
    try:
        with pytest.raises(RuleFailed) as failed:
            rule.value(data)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert failed.value.reason == "result_too_large"
    assert peak_bytes < 50_000


def test_rules_are_bounded() -> None:
    """Large and deep rules are refused at compile time."""
    assert reason({"or": [True] * RULE_NODES_MAX}) == "too_large"
    assert reason({"cat": ["x" * 20_000]}) == "too_large"
    deep: Any = True
    for _ in range(200):
        deep = {"!": [deep]}
    assert reason(deep) == "too_deep"
    nested: Any = [1]
    for _ in range(4):
        nested = {"map": [nested, [{"var": ""}, {"var": ""}]]}
    assert reason(nested) == "too_large"


@pytest.mark.parametrize("value", [2**70, -(2**70), [[2**65]]])
def test_values_rules_cannot_read_have_a_reason(value: Any) -> None:
    """Integers beyond 64 bits are an error with a name, not a silent float."""
    with pytest.raises(RuleFailed) as failed:
        Data({"x": value})
    assert failed.value.reason == "bad_input"


def test_deep_values_do_not_crash() -> None:
    """A payload as deep as a parser lets through can be handed to rules."""
    deep: Any = 1
    for _ in range(1_000):
        deep = [deep]
    assert Rule({"!!": [{"var": "x"}]}).holds(Data({"x": deep}))


def test_an_empty_object_is_falsy_everywhere() -> None:
    """The engine's own exception to JavaScript is the same inside a rule, at its end and in `truthy`."""
    data = Data({"m": {}, "full": {"a": 1}})
    assert not Rule({"var": "m"}).holds(data)
    assert Rule({"var": "full"}).holds(data)
    assert Rule({"if": [{"var": "m"}, 1, 2]}).value(data) == 2
    assert not truthy({})
    assert not truthy([])
    assert truthy("0")
    assert not truthy("")
    assert not truthy(None)


def test_reads_name_what_a_rule_looks_at() -> None:
    """A rule's inputs are known before it runs; computed paths are admitted to be unknown."""
    rule = Rule({"and": [{"var": "a.b"}, {">": [{"var": ["x", 0]}, 1]}, {"missing": ["z"]}]})
    assert set(rule.reads) == {("a", "b"), ("x",), ("z",)}
    assert rule.reads_all
    assert not Rule({"var": {"var": "k"}}).reads_all


def test_check_lists_every_failure_with_its_place() -> None:
    """All unknown operators of a rule are reported, each by its JSON Pointer."""
    found = check_rule({"if": [True, {"vr": "x"}, {"foo": [1]}]})
    assert [(failure.pointer, failure.reason) for failure in found] == [
        ("/if/1", "unknown_operator"),
        ("/if/2", "unknown_operator"),
    ]
    assert check_rule({"===": [{"var": "a"}, 1]}) == []


def test_text_is_text() -> None:
    """A rule that is a plain text stands for itself, even if it looks like JSON."""
    assert Rule("x").value(Data({})) == "x"
    assert Rule("[1]").value(Data({})) == "[1]"


@given(st.integers(-(2**52), 2**52), st.integers(-(2**52), 2**52))
def test_counting_by_hand_is_what_the_engine_does(value: int, step: int) -> None:
    """A rule that adds a whole number to a variable is recognised, and plain addition gives the engine's result."""
    source = {"+": [{"var": "a.n"}, step]}
    assert counter_of(source) == (("a", "n"), step)
    result = Rule(source).value(Data({"a": {"n": value}}))
    assert (result, type(result)) == (value + step, int)


@pytest.mark.parametrize(
    "source",
    [
        {"+": [{"var": "n"}, 1, 2]},
        {"+": [{"var": "n"}, True]},
        {"+": [{"var": "n"}, 1.5]},
        {"+": [{"var": ["n", 0]}, 1]},
        {"+": [{"var": ""}, 1]},
        {"-": [{"var": "n"}, 1]},
        {"+": [{"var": "n"}, 1], "x": 1},
        5,
    ],
)
def test_other_sums_are_left_to_the_engine(source: Any) -> None:
    """Only the plainest form of counting is recognised."""
    assert counter_of(source) is None


def test_templates_render_rules_inside_literals() -> None:
    """Only objects whose single key is an operator are rules; `literal` protects the ones that look alike."""
    source = {
        "user": {"var": "id"},
        "type": "order",
        "tags": ["a", {"cat": [{"var": "id"}, "!"]}],
        "raw": {"literal": {"var": "x"}},
    }
    template = Template(source)
    assert template.render(Data({"id": "u"})) == {
        "user": "u",
        "type": "order",
        "tags": ["a", "u!"],
        "raw": {"var": "x"},
    }
    assert template.reads == (("id",), ("id",))
    constant = Template({"a": [1, {"b": None}]})
    assert constant.constant
    assert constant.value == {"a": [1, {"b": None}]}
    assert is_rule({"var": "x"})
    assert not is_rule({"user": "x"})


def test_templates_share_no_state() -> None:
    """Rendering twice gives equal, separate values: nobody can change another decision's result."""
    template = Template({"list": [{"var": "n"}]})
    first, second = template.render(Data({"n": 1})), template.render(Data({"n": 1}))
    first["list"].append(2)
    assert second == {"list": [1]}
    assert not math.isnan(second["list"][0])
