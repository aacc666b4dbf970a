"""The reference reducer, case by case: every state with every event type."""

from itertools import product
from typing import Any

import pytest

from orchestrator.core.events import EffectRequested, JourneyStarted, TimerArmed
from orchestrator.journeys.effects import TIMER_PREFIX
from orchestrator.journeys.lifecycle.commands import HandleEvent
from orchestrator.journeys.lifecycle.decide import CLOCK_SKEW_MS
from orchestrator.journeys.lifecycle.events import EventNoted, Moved
from tests.support.spec import NOW_MS, Story, example

STATES = ("ONBOARDING", "BROWSING", "CONSIDERATION", "CHECKOUT", "ACTIVE_SUBSCRIBER", "CHURNED")
EVENTS = (
    "USER_CREATED",
    "PROFILE_COMPLETED",
    "ITEM_ADDED_TO_CART",
    "CHECKOUT_STARTED",
    "PAYMENT_SUCCESSFUL",
    "EMAIL_OPENED",
)
TABLE = {
    ("ONBOARDING", "PROFILE_COMPLETED"): ("BROWSING", 2),
    ("BROWSING", "ITEM_ADDED_TO_CART"): ("CONSIDERATION", 3),
    ("CONSIDERATION", "CHECKOUT_STARTED"): ("CHECKOUT", 4),
    ("CHECKOUT", "PAYMENT_SUCCESSFUL"): ("ACTIVE_SUBSCRIBER", 5),
}
METADATA: dict[str, Any] = {"source": "unknown", "deviceType": "unknown", "entitlements": []}
SPEC = example("onboarding")


def event(type: str) -> HandleEvent:
    return HandleEvent(type, {})


def in_state(state: str, step: int) -> Story:
    context = {"state": state, "stepIndex": step, "metadata": METADATA}
    return SPEC.given(JourneyStarted(definition_version=1, at_ms=NOW_MS, context=context))


@pytest.mark.parametrize(("state", "type"), list(product(STATES, EVENTS)))
def test_every_state_and_event(state: str, type: str) -> None:
    """Each pair does what the reducer's table says, and everything else only moves `lastEventAt`."""
    story = in_state(state, 7).when(event(type), now_ms=NOW_MS + 5)
    target, step = TABLE.get((state, type), (state, 7))
    assert story.label == target
    assert story.state.context["stepIndex"] == step
    assert story.state.last_event_ms == NOW_MS + 5
    entitlements = ["premium"] if target == "ACTIVE_SUBSCRIBER" and state != target else []
    assert story.state.context["metadata"] == {**METADATA, "entitlements": entitlements}
    assert isinstance(story.new[0], Moved if (state, type) in TABLE else EventNoted)


def test_first_contact_begins_in_the_default_context() -> None:
    """An unknown customer's first event starts the journey and is then handled like any other."""
    story = SPEC.given().when(event("PROFILE_COMPLETED"))
    started, moved = story.new
    assert started == JourneyStarted(
        definition_version=1,
        at_ms=NOW_MS,
        context={"state": "ONBOARDING", "stepIndex": 0, "metadata": METADATA},
    )
    assert moved == Moved(
        from_state="ONBOARDING",
        to_state="BROWSING",
        trigger="PROFILE_COMPLETED",
        transition="/states/ONBOARDING/on/PROFILE_COMPLETED",
        last_event_ms=NOW_MS,
        set={"stepIndex": 2},
    )


def test_the_whole_way() -> None:
    """The table's four events in order lead a new customer to the last state, step 5, entitled to premium."""
    story = SPEC.given()
    for n, type in enumerate(("USER_CREATED", "PROFILE_COMPLETED", "ITEM_ADDED_TO_CART", "CHECKOUT_STARTED")):
        story = story.when(event(type), now_ms=NOW_MS + n)
    story = story.when(event("PAYMENT_SUCCESSFUL"), now_ms=NOW_MS + 9)
    assert SPEC.kind.view(story.state) == {
        "state": "ACTIVE_SUBSCRIBER",
        "stepIndex": 5,
        "lastEventAt": NOW_MS + 9,
        "metadata": {**METADATA, "entitlements": ["premium"]},
        "definitionVersion": 1,
        "pendingEffects": 1,
    }


def test_completion_is_announced_on_entering_only() -> None:
    """`user.onboarding.complete` is published when the state changes to ACTIVE_SUBSCRIBER, not on later events."""
    story = in_state("CHECKOUT", 4).when(event("PAYMENT_SUCCESSFUL"))
    (effect,) = story.of(EffectRequested)
    assert effect == EffectRequested(
        effect="e2-0",
        action="announce_onboarding_complete",
        type="publish",
        params={"topic": "user.onboarding.complete", "key": "cus-1", "value": {"userId": "cus-1"}},
    )
    assert [timer.timer for timer in story.of(TimerArmed)] == [TIMER_PREFIX + effect.effect]
    for type in EVENTS:
        story = story.when(event(type))
        assert story.of(EffectRequested) == []


def test_late_events_never_move_the_clock_back() -> None:
    """An event that occurred before the last one is handled, and `lastEventAt` keeps the maximum."""
    story = in_state("ONBOARDING", 0).when(
        event("USER_CREATED"), now_ms=NOW_MS + 9, occurred_ms=NOW_MS - 1_000
    )
    story.then(EventNoted(trigger="USER_CREATED", last_event_ms=NOW_MS))
    story = story.when(event("PROFILE_COMPLETED"), now_ms=NOW_MS + 9, occurred_ms=NOW_MS - 500)
    assert story.label == "BROWSING"
    assert story.state.last_event_ms == NOW_MS


def test_an_event_may_bring_its_own_time() -> None:
    """The `timestamp` of an addressed event counts more than the envelope's time."""
    command = SPEC.kind.parse("event", {"type": "USER_CREATED", "timestamp": NOW_MS + 77})
    assert in_state("ONBOARDING", 0).when(command).state.last_event_ms == NOW_MS + 77


def test_a_clock_far_ahead_is_held_back() -> None:
    """An event from the far future counts as now plus a minute, so the customer can still fall silent."""
    command = SPEC.kind.parse("event", {"type": "USER_CREATED", "timestamp": NOW_MS * 2})
    assert in_state("ONBOARDING", 0).when(command).state.last_event_ms == NOW_MS + CLOCK_SKEW_MS


def test_unlisted_types_are_rejected() -> None:
    """A type the pinned version doesn't list is a business no, naming the version."""
    in_state("ONBOARDING", 0).when(event("LOGGED_IN")).then_rejected(
        "lifecycle.event_not_listed", type="LOGGED_IN", definition_version=1
    )
