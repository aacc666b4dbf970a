"""The example documents, walked branch by branch to each end."""

from typing import Any

import pytest

from orchestrator.core.events import EffectRequested
from orchestrator.journeys.flow.commands import SEGMENT_ENTERED, SEGMENT_LEFT, Start
from orchestrator.journeys.flow.events import BranchTaken, GoalReached, RunEnded, RunStarted, Waiting
from tests.flow.world import DAY, EXAMPLES, HOUR, MINUTE, World, example, problems

RECORD: dict[str, Any] = {
    "attributes": {"churn_risk": 0.2},
    "private": {"first_name": "Anna"},
    "zone": "Europe/Berlin",
    "consent": {"email": True, "sms": True},
    "addresses": {"email": "anna@example.com", "sms": "+15550100"},
    "account": {"points_balance": 40},
}


def welcome(**changes: Any) -> World:
    world = World(
        example("welcome"), record={**RECORD, **changes}, secrets=("Anna", "anna@example.com", "+1555")
    )
    return world.hear(SEGMENT_ENTERED, {"segment": "new-customers"})


def retention(**changes: Any) -> World:
    world = World(example("retention"), record={**RECORD, **changes})
    return world.hear(SEGMENT_ENTERED, {"segment": "at-risk"})


def cart(customer: str = "anna") -> World:
    world = World(example("cart-abandonment"), record=RECORD, customer=customer)
    return world.hear("ITEM_ADDED_TO_CART", {"sku": "sku-1"})


@pytest.mark.parametrize("name", ["welcome", "retention", "cart-abandonment"])
def test_the_examples_are_valid(name: str) -> None:
    """An example has neither errors nor warnings, and every node has its place in the drawing."""
    assert problems((EXAMPLES / f"{name}.yaml").read_bytes()) == []
    assert all("position" in node for node in example(name).document["nodes"].values())


def test_an_engaged_new_customer_gets_points() -> None:
    """Welcome: e-mail, a day, opened in between, points, end."""
    world = welcome()
    (asked,) = world.of(EffectRequested)
    assert (asked.action, asked.type) == ("welcome_email", "send_email")
    assert asked.params == {"template": "welcome_email"}
    variables = {"customer_name": "Anna", "points_balance": 40}
    assert asked.private == {"to": "anna@example.com", "variables": variables}
    assert world.label == "IN_PROGRESS welcome_email"
    world.answer("welcome_email")
    assert world.label == "WAITING one_day"
    world.wait(HOUR).hear("EMAIL_OPENED").wait(DAY - HOUR)
    assert world.label == "IN_PROGRESS welcome_points"
    world.answer("welcome_points", result={"balance": 140})
    assert (world.last.state, world.all(RunEnded)[0].result) == ("COMPLETED", "engaged")
    assert world.path() == ["begin", "welcome_email", "one_day", "engagement", "welcome_points", "welcomed"]


def test_a_new_customer_who_opens_nothing_is_reminded() -> None:
    """Welcome: without an opened e-mail the default branch sends an SMS, and the receipt says what was read."""
    world = welcome().answer("welcome_email").wait(DAY)
    (branch,) = world.of(BranchTaken)
    assert (branch.branch, branch.to, branch.inputs) == ("default", "reminder_sms", {"engaged": False})
    world.answer("reminder_sms")
    assert world.all(RunEnded)[0].result == "reminded"


def test_the_reminder_keeps_quiet_at_night() -> None:
    """Welcome: an SMS due at 23:00 in Berlin is asked for at 08:00 there."""
    world = World(example("welcome"), record=RECORD)
    world.now_ms += 12 * HOUR  # 23:00 in Berlin
    world.do(Start()).answer("welcome_email").wait(DAY)
    (waiting,) = [event for event in world.of(Waiting) if event.node == "reminder_sms"]
    assert (waiting.reason, waiting.due_ms, waiting.zone) == (
        "quiet_hours",
        world.now_ms + 9 * HOUR,
        "Europe/Berlin",
    )
    assert world.wait(9 * HOUR - 1).of(EffectRequested) == []
    assert len(world.wait(1).of(EffectRequested)) == 1


@pytest.mark.parametrize("error", ["invalid_address", "unknown_template"])
def test_an_e_mail_that_can_not_be_sent_ends_at_unreached(error: str) -> None:
    """Welcome: the failure edge is taken, and the run completes with that result."""
    world = welcome().answer("welcome_email", "failed", error=error)
    (ended,) = world.of(RunEnded)
    assert (ended.state, ended.result) == ("COMPLETED", "unreached")
    assert world.of(BranchTaken)[0].rule == error


def test_a_failed_sms_ends_at_unreached() -> None:
    """Welcome: the reminder's failure edge leads to the same end."""
    world = welcome().answer("welcome_email").wait(DAY).answer("reminder_sms", "failed", error="no_route")
    assert world.of(RunEnded)[0].result == "unreached"


def test_without_consent_nothing_is_sent() -> None:
    """Welcome: a customer who didn't allow e-mail leaves at once, and no effect was asked for."""
    world = welcome(consent={"email": False})
    assert world.of(EffectRequested) == []
    assert world.of(BranchTaken)[0].rule == "no_consent"
    assert world.last.state == "COMPLETED"


def test_a_closed_account_ends_the_welcome_at_once() -> None:
    """Welcome: the exit cancels the wait's timer and names its reason."""
    world = welcome().answer("welcome_email").hear("ACCOUNT_CLOSED")
    assert (world.last.state, world.last.reason) == ("CANCELLED", "account_closed")
    assert world.timers == {}


def test_an_order_after_the_welcome_still_converts() -> None:
    """Welcome: within fourteen days of entering, ended or not; later no more."""
    world = welcome().answer("welcome_email").wait(DAY).answer("reminder_sms")
    early = world.wait(12 * DAY).hear("ORDER_PLACED")
    assert [goal.goal for goal in early.of(GoalReached)] == ["first-order"]
    assert early.hear("ORDER_PLACED").of(GoalReached) == [], "once a run"
    late = welcome().answer("welcome_email").wait(15 * DAY)
    assert late.hear("ORDER_PLACED").of(GoalReached) == []


def test_a_new_customer_is_welcomed_once() -> None:
    """Welcome: entering the segment again is ignored."""
    world = welcome().answer("welcome_email").wait(DAY).answer("reminder_sms")
    world.hear(SEGMENT_ENTERED, {"segment": "new-customers"})
    assert [event.reason for event in world.new] == ["entered_before"]


def test_customers_at_high_risk_get_offer_and_campaign() -> None:
    """Retention: the risk of the customer record decides; offer, campaign, end."""
    world = retention(attributes={"churn_risk": 0.9})
    world.answer("offer").answer("campaign", result={"execution": "x-1"})
    assert world.path() == ["begin", "churn", "offer", "campaign", "approached"]
    assert world.last.state == "COMPLETED"


def test_the_risk_may_come_with_a_start_by_hand() -> None:
    """Retention: `start` gives the prediction in its context."""
    world = World(example("retention"), record=RECORD).do(Start({"churn_risk": 0.71}))
    assert world.all(RunStarted)[0].context == {"churn_risk": 0.71}
    assert world.label == "IN_PROGRESS offer"


def test_the_campaign_runs_although_the_offer_failed() -> None:
    """Retention: the failure edge of the offer leads to the campaign too."""
    world = retention(attributes={"churn_risk": 0.9}).answer("offer", "failed", error="status_400")
    assert world.label == "IN_PROGRESS campaign"


def test_customers_at_low_risk_are_thanked() -> None:
    """Retention: the default branch awards points."""
    world = retention()
    assert world.of(BranchTaken)[0].inputs == {"churn_risk": 0, "customer.churn_risk": 0.2}
    world.answer("points")
    assert world.path() == ["begin", "churn", "points", "thanked"]


def test_leaving_the_segment_ends_the_retention() -> None:
    """Retention: another segment doesn't matter, this one does."""
    world = retention().hear(SEGMENT_LEFT, {"segment": "others"})
    assert world.label == "IN_PROGRESS points"
    world.hear(SEGMENT_LEFT, {"segment": "at-risk"})
    assert (world.last.state, world.last.reason) == ("CANCELLED", "no_longer_at_risk")


def test_retention_begins_again_after_ninety_days() -> None:
    """Retention: too soon before, welcome after."""
    world = retention().answer("points").wait(89 * DAY)
    world.hear(SEGMENT_ENTERED, {"segment": "at-risk"})
    assert [event.reason for event in world.new] == ["too_soon"]
    world.wait(DAY).hear(SEGMENT_ENTERED, {"segment": "at-risk"})
    assert world.label == "IN_PROGRESS points"


def test_an_abandoned_cart_gets_two_reminders() -> None:
    """Cart: after an hour, again in the evening, then the loop's bound ends it."""
    world = cart().wait(10 * MINUTE).hear("ITEM_ADDED_TO_CART").hear("CHECKOUT_STARTED").wait(50 * MINUTE)
    (asked,) = world.of(EffectRequested)
    assert asked.params["value"] == {"customer": "anna", "items": 2, "checkout": True, "reminder": 1}
    assert world.answer("reminder").label == "WAITING next_evening"
    world.wait(6 * HOUR)
    (again,) = world.of(EffectRequested)
    assert again.params["value"]["reminder"] == 2
    world.answer("reminder").wait(DAY)
    assert (world.last.state, world.all(RunEnded)[0].result) == ("COMPLETED", "abandoned")
    taken = [event.branch for event in world.all(BranchTaken)]
    assert taken == ["reminded", "exhausted"]


def test_a_reminder_that_fails_doesn_t_stop_the_next() -> None:
    """Cart: the failure edge goes on to the evening."""
    world = cart().wait(HOUR).answer("reminder", "failed", error="topic_refused")
    assert world.label == "WAITING next_evening"


def test_an_order_ends_the_reminders_and_converts() -> None:
    """Cart: at each step an order ends the run, counted with the branch of its split."""
    for wait_ms, splits in ((0, {}), (HOUR, {"audience": "reminded"})):
        world = cart().wait(wait_ms).hear("ORDER_PLACED")
        assert (world.last.state, world.last.reason) == ("CANCELLED", "ordered")
        assert world.of(GoalReached)[0].splits == splits
        assert world.timers == {}


def test_the_holdout_gets_nothing_and_is_observed() -> None:
    """Cart: a customer of the holdout is never reminded, and their order counts for it."""
    names = (f"customer-{n}" for n in range(1_000))
    world = next(found for name in names if (found := cart(name).wait(HOUR)).label.endswith("observed"))
    (branch,) = world.of(BranchTaken)
    assert (branch.branch, branch.holdout) == ("holdout", True)
    assert 9_000 <= branch.bucket < 10_000
    assert world.all(EffectRequested) == []
    (goal,) = world.wait(DAY).hear("ORDER_PLACED").of(GoalReached)
    assert goal.splits == {"audience": "holdout"}


def test_a_cart_may_be_abandoned_again() -> None:
    """Cart: one run at a time, and a new one after the last has ended."""
    world = cart().hear("ITEM_ADDED_TO_CART")
    assert len(world.all(RunStarted)) == 1
    world.hear("ORDER_PLACED").hear("ITEM_ADDED_TO_CART")
    begun = [n for n, event in enumerate(world.events) if isinstance(event, RunStarted)]
    assert [event.run for event in world.all(RunStarted)] == ["r1", f"r{begun[1]}"]
