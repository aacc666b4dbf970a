"""Authentication and bot checks: a proof, a trusted word, never a bare claim."""

import pytest

from orchestrator.core.events import CommandIgnored, EffectRequested, EffectSucceeded
from orchestrator.journeys.experience.events import NeedMet, ProofFailed
from tests.experience.documents import GATED, one
from tests.experience.world import MINUTE, World

TOKEN = "eyJhbGciOiJFZERTQSJ9.canary-token.c2ln"


def started() -> World:
    return World(GATED, secrets=(TOKEN,)).do("start")


def test_requirements_are_asked_for_one_after_the_other() -> None:
    """Authentication, then the access code, then the bot check; then the customer is routed."""
    journey = started()
    stages = [journey.shot["journeyStage"]]
    actions = ("authenticate", "skip_access_code", "complete_bot_check")
    stages += [journey.trusted(action).shot["journeyStage"] for action in actions]
    assert stages == ["needs_auth", "needs_access_code", "entering", "routed"]


def test_requirements_are_shown_with_reason_and_metadata() -> None:
    """A page finds in the snapshot what it has to show, and what is only optional."""
    authentication, code, bot = started().shot["requirements"]
    assert authentication == {
        "type": "authentication", "required": True, "status": "open", "reason": "Please sign in"
    }  # fmt: skip
    assert (code["type"], code["required"]) == ("access_code", False)
    assert bot["metadata"] == {"site_key": "k-1"}


@pytest.mark.parametrize("action", ["authenticate", "complete_bot_check"])
def test_a_bare_claim_is_rejected(action: str) -> None:
    """Saying that one is signed in or human proves nothing."""
    journey = started().do(action)
    assert journey.rule == "experience.proof_required"
    assert journey.shot["journeyStage"] == "needs_auth"


@pytest.mark.parametrize(
    ("action", "need"), [("authenticate", "authentication"), ("complete_bot_check", "bot_check")]
)
def test_a_trusted_producers_word_is_enough(action: str, need: str) -> None:
    """A source on the document's list fulfils a requirement, and the log says which source it was."""
    (met,) = started().trusted(action).of(NeedMet)
    assert (met.need, met.by) == (need, "shop/checkout")


def test_a_source_that_only_looks_trusted_is_not() -> None:
    """The source is compared as a whole."""
    for source in ("shop/checkout2", "shop", "SHOP/CHECKOUT", ""):
        assert started().do("authenticate", source).rule == "experience.proof_required"


def test_an_id_token_is_checked_by_an_effect() -> None:
    """The token goes to the provider the document names, in the private part, with the customer it has to be about."""
    (asked,) = started().do("authenticate", id_token=TOKEN).of(EffectRequested)
    assert (asked.type, asked.action) == ("verify_id_token", "authentication")
    assert asked.params == {"provider": "accounts", "subject": "anna"}
    assert asked.private == {"token": TOKEN}


def test_a_verified_token_fulfils_the_requirement() -> None:
    """The journey goes on when the provider says whose token it is."""
    journey = started().do("authenticate", id_token=TOKEN)
    assert journey.shot["requirements"][0]["status"] == "checking"
    journey.answer("authentication", result={"subject": "anna"})
    assert journey.of(NeedMet)[0].by == "effect"
    assert journey.shot["journeyStage"] == "needs_access_code"


@pytest.mark.parametrize("result", [{}, {"subject": "bob"}, {"subject": None}, {"subject": ["anna"]}])
def test_another_persons_token_proves_nothing(result: dict) -> None:
    """A provider's yes about somebody else leaves the requirement open, with a journey event."""
    journey = started().do("authenticate", id_token=TOKEN).answer("authentication", result=result)
    assert [event.reason for event in journey.of(ProofFailed)] == ["other_subject"]
    assert journey.shot["journeyStage"] == "needs_auth"
    assert journey.shot["events"][-1]["severity"] == "error"
    assert "authenticate" in journey.actions["journey"]


@pytest.mark.parametrize("result", [{}, {"success": False}, {"success": "true"}, {"score": 0.9}])
def test_only_a_plain_yes_passes_the_bot_check(result: dict) -> None:
    """Whatever isn't `success: true` leaves the requirement open."""
    journey = started().do("complete_bot_check", token=TOKEN).answer("bot_check", result=result)
    assert [event.reason for event in journey.of(ProofFailed)] == ["not_confirmed"]


def test_a_bot_check_is_an_effect_of_its_provider() -> None:
    """`siteverify` gets the provider's name and the token; success fulfils the requirement."""
    journey = started().do("complete_bot_check", token=TOKEN)
    (asked,) = journey.of(EffectRequested)
    assert (asked.type, asked.params, asked.private) == (
        "siteverify",
        {"provider": "turnstile"},
        {"token": TOKEN},
    )
    assert journey.answer("bot_check", result={"success": True}).of(NeedMet)


def test_a_failed_check_can_be_tried_again() -> None:
    """A refused proof is a named journey event; another proof may follow."""
    journey = (
        started().do("authenticate", id_token=TOKEN).answer("authentication", "failed", error="expired_token")
    )
    assert journey.of(ProofFailed)[0].reason == "expired_token"
    assert "expired_token" not in str(journey.shot)
    journey.do("authenticate", id_token=TOKEN).answer("authentication", result={"subject": "anna"})
    assert journey.shot["requirements"][0]["status"] == "met"


def test_a_provider_that_stays_silent_is_asked_again_and_then_given_up() -> None:
    """No answer leaves nobody waiting for ever: the requirement opens again by itself."""
    journey = started().do("authenticate", id_token=TOKEN)
    journey.wait(10 * MINUTE)
    assert len(journey.all(EffectRequested)) == 3
    assert journey.all(ProofFailed)[0].reason == "no_answer"
    assert journey.shot["requirements"][0]["status"] == "open"


def test_a_proof_is_checked_once_at_a_time() -> None:
    """While one is on its way another is rejected by name."""
    assert (
        started().do("authenticate", id_token=TOKEN).do("authenticate", id_token=TOKEN).rule
        == "experience.being_checked"
    )


def test_what_is_fulfilled_or_not_asked_for_is_rejected_by_name() -> None:
    """Proving twice, or what nobody asked for, has its own words."""
    assert started().trusted("authenticate").trusted("authenticate").rule == "experience.already_met"
    plain = World(one()).do("start")
    for action in ("authenticate", "complete_bot_check", "skip_access_code"):
        assert plain.trusted(action).rule == "experience.not_required"
    assert plain.do("provide_access_code", access_code="x").rule == "experience.not_required"


def test_an_answer_after_a_reset_is_nobodys() -> None:
    """What was checked for the journey before doesn't count for the one after."""
    journey = started().do("authenticate", id_token=TOKEN)
    (effect,) = journey.state.pending
    journey.do("start", reset=True)
    from orchestrator.core.decider import EffectResult

    journey.decide(EffectResult(effect, 1, "succeeded", {"subject": "anna"}))
    assert journey.of(CommandIgnored)
    assert not journey.of(EffectSucceeded)
    assert journey.shot["journeyStage"] == "needs_auth"


def test_every_failure_is_a_journey_event() -> None:
    """Pages learn of what happened to a proof by events that quote nothing."""
    journey = started().do("authenticate", id_token=TOKEN).answer("authentication", "failed", error="bad")
    (note,) = [event.note for event in journey.of(ProofFailed)]
    assert note is not None
    assert (note.kind, note.severity, note.audience) == ("requirement", "error", "user")
    assert note.detail == {"type": "authentication"}
