"""The step configuration as written and corrected: its guard, its conditions, its actions."""

from itertools import product
from typing import Any

import pytest

from orchestrator import definitions
from orchestrator.core.events import EffectRequested, JourneyStarted
from orchestrator.journeys.lifecycle.commands import HandleEvent, Start
from orchestrator.journeys.lifecycle.events import EventNoted, Moved
from orchestrator.journeys.paths import assign
from tests.support.spec import EXAMPLES, NOW_MS, Spec, Story, example

STATES = ("ONBOARDING", "BROWSING", "CONSIDERATION", "CHECKOUT", "ACTIVE_SUBSCRIBER", "CHURNED")
EVENTS = (
    "USER_CREATED",
    "PROFILE_COMPLETED",
    "ITEM_ADDED_TO_CART",
    "CHECKOUT_STARTED",
    "PAYMENT_SUCCESSFUL",
    "EMAIL_OPENED",
)
TRIGGERS: dict[str, tuple[str, ...]] = {
    "ONBOARDING": ("USER_CREATED", "EMAIL_OPENED"),
    "BROWSING": ("PROFILE_COMPLETED",),
    "CHECKOUT": ("PAYMENT_SUCCESSFUL",),
}
STEPS = {
    "ONBOARDING": 0,
    "BROWSING": 2,
    "CONSIDERATION": 3,
    "CHECKOUT": 4,
    "ACTIVE_SUBSCRIBER": 5,
    "CHURNED": 0,
}
ONBOARDING_ACTIONS = ["send_welcome_email", "track_analytics"]
ACTIVATION_ACTIONS = ["unlock_tutorial", "update_cdp_segment"]
CONVERSION_ACTIONS = ["provision_entitlement", "send_receipt", "notify_sales"]
WRITTEN, CORRECTED = example("journey-config"), example("journey-config-corrected")


def in_state(spec: Spec, state: str, **context: Any) -> Story:
    metadata = {
        "source": "unknown",
        "deviceType": "unknown",
        "entitlements": [],
        **context.pop("metadata", {}),
    }
    values = {"state": state, "stepIndex": STEPS[state], "metadata": metadata, **context}
    return spec.given(JourneyStarted(definition_version=1, at_ms=NOW_MS, context=values))


def actions(story: Story) -> list[str]:
    return [effect.action for effect in story.of(EffectRequested)]


@pytest.mark.parametrize("spec", [WRITTEN, CORRECTED], ids=["written", "corrected"])
@pytest.mark.parametrize(("state", "type"), list(product(STATES, EVENTS)))
def test_triggers_guard_every_pair(spec: Spec, state: str, type: str) -> None:
    """An event type the state's step doesn't list is rejected; a state without a step lets nothing in."""
    story = in_state(spec, state).when(HandleEvent(type, {}))
    if type in TRIGGERS.get(state, ()):
        assert story.rejected is None
    else:
        allowed = sorted(TRIGGERS.get(state, ()))
        story.then_rejected("lifecycle.trigger_not_allowed", state=state, type=type, allowed=allowed)


@pytest.mark.parametrize("type", TRIGGERS["ONBOARDING"])
@pytest.mark.parametrize("spec", [WRITTEN, CORRECTED], ids=["written", "corrected"])
def test_onboarding_skips_internal_tests(spec: Spec, type: str) -> None:
    """The onboarding step runs its actions for everybody but internal test customers."""
    assert actions(in_state(spec, "ONBOARDING").when(HandleEvent(type, {}))) == ONBOARDING_ACTIONS
    tester = in_state(spec, "ONBOARDING", metadata={"source": "internal_test"}).when(HandleEvent(type, {}))
    assert actions(tester) == []
    assert tester.of(EventNoted)[0].inputs == {"metadata.source": "internal_test"}


@pytest.mark.parametrize(
    ("spec", "step", "expected"),
    [
        (WRITTEN, 2, []),
        (WRITTEN, 0, ACTIVATION_ACTIONS),
        (CORRECTED, 2, ACTIVATION_ACTIONS),
        (CORRECTED, 0, []),
    ],
)
def test_activation(spec: Spec, step: int, expected: list[str]) -> None:
    """As written the activation step waits for step 0, which no journey has in BROWSING; corrected it runs in step 2."""
    story = in_state(spec, "BROWSING", stepIndex=step).when(HandleEvent("PROFILE_COMPLETED", {}))
    assert actions(story) == expected
    assert story.of(EventNoted)[0].inputs == {"stepIndex": step}


@pytest.mark.parametrize(("spec", "expected"), [(WRITTEN, []), (CORRECTED, CONVERSION_ACTIONS)])
def test_conversion(spec: Spec, expected: list[str]) -> None:
    """As written the conversion step asks for another state than its own; corrected it runs. The move happens anyway."""
    story = in_state(spec, "CHECKOUT").when(HandleEvent("PAYMENT_SUCCESSFUL", {"amount": 12}))
    assert actions(story) == expected
    (moved,) = story.of(Moved)
    assert (moved.to_state, moved.set) == (
        "ACTIVE_SUBSCRIBER",
        {"stepIndex": 5, "metadata.entitlements": ["premium"]},
    )
    if expected:
        receipt = story.of(EffectRequested)[1]
        assert receipt.params["body"] == {"userId": "cus-1", "payment": {"amount": 12}}


def test_a_journey_taken_over_shows_the_corrected_actions() -> None:
    """Started in BROWSING at step 2, a journey of the corrected definition runs the activation step."""
    story = CORRECTED.given().when(Start({"stepIndex": 2}, "BROWSING"))
    assert story.label == "BROWSING"
    assert actions(story.when(HandleEvent("PROFILE_COMPLETED", {}))) == ACTIVATION_ACTIONS


def test_validation_warns_of_conditions_that_never_hold() -> None:
    """The written definition is told that activation and conversion can never run; the corrected one is not."""
    written = definitions.validate((EXAMPLES / "lifecycle/journey-config.yaml").read_bytes())
    assert written.errors == ()
    never = {p.pointer: p.message for p in written.warnings if "can never hold" in p.message}
    assert never == {
        "/states/BROWSING/triggers/when": "this condition can never hold: in BROWSING stepIndex is 2",
        "/states/CHECKOUT/triggers/when": "this condition can never hold: in CHECKOUT state is 'CHECKOUT'",
    }
    corrected = definitions.validate((EXAMPLES / "lifecycle/journey-config-corrected.yaml").read_bytes())
    assert not [p for p in corrected.problems if "can never hold" in p.message]


def test_validation_warns_of_transitions_the_triggers_block() -> None:
    """Transitions whose event the same state's triggers reject are pointed out, with what to add."""
    report = definitions.validate((EXAMPLES / "lifecycle/journey-config.yaml").read_bytes())
    blocked = {p.pointer: p.cure for p in report.warnings if p.message.startswith("never taken")}
    assert set(blocked) == {
        "/states/ONBOARDING/on/PROFILE_COMPLETED",
        "/states/BROWSING/on/ITEM_ADDED_TO_CART",
        "/states/CONSIDERATION/on/CHECKOUT_STARTED",
    }
    assert blocked["/states/ONBOARDING/on/PROFILE_COMPLETED"].startswith("add PROFILE_COMPLETED")


def test_the_correction_is_two_conditions() -> None:
    """The corrected copy differs from the written one in id, name and exactly the two conditions."""
    written = definitions.load((EXAMPLES / "lifecycle/journey-config.yaml").read_bytes())
    text = (EXAMPLES / "lifecycle/journey-config-corrected.yaml").read_bytes()
    corrected = definitions.load(text)
    conditions = {
        "states.BROWSING.triggers.when": {"===": [{"var": "stepIndex"}, 2]},
        "states.CHECKOUT.triggers.when": {"===": [{"var": "state"}, "CHECKOUT"]},
    }
    named = {"id": corrected["id"], "name": corrected["name"]}
    assert assign(written, {**conditions, **named}) == corrected
    assert b'{"===": [{var: stepIndex}, 0]}         ->  {"===": [{var: stepIndex}, 2]}' in text
