"""Random valid documents: graphs that lead somewhere, with every kind of node and rules that may fail."""

from typing import Any

from hypothesis import strategies as st

from orchestrator.journeys.flow.graph import required_branches
from orchestrator.journeys.flow.model import EXHAUSTED, FAILURE, NEXT

EVENTS = ["A", "B", "C"]
_rules = st.sampled_from(
    [
        {"var": "flag"},
        {">": [{"var": "event.payload.n"}, 3]},
        {"===": [{"var": "customer.email"}, "secret-record@example.com"]},
        {"===": [{"var": "event.payload.email"}, "secret-event@example.com"]},
        {"+": [{"var": "event.payload.n"}, {"var": "customer.email"}]},  # fails
        {"===": [{"var": "run.key"}, {"var": "event.payload.n"}]},
        {">": [{"var": "run.visits.n1"}, 1]},
        {"!": [{"var": "flag"}]},
        True,
    ]
)
_values = st.sampled_from(
    [
        1,
        "text",
        {"var": "event.payload.n"},
        {"var": "entry.payload"},
        {"var": "customer.email"},
        {"var": "hidden"},
        {"var": "event.payload.email"},
        "Dear {{customer.name}}",
        "{{customer.missing}}",
        {"deep": [{"cat": [{"var": "flag"}, {"var": "run.id"}]}]},
        {"*": [{"var": "event.payload"}, 2]},  # fails
    ]
)
_until = st.sampled_from(
    ["2026-01-06T08:00:00Z", "2020-01-01T00:00:00Z", 1_767_700_000_000, {"var": "event.payload.n"}]
)
_spans = st.sampled_from(["1ms", "30s", "2h", "3d", "400d"])
_quiet = st.sampled_from([True, {"from": "09:00", "to": "17:00"}, {"from": "23:00", "to": "01:00"}])


_CONTACTS: list[dict[str, Any]] = [
    {"contact": "email"},
    {"contact": "email", "class": "exempt"},
    {"contact": "email", "over_cap": "hold", "hold_for": "2h"},
]


@st.composite
def _node(draw: st.DrawFn, index: int) -> dict[str, Any]:
    kind = draw(st.sampled_from(["action", "action", "condition", "split", "wait", "wait"]))
    node: dict[str, Any] = {"kind": kind}
    if kind == "action":
        node |= {"type": "log", "params": {"message": draw(_values), "fields": {"x": draw(_values)}}}
        node |= draw(st.sampled_from([{}, {"wait": False}]))
        node |= draw(st.sampled_from([{}, {"consent": "email"}, {"consent": "sms"}, *_CONTACTS]))
        node["unknown"] = draw(st.sampled_from(["retry", "fail", "skip", "ask"]))
        node["retry"] = {"attempts": 2, "initial": "1s"}
        if draw(st.booleans()):
            node["quiet_hours"] = draw(_quiet)
    elif kind == "condition":
        node["branches"] = [{"id": f"b{n}", "when": draw(_rules)} for n in range(draw(st.integers(1, 2)))]
    elif kind == "split":
        node["branches"] = [
            {"id": "left", "weight": 33.33},
            {"id": "right", "weight": 66.67, "holdout": draw(st.booleans())},
        ]
    else:
        way = draw(st.sampled_from(["for", "until", "local", "event"]))
        node[way] = {
            "for": draw(_spans),
            "until": draw(_until),
            "local": {"at": draw(st.sampled_from(["00:00", "02:30", "18:00"])), "weekdays": ["mon", "sat"]},
            "event": {"type": draw(st.sampled_from(EVENTS)), "match": draw(_rules)},
        }[way]
        if draw(st.booleans()):
            node["timeout"] = draw(_spans)
        if way != "event" and draw(st.booleans()):
            node["quiet_hours"] = draw(_quiet)
        if draw(st.booleans()):
            node["zone"] = "America/New_York"
    if draw(st.integers(0, 3)) == 0:
        node["max_visits"] = draw(st.sampled_from([1, 2, 15]))
    return node


@st.composite
def flows(draw: st.DrawFn) -> dict[str, Any]:
    """A document without errors. Ways back lead only to nodes with a bound."""
    count = draw(st.integers(1, 7))
    inner = {f"n{n}": draw(_node(n)) for n in range(count)}
    nodes: dict[str, Any] = {"begin": {"kind": "start"}, **inner, "done": {"kind": "end", "result": "ok"}}
    order = list(nodes)
    bounded = [id for id, node in inner.items() if "max_visits" in node]
    edges: list[dict[str, str]] = []
    for place, id in enumerate(order[:-1]):
        branches = list(required_branches(nodes[id]))
        for branch in (FAILURE, EXHAUSTED):
            allowed = nodes[id]["kind"] != "start" and (branch == FAILURE or "max_visits" in nodes[id])
            if allowed and draw(st.booleans()):
                branches.append(branch)
        for n, branch in enumerate(branches):
            ahead = (
                ["done"]
                if branch == EXHAUSTED  # bounds have to lead out
                else order[place + 1 : place + 2]
                if n == 0
                else [*order[place + 1 :], *bounded]
            )
            edge = {"from": id, "to": draw(st.sampled_from(ahead))}
            edges.append(edge if branch == NEXT else {**edge, "branch": branch})
    return {
        "kind": "flow",
        "id": "random",
        "events": EVENTS,
        "context": {"flag": False, "hidden": None},
        "pii": ["hidden", "event.payload.email"],
        "zone": "Europe/Berlin",
        "quiet_hours": {"from": "21:00", "to": "08:00"},
        "entry": [
            {"event": "A", "when": draw(_rules.filter(lambda rule: "run." not in str(rule)))},
            {"segment": "s"},
            {"manual": True},
        ],
        "reentry": draw(
            st.sampled_from(["once", "always", {"after": "2h"}, {"key": {"var": "event.payload.n"}}])
        ),
        "runs_at_once": draw(st.integers(1, 4)),
        "exit": [{"event": "C", "when": draw(_rules), "reason": "left"}, *draw(_rule_exits)],
        "goals": [
            {"id": "g", "event": "B", "when": draw(_rules), "within": draw(_spans)},
            {"id": "h", "event": "B", "when": draw(_rules), "ends": draw(st.booleans())},
        ],
        "record": {"B": {"flag": True, "hidden": draw(_values_of_events)}},
        "nodes": nodes,
        "edges": edges,
    }


_rule_exits = st.sampled_from([[], [{"when": {">": [{"var": "run.visits.n0"}, 2]}}]])
_values_of_events = st.sampled_from([{"var": "customer.email"}, {"var": "event.payload.email"}, "x"])
