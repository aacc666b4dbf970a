"""Validation: every problem at once, each with its place and its cure."""

import copy
import json
from collections.abc import Callable
from typing import Any

import jsonschema_rs
import pytest
import yaml

from orchestrator import definitions
from orchestrator.core.decider import Problem
from orchestrator.journeys import DOCUMENTED
from tests.support.spec import EXAMPLES

GOOD: dict[str, Any] = yaml.safe_load("""
kind: lifecycle
id: good
events: [GO, BACK, PAY]
context: {count: 0, box: {a: 1}}
initial: A
states:
  A: {"on": {GO: {target: B, when: {"<": [{var: count}, 5]}, set: {count: {"+": [{var: count}, 1]}}, actions: [tell]}}}
  B:
    initial: X
    "on": {BACK: A}
    after: {delay: 1d, target: A}
    states:
      X: {"on": {PAY: B.Y}}
      Y: {entry: [tell]}
  END: {terminal: true}
actions:
  tell: {type: log, message: hello}
""")
GOOD["states"]["A"]["on"]["PAY"] = "END"
Change = Callable[[dict[str, Any]], Any]


def changed(*changes: Change) -> list[Problem]:
    document = copy.deepcopy(GOOD)
    for change in changes:
        change(document)
    return definitions.check(document)


def at(path: str, new: Any) -> Change:
    def change(document: dict[str, Any]) -> None:
        *steps, last = path.split("/")
        place: Any = document
        for step in steps:
            place = place[int(step)] if isinstance(place, list) else place[step]
        place[last] = new

    return change


def without(path: str) -> Change:
    def change(document: dict[str, Any]) -> None:
        *steps, last = path.split("/")
        place: Any = document
        for step in steps:
            place = place[step]
        del place[last]

    return change


def test_a_good_document_has_no_problem() -> None:
    """The document the others are made from is clean, and so are the examples, warnings aside."""
    assert changed() == []
    for path in (EXAMPLES / "lifecycle").glob("*.yaml"):
        assert definitions.validate(path.read_bytes()).errors == (), path


SHAPE = [
    ("evnts", at("evnts", []), "/evnts", "no field", "did you mean `events`?"),
    ("unknown field", at("colour", 1), "/colour", "no field", "allowed here: actions"),
    ("missing", without("events"), "", "required", "add `events:`"),
    ("type", at("initial", 5), "/initial", "string", "type string"),
    ("pattern", at("id", "Bad Id"), "/id", "Bad Id", "small letters"),
    ("duration", at("states/B/after/delay", "3 days"), "/states/B/after/delay", "3 days", "such as 500ms"),
    ("enum", at("actions/tell/type", "mail"), "/actions/tell/type", "mail", "webhook, publish, log"),
    ("one kind's field", at("actions/tell/url", "x"), "/actions/tell/url", "no field", "remove it"),
    ("required by type", at("actions/tell", {"type": "webhook"}), "/actions/tell", "url", "add `url:`"),
    ("const", at("actions/tell/on_failure", "explode"), "/actions/tell/on_failure", "ignore", "ignore"),
    ("twice", at("events", ["GO", "GO"]), "/events", "non-unique", "twice"),
    ("no events", at("events", []), "/events", "", "at least one"),
    ("minimum", at("actions/tell/retry", {"attempts": 0}), "/actions/tell/retry/attempts", "0", "from 1"),
    (
        "maximum",
        at("actions/tell/retry", {"attempts": 1000}),
        "/actions/tell/retry/attempts",
        "1000",
        "up to 100",
    ),
    ("name", at("states/1x", {}), "/states", "1x", "rename"),
    ("shorthand", at("states/A/on/GO", "no state!"), "/states/A/on/GO", "no state!", ""),
    ("neither", at("states/A/on/GO", 7), "/states/A/on/GO", "7", "array or object or string"),
    (
        "inside a list",
        at("states/A/on/GO", [{"targt": "B"}]),
        "/states/A/on/GO/0/targt",
        "no field",
        "`target`",
    ),
    ("kind", at("kind", "lifcycle"), "/kind", "lifcycle", "lifecycle"),
    ("no kind", without("kind"), "/kind", "doesn't say its kind", "lifecycle"),
    ("odd kind", at("kind", ["lifecycle"]), "/kind", "no kind", "lifecycle"),
]


@pytest.mark.parametrize(
    ("change", "pointer", "message", "cure"), [case[1:] for case in SHAPE], ids=[c[0] for c in SHAPE]
)
def test_violations_of_the_shape(change: Change, pointer: str, message: str, cure: str) -> None:
    """Each violation of the schema is placed, said in words, and comes with what to do."""
    (problem,) = changed(change)
    assert problem.pointer == pointer
    assert message in problem.message
    assert cure in problem.cure
    assert problem.severity == "error"


RULE = "states/A/on/GO/when"
SENSE = [
    ("unknown initial", at("initial", "C"), "/initial", "C is no state", "one of: A, B, B.X"),
    ("terminal initial", at("initial", "END"), "/initial", "terminal", "another"),
    ("unknown target", at("states/A/on/GO/target", "BB"), "/states/A/on/GO/target", "BB is no state", ""),
    ("short target", at("states/B/on/BACK", "Y"), "/states/B/on/BACK", "Y is no state", "did you mean B.Y?"),
    ("no initial child", without("states/B/initial"), "/states/B", "no initial", "one of: X, Y"),
    (
        "wrong initial child",
        at("states/B/initial", "Z"),
        "/states/B/initial",
        "'Z' is no state inside B",
        "X, Y",
    ),
    ("initial of a leaf", at("states/A/initial", "X"), "/states/A/initial", "no states inside", "remove"),
    ("terminal goes on", at("states/END/on", {"GO": "A"}), "/states/END/on", "terminal", "remove `on`"),
    (
        "terminal waits",
        at("states/END/after", {"delay": "1d", "target": "A"}),
        "/states/END/after",
        "terminal",
        "",
    ),
    ("unlisted type", at("states/A/on/GOO", "B"), "/states/A/on/GOO", "not among", "did you mean GO?"),
    (
        "unlisted trigger",
        at("states/A/triggers", {"events": ["XYZ"]}),
        "/states/A/triggers/events/0",
        "XYZ",
        "add it",
    ),
    ("unlisted record", at("record", {"XYZ": {"count": 1}}), "/record/XYZ", "XYZ", "add it to `events`"),
    ("unknown action", at("states/A/exit", ["tel"]), "/states/A/exit/0", "tel", "did you mean tell?"),
    ("after target", at("states/B/after/target", "C"), "/states/B/after/target", "C is no state", ""),
    ("after itself", at("states/B/after/target", "B"), "/states/B/after/target", "own target", "outside"),
    ("after an age", at("states/B/after/delay", "9999999w"), "/states/B/after/delay", "ten years", "30d"),
    (
        "undeclared variable",
        at("states/A/on/GO/set", {"coun": 1}),
        "/states/A/on/GO/set/coun",
        "not declared",
        "count?",
    ),
    (
        "reserved variable",
        at("states/A/on/GO/set", {"state": "B"}),
        "/states/A/on/GO/set/state",
        "engine",
        "target",
    ),
    ("reserved context", at("context/event", 1), "/context/event", "engine", "another name"),
    (
        "through a number",
        at("states/A/on/GO/set", {"count.x": 1}),
        "/states/A/on/GO/set/count.x",
        "no object",
        "",
    ),
    ("undeclared pii", at("pii", ["phone"]), "/pii/0", "phone", "declare"),
    (
        "clock",
        at(RULE, {">": [{"now": []}, 1]}),
        "/states/A/on/GO/when",
        "not_deterministic",
        "event.timestamp",
    ),
    ("unknown operator", at(RULE, {"vr": "x"}), "/states/A/on/GO/when", "did you mean `var`", "JSONLogic"),
    ("inside a rule", at(RULE, {"and": [True, {"vr": "x"}]}), "/states/A/on/GO/when/and/1", "vr", ""),
    ("too large a rule", at(RULE, {"or": [True] * 600}), "/states/A/on/GO/when", "too_large", "simplify"),
    ("an empty rule", at(RULE, {}), "/states/A/on/GO/when", "no condition", "remove"),
    ("a text as rule", at(RULE, "yes"), "/states/A/on/GO/when", "no condition", ""),
    ("rule in a value", at("states/A/on/GO/set/count", {"now": []}), "/states/A/on/GO/set/count", "now", ""),
    (
        "rule in params",
        at("actions/tell/message", {"cat": [{"now": []}]}),
        "/actions/tell/message",
        "now",
        "",
    ),
    (
        "deep in params",
        at("actions/tell/fields", {"a": [{"map": [1]}]}),
        "/actions/tell/fields/a/0",
        "map",
        "",
    ),
    (
        "url",
        at("actions/w", {"type": "webhook", "url": "ftp://x"}),
        "/actions/w/url",
        "web address",
        "https://",
    ),
    (
        "own topic",
        at("actions/p", {"type": "publish", "topic": "journeys.commands"}),
        "/actions/p/topic",
        "own",
        "",
    ),
    (
        "delays",
        at("actions/tell/retry", {"initial": "1h", "max": "1m"}),
        "/actions/tell/retry",
        "shorter",
        "raise",
    ),
    ("patience", at("actions/tell/answer_within", "1s"), "/actions/tell", "gives up", "raise"),
]


@pytest.mark.parametrize(
    ("change", "pointer", "message", "cure"), [case[1:] for case in SENSE], ids=[c[0] for c in SENSE]
)
def test_problems_of_sense(change: Change, pointer: str, message: str, cure: str) -> None:
    """What the schema can't see is found as well, with its place and cure."""
    found = [problem for problem in changed(change) if problem.severity == "error"]
    assert [problem.pointer for problem in found] == [pointer]
    assert message in found[0].message
    assert cure in found[0].cure


WARNINGS = [
    ("never tried", at("states/A/on/BACK", [{"target": "B"}, {"target": "A"}]), "/states/A/on/BACK/1", "never tried"),
    ("unused action", at("actions/idle", {"type": "log", "message": "x"}), "/actions/idle", "never used"),
    ("gate of nothing", at("states/A/triggers", {"events": ["GO", "PAY"], "when": {"==": [{"var": "box.a"}, 1]}}),
     "/states/A/triggers/when", "there are none"),
    ("typo in a rule", at(RULE, {"<": [{"var": "cuont"}, 5]}), "/states/A/on/GO/when", "cuont"),
    ("unreachable", at("states/LOST", {}), "/states/LOST", "no event leads to LOST"),
    ("blocked", at("states/A/triggers", {"events": ["GO"]}), "/states/A/on/PAY", "never taken"),
    ("secret", at("actions/tell", {"type": "webhook", "url": "https://x", "headers": {"Authorization": "x"}}),
     "/actions/tell/headers/Authorization", "secret"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "pointer", "message"), [case[1:] for case in WARNINGS], ids=[c[0] for c in WARNINGS]
)
def test_warnings(change: Change, pointer: str, message: str) -> None:
    """What works but can't be meant is a warning: the document may still be published."""
    (problem,) = changed(change)
    assert (problem.pointer, problem.severity) == (pointer, "warning")
    assert message in problem.message
    assert problem.cure


def test_inactivity_in_a_circle_is_an_error() -> None:
    """Two states whose silence leads to each other would move for ever."""
    (problem,) = changed(at("states/A/after", {"delay": "1h", "target": "B"}))
    assert "leads back" in problem.message
    assert problem.severity == "error"


def test_an_action_that_repeats_itself_is_pointed_out() -> None:
    """An action which on failure sends the event that runs it again, unconditionally, is a warning."""
    (problem,) = changed(
        at("actions/tell/on_failure", {"event": "FAILED"}),
        at("states/B/on/FAILED", {"actions": ["tell"]}),
    )
    assert problem.pointer == "/states/B/on/FAILED"
    assert "without end" in problem.message


NEVER = [
    ({"===": [{"var": "state"}, "B"]}, True),
    ({"===": [{"var": "state"}, "A"]}, False),
    ({">": [{"var": "stepIndex"}, 7]}, False),  # set by nobody here: a service may set it
    ({"and": [{"===": [{"var": "mode"}, "fast"]}, {">": [{"var": "event.payload.x"}, 1]}]}, True),
    ({"or": [{"===": [{"var": "mode"}, "fast"]}, {">": [{"var": "event.payload.x"}, 1]}]}, False),
    ({"!": [{"===": [{"var": "mode"}, "slow"]}]}, True),
    ({"and": [{"!": [{"===": [{"var": "mode"}, "slow"]}]}, {"var": "customer"}]}, True),
    ({"!": [{"and": [{"===": [{"var": "mode"}, "fast"]}, {"var": "customer"}]}]}, False),
    ({"!": [{"or": [{"===": [{"var": "mode"}, "slow"]}, {"var": "customer"}]}]}, True),
    ({"!!": [{"and": [{"===": [{"var": "mode"}, "fast"]}, {"var": "customer"}]}]}, True),
    ({"in": [{"var": "mode"}, ["fast", "faster"]]}, True),
    ({"<": [{"var": "count"}, -1]}, False),  # it counts: given up as unbounded
]


@pytest.mark.parametrize(("rule", "never"), NEVER)
def test_conditions_that_can_never_hold(rule: Any, never: bool) -> None:
    """A condition is called impossible only if no event sequence can make it hold; doubts favour the author."""
    found = changed(
        at("context/mode", "slow"),
        at("states/B/on/GO", {"target": "A", "set": {"mode": "fast"}}),
        at("states/A/on/BACK", {"set": {"mode": "slow"}}),
        at("states/A/on/GO", {"target": "B", "set": {"mode": "slow"}, "actions": ["tell"]}),
        at("states/B/on/GO", {"target": "END", "set": {"mode": "fast"}}),
        at("record", {"BACK": {"count": {"min": [{"+": [{"var": "count"}, 1]}, 1_000]}}}),
        at("states/A/on/PAY", {"target": "END", "when": rule}),
    )
    impossible = [problem for problem in found if "can never hold" in problem.message]
    assert [problem.pointer for problem in impossible] == (["/states/A/on/PAY/when"] if never else [])


def test_a_condition_is_judged_in_every_state_that_inherits_it() -> None:
    """An inherited condition which holds in one of its states is fine."""
    for leaf in ("A", "B.X", "B.Y"):
        assert changed(at("on", {"BACK": {"target": "END", "when": {"===": [{"var": "state"}, leaf]}}})) == []
    (problem,) = changed(at("on", {"BACK": {"target": "END", "when": {"===": [{"var": "state"}, "END"]}}}))
    assert problem.pointer == "/on/BACK/when", "nothing is asked in a terminal state"
    nowhere = at("on", {"GO": {"target": "END", "when": {"===": [{"var": "state"}, "B"]}}})
    (problem,) = changed(nowhere)
    assert (problem.pointer, problem.severity) == ("/on/GO/when", "warning")


def test_all_problems_come_at_once() -> None:
    """A document wrong in many places is told all of them in one go, of shape first, then of sense."""
    shape = changed(
        at("id", "Bad Id"), at("states/A/entri", []), at("actions/tell/level", "loud"), at("initial", 1)
    )
    assert {p.pointer for p in shape} == {"/id", "/states/A/entri", "/actions/tell/level", "/initial"}
    sense = changed(at("initial", "C"), at(RULE, {"vr": 1}), at("states/A/exit", ["x"]), at("pii", ["nope"]))
    assert {p.pointer for p in sense} == {"/initial", "/states/A/on/GO/when", "/states/A/exit/0", "/pii/0"}


def test_reports_place_problems_in_the_file() -> None:
    """Validation of bytes never raises; it sorts errors before warnings and knows their lines."""
    text = b"kind: lifecycle\nid: x\nevents: [A]\ninitial: S\nstates:\n  S:\n    on:\n      B: T\n  T: {}\n  U: {}\n"
    report = definitions.validate(text)
    assert [(p.pointer, report.line(p)) for p in report.errors] == [("/states/S/on/B", 8)]
    broken = definitions.validate(b"a: [")
    assert broken.document is None
    assert "line" in broken.errors[0].message
    assert broken.line(broken.errors[0]) is None
    with pytest.raises(definitions.InvalidDocument) as invalid:
        definitions.load(text)
    assert invalid.value.problems == list(report.errors)


def test_a_built_definition_is_ready() -> None:
    """`build` gives what deciders need: identity, version, document, compiled form, event types."""
    definition = definitions.build("lifecycle", "good", 3, GOOD)
    assert (definition.kind, definition.id, definition.version) == ("lifecycle", "good", 3)
    assert definition.listens == {"GO", "BACK", "PAY"}
    assert definition.document == GOOD
    with pytest.raises(KeyError):
        definitions.build("nothing", "good", 1, GOOD)


def test_the_schema_is_exported() -> None:
    """The exported schemas are valid JSON Schemas which the examples fit, for each kind and for all together."""
    every = definitions.export()
    for kind in DOCUMENTED:
        documents = [
            d
            for p in EXAMPLES.rglob("*.yaml")
            if (d := definitions.load(p.read_bytes())).get("kind") == kind.name
        ]
        assert documents, f"no example of {kind.name}"
        for schema in (every, definitions.export(kind.name)):
            validator = jsonschema_rs.Draft202012Validator(json.loads(json.dumps(schema)), offline=True)
            for document in documents:
                assert validator.is_valid(document), document["id"]
            assert not validator.is_valid({"kind": kind.name})
            assert not validator.is_valid({"kind": kind.name[:-1]})
    with pytest.raises(KeyError):
        definitions.export("nothing")
