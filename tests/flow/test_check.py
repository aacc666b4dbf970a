"""A bad document is refused with every problem, each at its place with a cure."""

import copy
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.decider import Problem
from orchestrator.journeys.flow import FLOW
from tests.flow.graphs import LOG, document
from tests.flow.world import EXAMPLES, problems

WELCOME = yaml.safe_load((EXAMPLES / "welcome.yaml").read_text())
CART = yaml.safe_load((EXAMPLES / "cart-abandonment.yaml").read_text())


def found(document: dict[str, Any], severity: str = "error") -> dict[str, Problem]:
    return {one.pointer: one for one in problems(document) if one.severity == severity}


def changed(base: dict[str, Any], change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    copied = copy.deepcopy(base)
    change(copied)
    return copied


def _edge(n: int, **more: str) -> Callable[[dict[str, Any]], Any]:
    return lambda d: d["edges"][n].update(more)


def _node(id: str, **more: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda d: d["nodes"].setdefault(id, {}).update(more)


GRAPH: list[tuple[str, Callable[[dict[str, Any]], Any], str, str]] = [
    ("no start", lambda d: d["nodes"].update(begin=LOG), "/nodes", "no node is the start"),
    ("two starts", _node("second", kind="start"), "/nodes/second/kind", "a second start"),
    ("no end", lambda d: [d["nodes"].update({e: LOG}) for e in ("welcomed", "reminded", "unreached")], "/nodes",
     "no node is an end"),
    ("orphan", _node("alone", kind="end"), "/nodes/alone", "no way leads from the start"),
    ("dead end", lambda d: d["edges"].pop(6), "/nodes/welcome_points", "no edge leads on"),
    ("unknown target", _edge(1, to="one_dya"), "/edges/1/to", "no node"),
    ("unknown source", _edge(1, **{"from": "nobody"}), "/edges/1/from", "no node"),
    ("missing default", lambda d: d["edges"].pop(5), "/nodes/engagement", "branch default"),
    ("missing branch", lambda d: d["edges"].pop(4), "/nodes/engagement", "branch engaged"),
    ("unknown branch", _edge(4, branch="enraged"), "/edges/4/branch", "no branch enraged"),
    ("edge without branch", lambda d: d["edges"][4].pop("branch"), "/edges/4", "edges with a branch"),
    ("doubled edge", lambda d: d["edges"].append({"from": "begin", "to": "one_day"}), "/edges/9", "second edge"),
    ("after the end", lambda d: d["edges"].append({"from": "welcomed", "to": "reminded"}), "/edges/9/from", "an end"),
    ("back to the start", _edge(8, to="begin"), "/edges/8/to", "back to the start"),
    ("loop", _edge(6, to="one_day"), "/nodes/one_day", "round for ever"),
    ("timeout without edge", _node("one_day", timeout="2d"), "/nodes/one_day", "branch timeout"),
    ("exhausted without bound", _edge(2, branch="exhausted"), "/edges/2/branch", "no branch exhausted"),
]  # fmt: skip
MEANING: list[tuple[str, Callable[[dict[str, Any]], Any], str, str]] = [
    ("span", _node("one_day", **{"for": "9999d"}), "/nodes/one_day/for", "ten years"),
    ("two ways to wait", _node("one_day", until="2026-01-01"), "/nodes/one_day", "for and until"),
    ("no way to wait", lambda d: d["nodes"]["one_day"].pop("for"), "/nodes/one_day", "doesn't say"),
    ("zone", lambda d: d.update(zone="Europe/Berlyn"), "/zone", "no time zone"),
    ("zone of a node", _node("one_day", zone="Mars"), "/nodes/one_day/zone", "no time zone"),
    ("no quiet hours", lambda d: d.pop("quiet_hours"), "/nodes/reminder_sms/quiet_hours", "no quiet hours"),
    ("empty quiet hours", lambda d: d.update(quiet_hours={"from": "08:00", "to": "08:00"}), "/quiet_hours",
     "end when they begin"),
    ("type of a parameter", lambda d: d["nodes"]["welcome_points"]["params"].update(points="100"),
     "/nodes/welcome_points/params/points", "whole number"),
    ("missing parameter", lambda d: d["nodes"]["welcome_points"]["params"].pop("points"), "/nodes/welcome_points",
     "needs the parameter points"),
    ("no action", lambda d: d["nodes"]["welcome_points"].pop("type"), "/nodes/welcome_points", "doesn't say what"),
    ("unknown action", lambda d: d["nodes"].update(welcome_points={"kind": "action", "action": "points"}),
     "/nodes/welcome_points/action", "no action is called"),
    ("unknown variable", lambda d: d["nodes"]["engagement"]["branches"][0].update(when={"var": "engagd"}),
     "/nodes/engagement/branches/0/when", "no variable"),
    ("unknown result", lambda d: d["nodes"]["engagement"]["branches"][0].update(
        when={"var": "action_result_one_day.success"}), "/nodes/engagement/branches/0/when", "no variable"),
    ("unknown field", lambda d: d["nodes"]["engagement"]["branches"][0].update(when={"var": "run.nod"}),
     "/nodes/engagement/branches/0/when", "doesn't exist"),
    ("clock", lambda d: d["nodes"]["engagement"]["branches"][0].update(when={"now": []}),
     "/nodes/engagement/branches/0/when", "not_deterministic"),
    ("operator", lambda d: d["nodes"]["engagement"]["branches"][0].update(when={"equals": [1, 1]}),
     "/nodes/engagement/branches/0/when", "unknown_operator"),
    ("no condition", lambda d: d["nodes"]["engagement"]["branches"][0].update(when="yes"),
     "/nodes/engagement/branches/0/when", "no condition"),
    ("reserved branch", lambda d: d["nodes"]["engagement"]["branches"][0].update(id="default"),
     "/nodes/engagement/branches/0/id", "branch of every"),
    ("unlisted goal", lambda d: d["events"].remove("ORDER_PLACED"), "/goals/0/event", "not among"),
    ("unlisted record", lambda d: d["events"].remove("EMAIL_CLICKED"), "/record/EMAIL_CLICKED", "not among"),
    ("undeclared", lambda d: d["record"].update(EMAIL_OPENED={"opened": 1}), "/record/EMAIL_OPENED/opened",
     "not declared"),
    ("reserved name", lambda d: d["context"].update(customer=1), "/context/customer", "kept by the flow"),
    ("personal path", lambda d: d.update(pii=["other"]), "/pii/0", "neither"),
    ("two goals", lambda d: d["goals"].append(d["goals"][0]), "/goals/1/id", "second goal"),
    ("endless exit", lambda d: d.update(exit=[{"reason": "x"}]), "/exit/0", "end at once"),
    ("entry of two", lambda d: d["entry"][0].update(manual=True), "/entry/0", "one way in"),
    ("instant", lambda d: d.update(start_at="soon"), "/start_at", "no instant"),
    ("order of dates", lambda d: d.update(start_at="2026-02-01", stop_at="2026-01-01"), "/stop_at", "ever enter"),
    ("personal key", lambda d: d.update(reentry={"key": {"var": "customer.email"}}), "/reentry/key", "personal"),
    ("early run", lambda d: d["entry"][0].update(when={"var": "run.id"}), "/entry/0/when", "before there is a run"),
    ("placeholder", lambda d: d["nodes"]["reminder_sms"]["params"].update(template="{{run.nothing}}"),
     "/nodes/reminder_sms/params/template", "doesn't exist"),
    ("class without contact", _node("welcome_points", **{"class": "service"}), "/nodes/welcome_points/class",
     "there is none"),
    ("contact and consent", _node("welcome_email", contact="email"), "/nodes/welcome_email/consent", "by itself"),
    ("held without hold", _node("welcome_points", contact="email", hold_for="1d"), "/nodes/welcome_points/hold_for",
     "nothing is held"),
    ("span of a hold", _node("welcome_points", contact="email", over_cap="hold", hold_for="9999d"),
     "/nodes/welcome_points/hold_for", "ten years"),
    ("policy", _node("welcome_points", timeout="1m", answer_within="10s"), "/nodes/welcome_points", "gives up before"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "pointer", "message"),
    [one[1:] for one in GRAPH + MEANING],
    ids=[one[0] for one in GRAPH + MEANING],
)
def test_a_mistake_is_found_at_its_place(
    change: Callable[[dict[str, Any]], Any], pointer: str, message: str
) -> None:
    """Each mistake put into a good document is told there, in words, with a cure."""
    told = found(changed(WELCOME, change))
    assert pointer in told, told
    assert message in told[pointer].message
    assert told[pointer].cure


def test_all_mistakes_are_told_at_once() -> None:
    """A document with many mistakes is refused with all of them."""
    bad = copy.deepcopy(WELCOME)
    changes = [
        one for one in MEANING if one[0] in {"span", "zone", "type of a parameter", "unknown variable"}
    ]
    for _, change, _, _ in [*changes, GRAPH[3], GRAPH[7]]:
        change(bad)
    follow = {"/nodes/reminder_sms", "/nodes/reminded"}  # nothing leads there without the default branch
    assert set(found(bad)) == {*(one[2] for one in changes), "/nodes/alone", "/nodes/engagement", *follow}


def test_a_contact_by_another_channel_than_the_messages_is_warned_of() -> None:
    """Unless the document says itself where the message goes."""
    sms = {"kind": "action", "type": "send_sms", "params": {"message": "x"}, "contact": "email"}
    assert set(found(document({"sms": sms}), "warning")) == {"/nodes/sms/contact"}
    assert found(document({"sms": sms | {"contact": "sms"}}), "warning") == {}
    told = {"message": "x", "to": "+15550100"}
    assert found(document({"sms": sms | {"params": told, "contact": "whatsapp"}}), "warning") == {}


@pytest.mark.parametrize(
    ("weights", "message"),
    [((90, 9), "sum to 99"), ((33.333, 66.667), "two decimals"), ((50, 50.01), "100.01")],
)
def test_weights_sum_to_a_hundred(weights: tuple[float, float], message: str) -> None:
    """Shares are hundredths of a percent, and all of them."""
    bad = copy.deepcopy(CART)
    for branch, weight in zip(bad["nodes"]["audience"]["branches"], weights, strict=True):
        branch["weight"] = weight
    assert message in found(bad)["/nodes/audience/branches"].message


def test_a_loop_through_a_bounded_node_is_fine() -> None:
    """The cart's reminders go round; without the bound they would for ever."""
    assert found(CART) == {}
    assert (
        "reminder"
        in found(changed(CART, lambda d: d["nodes"]["reminder"].pop("max_visits")))["/nodes/reminder"].message
    )


def test_a_bound_whose_end_leads_back_is_none() -> None:
    """Edges `exhausted` that lead round are refused too: a run would go on by them for ever."""

    def back(d: dict[str, Any]) -> None:
        d["edges"][6]["to"] = "next_evening"  # reminder's `exhausted`
        d["edges"].append({"from": "next_evening", "to": "given_up", "branch": "failure"})

    assert "exhausted" in found(changed(CART, back))["/nodes/reminder"].cure


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        (lambda d: d.pop("nodes"), ""),
        (lambda d: d.update(id="Not An Id"), "/id"),
        (lambda d: d["nodes"]["one_day"].update(fro="1d"), "/nodes/one_day/fro"),
        (lambda d: d["nodes"]["one_day"].update(kind="pause"), "/nodes/one_day/kind"),
        (lambda d: d["nodes"]["one_day"].update({"for": "a day"}), "/nodes/one_day/for"),
        (lambda d: d["nodes"].update({"Bad Name": {"kind": "end"}}), "/nodes"),
        (lambda d: d.update(reentry="sometimes"), "/reentry"),
        (lambda d: d.update(reentry={"after": "1d", "key": 1}), "/reentry"),
    ],
)  # fmt: skip
def test_the_schema_places_what_it_refuses(change: Callable[[dict[str, Any]], Any], pointer: str) -> None:
    """Wrong shapes are told where they are."""
    assert pointer in found(changed(WELCOME, change))


def test_warnings_don_t_refuse() -> None:
    """An endless wait for an event, an unused action or event, a secret in a header: told, not refused."""
    act = {"kind": "action", "type": "send_emial", "params": {}}
    hook = {
        "kind": "action",
        "type": "webhook",
        "params": {"url": "https://example.com/x", "headers": {"Authorization": "x"}},
    }
    flow = document(
        {"wait": {"kind": "wait", "event": {"type": "A"}}, "act": act, "hook": hook},
        events=["A", "B"],
        actions={"unused": {"type": "log", "params": {"message": "x"}}},
    )
    assert found(flow) == {}
    told = found(flow, "warning")
    assert set(told) == {
        "/nodes/wait", "/events/1", "/actions/unused", "/nodes/act/type", "/nodes/hook/params/headers/Authorization"
    }  # fmt: skip
    assert told["/nodes/act/type"].cure == "did you mean send_email?"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(range(len(GRAPH + MEANING))), max_size=6))
def test_however_wrong_a_document_is_it_is_judged(picked: list[int]) -> None:
    """Mistakes in any combination are told, never raised; what has no error compiles."""
    bad = copy.deepcopy(WELCOME)
    for n in picked:
        with suppress(KeyError, IndexError, ValueError):  # an earlier mistake took its place away
            (GRAPH + MEANING)[n][1](bad)
    if not found(bad):
        FLOW.compile(bad)


def test_texts_too_long_to_fill_in_are_told() -> None:
    """A parameter whose placeholders make too large a rule is refused at publishing, not at sending."""
    text = "{{customer.name}} " * 600
    act = {"kind": "action", "type": "tell", "params": {"text": text}}
    assert "/nodes/act/params/text" in found(document({"act": act}))


@pytest.mark.parametrize(
    ("html", "problem"),
    [
        ("<p>{{customer.first_name}}</p>", "none of the message's variables"),
        ({"cat": ["<p>", {"var": "customer.first_name"}]}, "unescaped"),
        ("<p>{{ name }}</p>", ""),
    ],
    ids=["a placeholder", "a rule", "a variable"],
)
def test_values_reach_html_as_variables_alone(html: Any, problem: str) -> None:
    """A document that would put a customer's text into HTML unescaped is refused, naming the place and the cure."""
    params = {"subject": "Hi", "html": html, "variables": {"name": {"var": "customer.first_name"}}}

    def change(flow: dict[str, Any]) -> None:
        flow["nodes"]["welcome_email"]["params"] = params

    errors = found(changed(WELCOME, change))
    if problem:
        place = errors["/nodes/welcome_email/params/html"]
        assert problem in place.message
        assert "variables" in place.cure
    else:
        assert errors == {}
