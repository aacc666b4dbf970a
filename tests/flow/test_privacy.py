"""Personal values: usable by rules, stored under `private`, shown by no receipt, parameter, dump or view."""

import json
from typing import Any

import msgspec

from orchestrator.core.events import EffectRequested
from orchestrator.journeys.flow import FLOW
from orchestrator.journeys.flow.commands import Continue, Start
from orchestrator.journeys.flow.events import (
    BranchTaken,
    ContextSet,
    GoalReached,
    Resumed,
    RunStarted,
    Waiting,
)
from tests.flow.graphs import document, world
from tests.flow.world import HOUR, NOW_MS, World, definition

EMAIL, PHONE, NAME = "a@example.com", "555-0199", "Annabel"
RECORD = {"attributes": {"tier": "gold"}, "private": {"email": EMAIL, "name": NAME}}
PERSONAL: dict[str, Any] = {
    "events": ["CALLED"],
    "context": {"note": None, "seen": None, "tier": None},
    "pii": ["note", "event.payload.phone"],
    "entry": [
        {"event": "CALLED", "when": {"===": [{"var": "event.payload.phone"}, PHONE]}},
        {"manual": True},
    ],
}


def personal(nodes: dict[str, Any], edges: Any = (), **more: Any) -> World:
    return world(nodes, list(edges), customer=RECORD, secrets=(EMAIL, PHONE, NAME), **(PERSONAL | more))


def test_receipts_leave_personal_inputs_out() -> None:
    """Entry, condition and goal read them and decide by them; what is recorded has the others only."""
    rule = {"and": [{"===": [{"var": "customer.email"}, EMAIL]}, {"===": [{"var": "customer.tier"}, "gold"]}]}
    ask = {"kind": "condition", "branches": [{"id": "known", "when": rule}]}
    goal = {"id": "g", "event": "CALLED", "when": {"===": [{"var": "event.payload.phone"}, PHONE]}}
    flow = personal(
        {"pause": {"kind": "wait", "for": "1d"}, "ask": ask, "known": {"kind": "end"}},
        [("ask", "known", "known"), ("ask", "done", "default")],
        goals=[goal],
    )
    assert flow.hear("CALLED", {"phone": PHONE}).of(RunStarted)[0].inputs == {}
    assert flow.hear("CALLED", {"phone": PHONE}).of(GoalReached)[0].inputs == {}
    (taken,) = flow.wait(10**9).of(BranchTaken)
    assert (taken.branch, taken.inputs) == ("known", {"customer.tier": "gold"})


def test_parameters_that_read_them_are_private_as_a_whole() -> None:
    """By the record, by the document's paths, by an unknown attribute, or by reading everything."""
    params = {
        "to": {"var": "customer.email"},
        "tier": {"var": "customer.tier"},
        "phone": {"cat": ["+", {"var": "entry.payload.phone"}]},
        "id": {"var": "customer_id"},
        "whole": {"var": "customer"},
        "unknown": {"var": "customer.other"},
        "hello": "Dear {{customer.name}}",
    }
    flow = personal({"act": {"kind": "action", "type": "tell", "params": params}})
    (asked,) = flow.hear("CALLED", {"phone": PHONE}).of(EffectRequested)
    assert asked.params == {"tier": "gold", "id": "anna"}
    assert set(asked.private) == {"to", "phone", "whole", "unknown", "hello"}
    assert asked.private["hello"] == f"Dear {NAME}"
    assert asked.private["phone"] == f"+{PHONE}"


def test_context_by_path_is_split() -> None:
    """What a start sets on a personal path is stored under `private`, and rules read it in its place."""
    ask = {"kind": "condition", "branches": [{"id": "ok", "when": {"===": [{"var": "note"}, NAME]}}]}
    flow = personal({"ask": ask, "ok": {"kind": "end"}}, [("ask", "ok", "ok"), ("ask", "done", "default")])
    flow.do(Start({"note": NAME, "tier": 1}))
    (started,) = flow.of(RunStarted)
    assert (started.context, started.private) == ({"seen": None, "tier": 1}, {"context": {"note": NAME}})
    assert flow.of(BranchTaken)[0].branch == "ok"


def test_a_value_made_of_personal_ones_is_personal_wherever_it_is_put() -> None:
    """`record` puts an attribute of the record into an open variable: it is kept private, and stays so."""
    act = {"kind": "action", "type": "tell", "params": {"x": {"var": "seen"}, "y": {"var": "tier"}}}
    flow = World(_recorded(act), record=RECORD, secrets=(EMAIL, PHONE, NAME))
    flow.do(Start()).hear("CALLED", {"phone": PHONE})
    (kept,) = flow.of(ContextSet)
    assert (kept.set, kept.private) == ({"tier": "gold"}, {"seen": EMAIL})
    (asked,) = flow.wait(86_400_000).of(EffectRequested)
    assert (asked.params, asked.private) == ({"y": "gold"}, {"x": EMAIL})


def _recorded(act: dict[str, Any]) -> Any:
    changed = {"seen": {"var": "customer.email"}, "tier": {"var": "customer.tier"}}
    more = PERSONAL | {"entry": [{"manual": True}], "record": {"CALLED": changed}}
    return definition(document({"pause": {"kind": "wait", "for": "1d"}, "act": act}, **more))


def test_events_are_kept_private_as_they_came() -> None:
    """The entry's and the last event's payload are sealed whole: nobody knows what a producer puts there."""
    act = {"kind": "action", "type": "tell", "params": {"x": {"var": "event.payload.any"}}}
    flow = personal({"pause": {"kind": "wait", "for": "1d"}, "act": act}).do(Start())
    flow.do(Continue({"any": 1, "free_text": f"call {PHONE}"}))
    assert flow.of(Resumed)[0].private["event"]["payload"]["free_text"] == f"call {PHONE}"
    dump = FLOW.dump(flow.state)
    assert PHONE in json.dumps(dump.pop("private"))
    assert PHONE not in json.dumps(dump)


def test_a_private_time_zone_is_used_and_not_named() -> None:
    """Where the record keeps the zone private, the log says that it was the customer's and no more."""
    record = {"attributes": {}, "private": {"zone": "Asia/Kathmandu"}, "zone": "Asia/Kathmandu"}
    pause = {"kind": "wait", "local": {"at": "09:00"}}
    ask = {
        "kind": "condition",
        "branches": [{"id": "far", "when": {"in": ["Asia", {"var": "customer.zone"}]}}],
    }
    flow = world(
        {"ask": ask, "pause": pause},
        [("ask", "pause", "far"), ("ask", "done", "default")],
        customer=record,
        secrets=("Kathmandu",),
    ).do(Start())
    assert (flow.of(Waiting)[0].zone, flow.of(BranchTaken)[0].inputs) == ("customer", {})
    assert flow.of(Waiting)[0].due_ms == NOW_MS + 17 * HOUR + HOUR // 4


def test_after_erasure_a_log_still_folds() -> None:
    """With every private part gone, replay gives a state, and the run can still be decided."""
    act = {
        "kind": "action",
        "type": "tell",
        "params": {"x": {"var": "event.payload.any"}, "to": "{{customer.email}}"},
    }
    flow = personal({"pause": {"kind": "wait", "for": "1d"}, "act": act})
    flow.hear("CALLED", {"phone": PHONE})
    flow.do(Continue({"any": 1})).answer("act", "failed", error="x", retryable=True)
    state = None
    for event in flow.events:
        erased = msgspec.structs.replace(event, private={}) if getattr(event, "private", None) else event
        state = FLOW.evolve(state, erased)
    assert state is not None
    assert FLOW.load(json.loads(json.dumps(FLOW.dump(state)))) == state
    dump = FLOW.dump(flow.state)
    assert FLOW.load({**dump, "private": {}}).runs["r1"].event == {}
