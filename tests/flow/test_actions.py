"""Action nodes: asking, waiting for the end, retrying, and what each ending leads to."""

from typing import Any

import pytest

from orchestrator.core.decider import EffectResult
from orchestrator.core.events import EffectFailed, EffectRequested, TimerCancelled
from orchestrator.journeys.effects import PENDING_MAX
from orchestrator.journeys.flow.commands import Cancel, Continue, Start
from orchestrator.journeys.flow.events import ActionSkipped, ActionStarted, BranchTaken, NodeFailed, Waiting
from tests.flow.graphs import LOG, world
from tests.flow.world import DAY, HOUR, NOW_MS

SMS = {
    "kind": "action",
    "type": "send_sms",
    "params": {
        "message": "Hi {{customer.first_name}}, {{points}} points",
        "variables": {"points": {"var": "n"}},
    },
}
ANNA = {"private": {"first_name": "Anna"}, "consent": {"sms": True}, "addresses": {"sms": "+15550100"}}


def test_an_action_waits_for_its_end_and_keeps_the_result() -> None:
    """The request carries rendered parameters and the node's name; later rules read action_result_<node>."""
    ask = {
        "kind": "condition",
        "branches": [{"id": "rich", "when": {">": [{"var": "action_result_act.result.balance"}, 99]}}],
    }
    flow = world(
        {"act": LOG, "ask": ask, "rich": {"kind": "end", "result": "rich"}},
        [("ask", "rich", "rich"), ("ask", "done", "default")],
    ).do(Start())
    (asked,) = flow.of(EffectRequested)
    assert (asked.action, asked.type, asked.params, asked.effect) == ("act", "log", {"message": "x"}, "e1-0")
    assert flow.label == "IN_PROGRESS act"
    flow.answer("act", result={"balance": 140})
    (taken,) = flow.of(BranchTaken)
    assert (taken.branch, taken.inputs) == ("rich", {"action_result_act.result.balance": 140})


def test_placeholders_are_filled_from_the_runs_scope_only() -> None:
    """`{{customer.…}}` is the customer's value; `{{points}}` is left to the provider's template."""
    flow = world({"sms": SMS}, context={"n": 7}, customer=ANNA, secrets=("Anna",)).do(Start())
    (asked,) = flow.of(EffectRequested)
    assert asked.private == {"message": "Hi Anna, {{points}} points", "to": "+15550100"}
    assert asked.params == {"variables": {"points": 7}}


@pytest.mark.parametrize(
    ("record", "reason", "detail"),
    [
        ({"addresses": {"sms": "+15550100"}}, "missing_variable", "customer.first_name"),
        ({"private": {"first_name": "Anna"}}, "missing_variable", "customer.addresses.sms"),
        ({"private": {"first_name": "{{ secret }}"}}, "unsafe_value", "customer.first_name"),
    ],
)
def test_a_message_is_never_sent_in_halves(record: dict[str, Any], reason: str, detail: str) -> None:
    """A missing attribute, or one that a template would take for its own code, fails the node by name."""
    flow = world({"sms": SMS}, context={"n": 7}, customer=record).do(Start())
    assert flow.of(EffectRequested) == []
    (failed,) = flow.of(NodeFailed)
    assert (failed.reason, failed.detail) == (reason, detail)
    assert flow.last.reason == reason


def test_a_message_goes_where_the_customer_can_be_reached() -> None:
    """Without `to` the address of the record's channel is used, devices as a list; `to` may say otherwise."""
    devices = [{"platform": "fcm", "token": "t-1"}]
    record = {
        "attributes": {"addresses": "an attribute of that name changes nothing"},
        "addresses": {"push": devices, "email": "a@example.com"},
        "private": {"note": "{{x}}"},
    }
    push = {"kind": "action", "type": "send_push", "params": {"title": "x"}}
    (asked,) = world({"act": push}, customer=record).do(Start()).of(EffectRequested)
    assert asked.private == {"to": devices}
    variables = {"note": "{{customer.note}}"}
    mail = {
        "kind": "action",
        "type": "send_email",
        "params": {"to": "team@example.com", "variables": variables},
    }
    (asked,) = world({"act": mail}, customer=record).do(Start()).of(EffectRequested)
    assert asked.params == {"to": "team@example.com"}
    assert asked.private == {"variables": {"note": "{{x}}"}}, "variables are data and may look like anything"


def test_a_failed_action_fails_the_run_or_takes_its_edge() -> None:
    """Without a failure edge the run fails by the provider's word, with one it goes on there."""
    flow = world({"act": LOG}).do(Start()).answer("act", "failed", error="status_400")
    assert (flow.last.state, flow.last.reason) == ("FAILED", "status_400")
    flow = world({"act": LOG}, [("act", "done", "failure")]).do(Start())
    flow.answer("act", "failed", error="status_400")
    assert (flow.last.state, flow.of(BranchTaken)[0].rule) == ("COMPLETED", "status_400")


def test_attempts_are_the_actions_policy() -> None:
    """Retryable failures are tried again after their delay; the last one counts."""
    act = {**LOG, "retry": {"attempts": 2, "initial": "10s", "jitter": 0}}
    flow = world({"act": act}).do(Start()).answer("act", "failed", error="status_503", retryable=True)
    assert flow.timers == {"effect:e1-0": NOW_MS + 10_000}
    (again,) = flow.wait(10_000).of(EffectRequested)
    assert (again.effect, again.attempt) == ("e1-0", 2)
    flow.answer("act", "failed", error="status_503", retryable=True)
    assert flow.last.reason == "status_503"


@pytest.mark.parametrize(
    ("unknown", "label"),
    [("fail", "FAILED act"), ("skip", "COMPLETED done"), ("ask", "WAITING act")],
)
def test_nobody_knows_what_the_definition_says_then(unknown: str, label: str) -> None:
    """Silence ends as the action's `unknown` says: fail, go on, or wait for a person."""
    flow = world({"act": {**LOG, "unknown": unknown}}).do(Start()).wait(HOUR)
    assert flow.all(EffectFailed)[0].unknown
    assert flow.label == label
    if unknown == "ask":
        assert flow.of(Waiting)[0].reason == "decision"
        assert flow.do(Continue()).label == "COMPLETED done"


def test_unknown_may_be_tried_again() -> None:
    """`unknown: retry` asks once more after silence."""
    flow = world({"act": {**LOG, "unknown": "retry"}}).do(Start()).wait(301_500)
    assert [event.attempt for event in flow.all(EffectRequested)] == [1, 2]


def test_an_action_nobody_waits_for_lets_the_run_go_on() -> None:
    """`wait: false`: the run may even end first; the late answer settles the effect and frees the pin."""
    flow = world({"act": {**LOG, "wait": False}}).do(Start())
    assert flow.last.state == "COMPLETED"
    assert (flow.pinned, len(flow.timers)) == (1, 1)
    assert [event.unpins for event in flow.answer("act").new][-1]
    assert (flow.pinned, flow.timers) == (0, {})


def test_a_run_that_ends_forgets_the_effect_it_waits_for() -> None:
    """Cancelled: its timer goes, and a late answer is ignored."""
    flow = world({"act": LOG}).do(Start())
    pending = next(iter(flow.state.pending.values()))  # type: ignore[union-attr]
    flow.do(Cancel())
    assert [event.timer for event in flow.of(TimerCancelled)] == ["effect:e1-0"]
    flow.do(EffectResult(pending.effect, 1, "succeeded"))
    assert flow.new[0].reason == "effect_already_settled"  # type: ignore[attr-defined]


def test_quiet_hours_hold_the_request_back() -> None:
    """An action in the quiet of the night is asked for when it ends, even if the timer comes a day late."""
    act = {**LOG, "quiet_hours": {"from": "10:00", "to": "14:00"}}
    flow = world({"act": act}).do(Start())
    assert (flow.label, flow.timers) == ("WAITING act", {"run:r1:act:1": NOW_MS + 4 * HOUR})
    assert flow.of(EffectRequested) == []
    flow.wait(4 * HOUR)
    assert len(flow.of(EffectRequested)) == 1


def test_consent_is_asked_when_quiet_hours_release() -> None:
    """Withdrawn in the meantime: the action is skipped, the log says why, and the run goes on."""
    act = {**LOG, "quiet_hours": {"from": "10:00", "to": "14:00"}, "consent": "sms"}
    flow = world({"act": act}, customer=ANNA).do(Start())
    flow.record = {**ANNA, "consent": {"sms": False}}
    flow.wait(DAY)
    assert flow.all(ActionSkipped)[0].reason == "no_consent"
    assert flow.all(ActionStarted) == []
    assert flow.last.state == "COMPLETED"


@pytest.mark.parametrize("suppressed", [["sms"], {"sms": "stop"}])
def test_a_suppressed_channel_is_not_used(suppressed: Any) -> None:
    """However the record lists it; a failure edge is taken if there is one."""
    act = {**LOG, "consent": "sms"}
    flow = world({"act": act}, [("act", "done", "failure")], customer={**ANNA, "suppressed": suppressed})
    flow.do(Start())
    assert (flow.of(ActionSkipped)[0].reason, flow.of(BranchTaken)[0].branch) == ("suppressed", "failure")


def test_history_performs_nothing_and_goes_on() -> None:
    """Imported commands record the effect as suppressed, and the run goes on as if it had succeeded."""
    flow = world({"act": LOG}).do(Start(), backfill=True)
    assert [event.suppressed for event in flow.of(EffectRequested)] == [True]
    assert flow.last.state == "COMPLETED"


def test_too_many_unanswered_effects_fail_by_name() -> None:
    """The journey's bound on unanswered effects is told as too_many_pending, on the run that meets it."""
    act = {**LOG, "wait": False}
    acts = {f"act{n}": act for n in range(PENDING_MAX)}
    flow = world({**acts, "last": LOG}).do(Start())
    assert (flow.last.state, flow.last.reason) == ("FAILED", "too_many_pending")
    assert len(flow.state.pending) == PENDING_MAX  # type: ignore[union-attr]


def test_a_large_result_is_not_kept() -> None:
    """What the run keeps of an answer is bounded; the log has all of it."""
    flow = world({"act": LOG, "pause": {"kind": "wait", "for": "1d"}}).do(Start())
    flow.answer("act", result={"text": "x" * 5_000})
    assert flow.state.runs["r1"].results == {  # type: ignore[union-attr]
        "act": {"success": True, "result": {"dropped": "too large"}}
    }


def test_html_is_left_to_the_sender_who_escapes() -> None:
    """A customer's name never stands in HTML as the customer wrote it: the sender gets the text and the variables."""
    mail = {
        "kind": "action",
        "type": "send_email",
        "params": {
            "subject": "Hi",
            "html": "<p>{{ name }}</p>",
            "variables": {"name": {"var": "customer.first_name"}},
        },
    }
    wicked = "<script>alert(1)</script>"
    anna = {
        "private": {"first_name": wicked},
        "consent": {"email": True},
        "addresses": {"email": "a@example.com"},
    }
    flow = world({"mail": mail}, customer=anna, secrets=(wicked,)).do(Start())
    (asked,) = flow.of(EffectRequested)
    assert asked.params["html"] == "<p>{{ name }}</p>"
    assert asked.private["variables"] == {"name": wicked}
