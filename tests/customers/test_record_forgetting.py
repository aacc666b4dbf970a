"""Forgetting a customer: nothing is left but that it happened."""

import json

import pytest

from orchestrator.core.decider import EffectResult, TimerFired
from orchestrator.core.events import CommandIgnored
from orchestrator.customers.record import RECORD, shown
from orchestrator.customers.record.commands import AddToken, Forget, Identify, SetConsent, Suppress
from orchestrator.customers.record.events import Described, Forgotten
from tests.customers.specs import PROFILE
from tests.support.spec import NOW_MS, Story


def forgotten() -> Story:
    story = PROFILE.given().when(Identify({"email": "anna@example.com", "country": "NO"}))
    for command in (SetConsent("email", granted=True), Suppress("email", "manual"), AddToken("fcm", "one")):
        story = story.when(command)
    return story.when(Forget(), now_ms=NOW_MS + 10)


def test_everything_is_dropped() -> None:
    """Values, consent, suppressions and devices are gone from state, snapshot, view and flows."""
    story = forgotten()
    story.then(Forgotten(NOW_MS + 10))
    assert RECORD.dump(story.state) == {"forgotten_ms": NOW_MS + 10}
    assert shown(story.state) == {}
    assert story.label == "FORGOTTEN"
    assert "NO" not in json.dumps(RECORD.view(story.state))


def test_what_occurred_before_doesnt_come_back() -> None:
    """Messages still under way when the customer was forgotten are dropped."""
    story = forgotten()
    for command in (
        Identify({"country": "NO"}, NOW_MS + 9),
        SetConsent("email", granted=True, occurred_ms=NOW_MS + 9),
    ):
        story.when(command, now_ms=NOW_MS + 20).then(CommandIgnored("older_than_forgetting"))
    late = story.when(AddToken("fcm", "two"), now_ms=NOW_MS + 20, occurred_ms=NOW_MS + 9)
    late.then(CommandIgnored("older_than_forgetting"))


def test_a_customer_may_come_back() -> None:
    """What is told later begins a new record, which knows nothing of the old one."""
    story = forgotten().when(Identify({"tier": "new"}), now_ms=NOW_MS + 10)
    assert isinstance(story.new[0], Described)
    assert shown(story.state)["attributes"] == {"tier": "new"}
    assert shown(story.state)["private"] == shown(story.state)["suppressed"] == {}
    assert story.label == "KNOWN"


def test_somebody_unknown_can_be_forgotten() -> None:
    """What arrives afterwards from before stays out."""
    story = PROFILE.given().when(Forget(), occurred_ms=NOW_MS - 5).then(Forgotten(NOW_MS - 5))
    story.when(Identify({"tier": "a"}, NOW_MS - 6)).then(CommandIgnored("older_than_forgetting"))


def test_a_clock_ahead_doesnt_forget_the_future() -> None:
    """Forgetting counts from now at the latest."""
    PROFILE.given().when(Forget(), occurred_ms=NOW_MS + 50_000).then(Forgotten(NOW_MS))


@pytest.mark.parametrize("command", [TimerFired("x", NOW_MS), EffectResult("e1-0", 1, "succeeded")])
def test_a_record_has_no_timers_and_asks_for_no_effects(command: object) -> None:
    """What answers to neither is ignored, known or not."""
    for story in (PROFILE.given(), forgotten()):
        assert isinstance(story.when(command).new[0], CommandIgnored)
    assert RECORD.deadline_ms(None, "x") is None
