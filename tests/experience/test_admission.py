"""Admission: granted, used, over; and what comes after."""

import json
from typing import Any

import pytest

from orchestrator.core.events import CommandIgnored
from orchestrator.journeys.experience.snapshot import grant_facts, snapshot
from tests.experience.documents import one
from tests.experience.world import HOUR, MINUTE, World

JTI = "canary-jti-1f2e3d"


def admitted(mechanism: str = "queue", minutes: int = 10, **sequence: Any) -> World:
    """Somebody with a grant of some minutes."""
    journey = World(one(mechanism, **sequence)).do("start").do(f"enter_{mechanism}")
    journey.told("entered", "line", participation="line-1")
    return journey.told("admitted", "line", jti=JTI, expires_ms=journey.now_ms + minutes * MINUTE, quantity=1)


def test_an_admission_shows_its_end_and_no_token() -> None:
    """The state holds id and end of a grant; a token is put in by whoever can sign one."""
    journey = admitted()
    context = journey.shot["context"]
    assert context["admittanceExpiresAt"] == journey.now_ms + 10 * MINUTE
    assert "admittanceToken" not in context
    signed = snapshot(journey.state, now_ms=journey.now_ms, token="signed")
    assert signed["context"]["admittanceToken"] == "signed"


def test_the_grants_id_is_for_signing_only() -> None:
    """Neither snapshot nor view shows the id with which a server would redeem the grant."""
    journey = admitted()
    assert JTI not in json.dumps([journey.shot, journey.view, journey.kind.view(journey.state)])
    facts = grant_facts(journey.state, journey.now_ms)
    assert (facts.jti, facts.sequence, facts.distribution, facts.mechanism) == (
        JTI,
        "general",
        "line",
        "queue",
    )


def test_there_is_nothing_to_sign_when_the_grant_is_over_or_used() -> None:
    """A token is made for what can still be used."""
    journey = admitted()
    assert grant_facts(journey.state, journey.now_ms + 10 * MINUTE) is None
    assert grant_facts(journey.told("redeemed", "line", jti=JTI).state, journey.now_ms) is None
    assert grant_facts(None, 0) is None


def test_the_distribution_says_when_an_admission_has_ended() -> None:
    """Its word, by its own clock, moves the journey to admission_expired."""
    journey = admitted().wait(10 * MINUTE)
    assert journey.label == "routed.admitted"
    assert (
        journey.told("expired", "line", what="admission", jti=JTI, reason="expired").label
        == "routed.admission_expired"
    )


def test_a_claim_after_the_window_is_rejected() -> None:
    """Between the grant's end and the distribution's word nothing can be done with it."""
    journey = admitted("timed_release")
    assert "complete_timed_release" in journey.actions["sequence"]
    journey.wait(10 * MINUTE)
    assert journey.do("complete_timed_release").rule == "experience.admission_over"
    assert journey.do("leave_participation").rule == "experience.admission_over"
    assert journey.view["sequence"]["phase"] == "unavailable"
    assert "grant" not in journey.view["sequence"]


def test_the_end_of_another_grant_is_not_this_ones() -> None:
    """A late word about an older grant doesn't end the newer one."""
    journey = admitted()
    journey.told("expired", "line", what="admission", jti="older", reason="expired")
    assert journey.label == "routed.admitted"
    assert journey.of(CommandIgnored)


@pytest.mark.parametrize(
    ("after", "allowed", "rule"),
    [
        ("reenter", ["enter_waitlist", "enter_queue"], ""),
        ("waitlist", ["enter_waitlist"], "experience.no_reentry"),
        ("end", [], "experience.no_reentry"),
    ],
)
def test_the_document_says_what_comes_after(after: str, allowed: list[str], rule: str) -> None:
    """Entering again, the waitlist, or nothing."""
    journey = admitted(on_admission_expired=after, waitlist="wait").wait(10 * MINUTE)
    journey.told("expired", "line", what="admission", jti=JTI)
    assert journey.actions["sequence"] == allowed
    assert journey.do("enter_queue").rule == rule


def test_a_used_grant_has_no_end() -> None:
    """After its redemption the time is nobody's concern; the journey says that it was used."""
    journey = admitted().told("redeemed", "line", jti=JTI).wait(HOUR)
    assert journey.view["sequence"]["grant"] == {
        "quantity": 1,
        "used": True,
        "expiresAt": journey.now_ms - 50 * MINUTE,
    }
    assert journey.do("leave_participation").rule == "experience.redeemed"


@pytest.mark.parametrize("word", ["completed", "not_selected"])
def test_what_has_ended_holds_nothing(word: str) -> None:
    """After the distribution's last word there is neither grant nor participation to show, sign or leave."""
    journey = admitted("timed_release").told(word, "line")
    assert journey.label == "routed.ended"
    assert grant_facts(journey.state, journey.now_ms) is None
    assert (journey.state.admission, journey.state.participation, journey.state.progress) == (None, None, {})


def test_a_grant_can_be_given_back() -> None:
    """Leaving while admitted asks the distribution to take the grant back."""
    journey = admitted().do("leave_participation")
    assert journey.asked == [("line", "leave")]
    assert journey.told("left", "line", reason="left").label == "routed.active_enterable"


def test_a_trusted_producer_can_admit() -> None:
    """`mark_admitted` is for listed sources; the journey itself watches that admission's end."""
    journey = World(one()).do("start")
    expires_ms = journey.now_ms + MINUTE
    assert journey.do("mark_admitted", jti="j", expires_ms=expires_ms).rule == "experience.untrusted_source"
    assert journey.trusted("mark_admitted", jti="j", expires_ms=expires_ms).label == "routed.admitted"
    assert journey.trusted("mark_admitted", jti="j", expires_ms=expires_ms).of(CommandIgnored)
    assert journey.trusted("mark_admitted", jti="k").rule == "experience.already_admitted"
    assert journey.wait(MINUTE).label == "routed.admission_expired"


def test_a_producers_admission_gives_the_place_in_the_line_back() -> None:
    """Nobody holds a place in a queue beside an admission; the queue's answers don't take the admission away."""
    journey = World(one()).do("start").do("enter_queue").told("entered", "line", participation="line-1")
    assert journey.trusted("mark_admitted", jti="j").asked == [("line", "leave")]
    assert journey.told("left", "line", reason="left").label == "routed.admitted"
    assert journey.told("admitted", "line", jti="other", expires_ms=0).label == "routed.admitted"
    assert journey.state.admission.jti == "j"
    assert grant_facts(journey.state, journey.now_ms) is None, "its producer proves it"


def test_an_admission_that_is_over_already_is_rejected() -> None:
    """An end in the past, by a producer whose clock is off, admits nobody."""
    journey = World(one()).do("start")
    assert (
        journey.trusted("mark_admitted", jti="j", expires_ms=journey.now_ms).rule
        == "experience.admission_over"
    )


def test_tokens_are_refused_where_they_would_be_stored() -> None:
    """`mark_admitted` takes the grant's id; a token is Malformed, and isn't quoted."""
    with pytest.raises(Exception, match="a token is never stored") as refused:
        World(one()).do("start").trusted("mark_admitted", token="canary", expires_ms=1)
    assert "canary" not in str(refused.value)


def test_admission_before_there_is_a_sequence_is_rejected() -> None:
    """Nobody is admitted to nothing."""
    assert World(one()).trusted("mark_admitted", jti="j").rule == "experience.not_started"
    assert (
        World(one(when=False)).do("start").trusted("mark_admitted", jti="j").rule == "experience.not_routed"
    )
