"""Which sequence a customer belongs to, and the receipt for it."""

import json
from typing import Any

from orchestrator.journeys.experience.events import NotRouted, Routed
from tests.experience.documents import GATED, ONE_SEQUENCE
from tests.experience.world import HOUR, NOW_MS, World


def two(first: dict[str, Any], second: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """Two sequences, each with its own distribution."""
    return {
        **ONE_SEQUENCE,
        "sequences": [
            {"id": "first", "distribution": "line", **first},
            {"id": "second", "distribution": "drawing", **(second or {})},
        ],
        "distributions": {"line": {"mechanism": "queue"}, "drawing": {"mechanism": "draw"}},
        **more,
    }


def seat(document: dict[str, Any], **world: Any) -> str:
    journey = World(document, **world).do("start")
    return journey.state.seat.sequence if journey.state.seat else ""


def test_priority_decides_then_the_order_in_the_document() -> None:
    """The lowest number is tried first; equals in the order in which they are written."""
    assert seat(two({})) == "first"
    assert seat(two({"priority": 2}, {"priority": 1})) == "second"


def test_a_rule_over_the_customer_decides() -> None:
    """Attributes of the customer's record are read, private ones too."""
    rule = two({"when": {"==": [{"var": "customer.tier"}, "gold"]}})
    assert seat(rule, record={"attributes": {"tier": "gold"}}) == "first"
    assert seat(rule, record={"private": {"tier": "gold"}}) == "first"
    assert seat(rule, record={"attributes": {"tier": "tin"}}) == "second"


def test_a_rule_over_time_decides() -> None:
    """`now_ms` is lane time."""
    assert seat(two({"when": {"<": [{"var": "now_ms"}, NOW_MS]}})) == "second"
    assert seat(two({"when": {"<": [{"var": "now_ms"}, NOW_MS + 1]}})) == "first"


def test_attributes_and_segments_come_from_trusted_producers() -> None:
    """A customer can't call itself a member of a segment."""
    rule = two(
        {"when": {"or": [{"in": ["vips", {"var": "segments"}]}, {">": [{"var": "attributes.spent"}, 100]}]}}
    )
    for known in ({"segments": ["vips"]}, {"attributes": {"spent": 200}}):
        assert World(rule).do("start", **known).rule == "experience.untrusted_source"
        assert World(rule).trusted("start", **known).state.seat.sequence == "first"
    journey = World(rule).do("start")
    assert journey.do("set_attributes", segments=["vips"]).rule == "experience.untrusted_source"
    assert (
        journey.trusted("set_attributes", segments=["vips"]).do("request_reroute").state.seat.sequence
        == "first"
    )


def test_a_rule_reads_the_codes_id_never_the_code() -> None:
    """`access_code` is the id of the code that was given."""
    rule = {**GATED, "requirements": GATED["requirements"][1:2]}
    rule["sequences"] = [
        {"id": "vip", "distribution": "line", "when": {"==": [{"var": "access_code"}, "vip"]}},
        {"id": "general", "distribution": "drawing"},
    ]
    journey = World(rule, secrets=("VIP2026",)).do("start", access_code="VIP2026")
    assert journey.state.seat.sequence == "vip"


def test_a_closed_window_does_not_fit_and_an_early_one_does() -> None:
    """Before its opening a sequence can be waited for; after its closing it is passed over."""
    assert seat(two({"closes_at": "2026-01-05T10:00:00Z"})) == "second"
    journey = World(two({"opens_at": "2026-01-05T11:00:00Z"})).do("start")
    assert journey.label == "routed.upcoming"
    assert journey.wait(HOUR).label == "routed.active_enterable"


def test_a_broken_rule_is_a_no_with_its_reason_in_the_receipt() -> None:
    """Arithmetic on a text doesn't stop the journey: the next sequence is tried."""
    rule = two({"when": {">": [{"+": [{"var": "customer.name"}, 1]}, 1]}})
    journey = World(rule, record={"attributes": {"name": "x"}}).do("start")
    (routed,) = journey.of(Routed)
    assert routed.sequence == "second"
    assert routed.considered[0]["verdict"] == "rule_failed"


def test_no_sequence_leaves_the_journey_routing() -> None:
    """Nobody is sent where they don't belong: retry and request_reroute look again."""
    only = two({"when": False}, {"when": {"in": ["late", {"var": "segments"}]}})
    journey = World(only).do("start")
    assert journey.shot["journeyStage"] == "routing"
    assert journey.actions["journey"] == ["request_reroute", "retry"]
    assert journey.of(NotRouted)
    assert journey.shot["events"][-1]["message"] == "No place could be found yet."
    journey.trusted("set_attributes", segments=["late"])
    assert journey.do("retry").state.seat.sequence == "second"


def test_looking_in_vain_again_is_said_once() -> None:
    """Retrying a hundred times doesn't push every other event out of the journey's fifty."""
    journey = World(two({"when": False}, {"when": False})).do("start")
    for _ in range(5):
        journey.do("retry")
    assert len(journey.shot["events"]) == 1


def test_a_gate_of_a_sequence_is_asked_for_when_nothing_else_fits() -> None:
    """If only a requirement stands between the customer and a sequence, it is asked for."""
    gated = two(
        {"gates": [{"type": "authentication", "provider": "accounts", "reason": "Members"}]}, {"when": False}
    )
    journey = World(gated).do("start")
    assert journey.shot["journeyStage"] == "needs_auth"
    assert journey.shot["requirements"][0]["reason"] == "Members"
    assert journey.trusted("authenticate").state.seat.sequence == "first"


def test_a_gate_is_no_reason_to_wait_when_another_sequence_fits() -> None:
    """Whoever doesn't pass a gate goes where none is."""
    assert seat(two({"gates": [{"type": "authentication", "provider": "accounts"}]})) == "second"


def test_passing_a_gate_later_leads_to_its_sequence() -> None:
    """Signing in while nothing is entered finds the better sequence."""
    gated = two(
        {"gates": [{"type": "authentication", "provider": "accounts"}]},
        requirements=[{"type": "authentication", "required": False, "provider": "accounts"}],
    )
    journey = World(gated).do("start")
    assert journey.state.seat.sequence == "second"
    assert journey.trusted("authenticate").state.seat.sequence == "first"
    assert journey.shot["events"][-1]["kind"] == "reroute"


def test_a_distribution_that_ended_is_passed_over() -> None:
    """After the end of a queue the customer can be routed to what is left."""
    journey = World(two({})).do("start").told("ended", "line", reason="closed")
    assert journey.label == "routed.ended"
    assert journey.do("request_reroute").state.seat.sequence == "second"


def test_a_rule_can_ask_who_was_refused() -> None:
    """`refused` names the distributions that didn't take the customer: a way to say where the overflow goes."""
    overflow = two({"when": {"!": [{"in": ["line", {"var": "refused"}]}]}})
    journey = (
        World(overflow)
        .do("start")
        .do("enter_queue")
        .told("refused", "line", action="enter", reason="queue.full")
    )
    assert journey.do("request_reroute").state.seat.sequence == "second"


def test_the_receipt_says_why_with_inputs_and_version() -> None:
    """Operators see which rule decided, what it read and what was tried before; personal inputs are private."""
    rule = two(
        {"when": {"and": [{"<": [{"var": "now_ms"}, 5]}, {"var": "customer.vip"}]}},
        {"when": {"!": [{"var": "customer.vip"}]}},
    )
    (routed,) = World(rule, record={"attributes": {"vip": False}}).do("start").of(Routed)
    assert (routed.rule, routed.definition_version) == ("/sequences/1", 1)
    assert routed.considered == ({"sequence": "first", "verdict": "rule", "inputs": {"now_ms": NOW_MS}},)
    assert routed.private == {"customer.vip": False}


def test_receipts_are_in_no_rendering() -> None:
    """Snapshot, view and the snapshots topic hold nothing of rules and of other sequences."""
    journey = World(two({"when": {"==": [{"var": "customer.tier"}, "gold"]}})).do("start")
    for shown in (journey.shot, journey.view, journey.kind.view(journey.state)):
        assert not any(
            word in json.dumps(shown) for word in ("first", "gold", "tier", "considered", "verdict")
        )


def test_a_running_journey_keeps_its_version() -> None:
    """Publishing anew doesn't move those who are under way; a journey begun after that follows the new rules."""
    journey = World(two({})).do("start")
    newer = World(two({}), two({"when": False}))
    journey.definitions, journey.newest = newer.definitions, newer.newest
    assert journey.do("request_reroute").state.seat.sequence == "first"
    assert journey.do("destroy").do("start").state.seat.sequence == "second"
