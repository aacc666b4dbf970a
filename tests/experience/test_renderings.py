"""Two renderings of one state: JourneySnapshot and the public JourneyView."""

import itertools
import json
from typing import Any

import pytest
from msgspec.structs import replace

from orchestrator.journeys.experience.public import (
    CONDITIONS,
    PHASES,
    STAGES,
    VIEW_PHASES,
    VIEW_STAGES,
    condition,
    public_view,
)
from orchestrator.journeys.experience.snapshot import snapshot
from orchestrator.journeys.experience.stages import (
    JOURNEY_STAGES,
    REQUIREMENTS,
    SEQUENCE_STAGES,
)
from orchestrator.journeys.experience.state import (
    CHECKING,
    MET,
    OPEN,
    SKIPPED,
    Admission,
    ExperienceState,
    Need,
    Offer,
    Seat,
    journey_stage,
)
from tests.experience.documents import GATED, ONE_SEQUENCE
from tests.experience.test_actions import ROWS
from tests.experience.world import MINUTE, World

MECHANISMS = ("queue", "draw", "auction", "timed_release", "appointment")
NOW_MS = 1_000


def states() -> Any:
    """Every combination of what the renderings look at."""
    admissions = (
        None,
        Admission("j", "line"),
        Admission("j", "line", NOW_MS),
        Admission("j", "line", redeemed=True),
    )
    offers = (None, Offer("line"), Offer("line", NOW_MS))
    for stage, mechanism, settling, paused, admission, offer, after in itertools.product(
        SEQUENCE_STAGES,
        MECHANISMS,
        (False, True),
        (False, True),
        admissions,
        offers,
        ("reenter", "waitlist", "end"),
    ):
        seat = None if stage == "none" else Seat("s", "S", "line", mechanism, "wait", on_expired=after)
        yield ExperienceState(
            experience="e", version=1, seat=seat, stage=stage, settling=settling, paused=paused,
            admission=admission, offer=offer,
        )  # fmt: skip


def test_the_tables_are_total() -> None:
    """Every stage with every condition has a word of the view, and no other word is used."""
    assert set(STAGES) == set(itertools.product(JOURNEY_STAGES, (False, True)))
    assert set(STAGES.values()) == set(VIEW_STAGES)
    assert set(PHASES) == set(SEQUENCE_STAGES)
    assert all(set(row) == set(CONDITIONS) for row in PHASES.values())
    assert {phase for row in PHASES.values() for phase in row.values()} == set(VIEW_PHASES)


def test_every_state_has_both_renderings() -> None:
    """No combination of what a state can hold is without a phase, and the phase agrees with what can be done."""
    for state in states():
        view, shot = public_view(state, now_ms=NOW_MS), snapshot(state, now_ms=NOW_MS)
        assert view["stage"] in VIEW_STAGES
        assert condition(state, NOW_MS) in CONDITIONS
        actions = shot["availableActions"]
        assert view["actions"] == actions["journey"] + actions["sequence"]
        if state.seat is None:
            assert "sequence" not in view
            continue
        sequence = view["sequence"]
        assert sequence["phase"] in VIEW_PHASES
        assert sequence["mechanism"] == (
            "waitlist" if state.stage == "waitlist_entered" else state.seat.mechanism
        )
        assert ("grant" in sequence) == (sequence["phase"] == "granted" and state.admission is not None)


def test_an_enterable_phase_can_be_entered_and_no_other_can() -> None:
    """What the view calls enterable has an action that leads in; scheduled, granted, ended and unavailable have none."""
    ways = {
        "enter_queue",
        "enter_draw",
        "enter_auction",
        "enter_timed_release",
        "enter_appointment",
        "accept_offer",
    }
    for name, (build, _) in ROWS.items():
        journey = build()
        sequence = journey.view.get("sequence")
        if sequence is None or journey.state.question is not None:
            continue
        can = bool(ways & set(journey.view["actions"]))
        if sequence["phase"] == "enterable":
            assert can, name
        elif sequence["phase"] == "granted" and sequence["mechanism"] == "appointment":
            assert "enter_appointment" in journey.view["actions"], (
                "another slot can be had for the one booked"
            )
        elif sequence["phase"] != "participating":  # a waitlist lets go on as soon as the sequence is open
            assert not can, name


@pytest.mark.parametrize("status", [OPEN, CHECKING, MET, SKIPPED])
@pytest.mark.parametrize("required", [True, False])
def test_the_journeys_stage_follows_from_its_requirements(status: str, required: bool) -> None:
    """What blocks shows as a gate; what doesn't, doesn't. An optional access code blocks until it is skipped."""
    for type in REQUIREMENTS:
        state = ExperienceState(experience="e", version=1, needs=(Need(type, required, status),))
        blocks = status in {OPEN, CHECKING} and (required or type == "access_code")
        assert public_view(state, now_ms=0)["stage"] == ("gated" if blocks else "routing")
        stage = {"authentication": "needs_auth", "access_code": "needs_access_code", "bot_check": "entering"}[
            type
        ]
        assert journey_stage(state) == (stage if blocks else "routing")


def test_a_snapshot_has_all_fields_of_the_contract() -> None:
    """Revision, time, both stages, requirements, actions, context and events, under their known names."""
    journey = (
        World(GATED).do("start").trusted("authenticate").do("provide_access_code", access_code="VIP2026")
    )
    journey.trusted("complete_bot_check").do("enter_queue").told("entered", "line", participation="line-1")
    journey.told("admitted", "line", jti="j", expires_ms=journey.now_ms + MINUTE).do("ack_all_events")
    shot = snapshot(journey.state, now_ms=journey.now_ms, token="signed")
    assert list(shot) == [
        "revision", "updatedAt", "journeyStage", "sequenceStage", "requirements", "availableActions", "context",
        "events", "lastSeenEventId",
    ]  # fmt: skip
    context = shot["context"]
    assert context["experienceId"] == "gated"
    assert context["experience"] == {"id": "gated", "name": "One"}
    assert context["sequenceId"] == "vip"
    assert (context["distribution"]["id"], context["distribution"]["type"]) == ("line", "queue")
    assert (context["participation"]["id"], context["participation"]["type"]) == ("line-1", "queue")
    assert context["accessCode"] == "vip"
    assert context["admittanceToken"] == "signed"
    assert context["admittanceExpiresAt"] == journey.now_ms + MINUTE


def test_the_snapshots_topic_shows_no_token() -> None:
    """What the kind shows to everybody is the snapshot without secrets."""
    journey = World(ONE_SEQUENCE).do("start").told("admitted", "line", jti="canary", expires_ms=0)
    shown = json.dumps(journey.kind.view(journey.state))
    assert "admittanceToken" not in shown
    assert "canary" not in shown
    assert json.loads(shown)["sequenceStage"] == "admitted"


CANARY = "canary"


def planted() -> tuple[World, list[str]]:
    """A journey of which every private field holds a word that may be in no view, and those words."""
    words = [f"{CANARY}{n:02d}" for n in range(20)]
    (
        reason, metadata, provider, code, other_id, other_name, rule, attribute, segment, record, private, refusal,
        inputs, capacity, score, selected, ticket, sequence_name, sequence_id, token,
    ) = words  # fmt: skip
    document = {
        **ONE_SEQUENCE,
        "requirements": [
            {"type": "authentication", "reason": reason, "metadata": {"m": metadata}, "provider": provider},
            {"type": "access_code", "required": False},
        ],
        "access_codes": {"codes": [{"id": "vip", "code": code}]},
        "sequences": [
            {
                "id": other_id, "name": other_name, "distribution": "drawing", "priority": 1,
                "when": {"==": [{"var": "customer.tier"}, rule]},
            },
            {"id": sequence_id, "name": sequence_name, "distribution": "line", "attributes": {"risk": {"var": "attributes.risk"}}},
        ],
        "distributions": {"line": {"mechanism": "queue", "size": 917_301}, "drawing": {"mechanism": "draw"}},
    }  # fmt: skip
    journey = World(document, record={"attributes": {"tier": record}, "private": {"mail": private}})
    journey.trusted(
        "start", access_code=code, attributes={"risk": attribute, "score": score}, segments=[segment]
    )
    journey.do("authenticate", id_token=token).answer(
        "authentication", result={"subject": "anna", "why": selected}
    )
    journey.do("enter_queue")
    journey.told("refused", "line", action="enter", reason=refusal, inputs={"capacity": inputs})
    journey.do("enter_queue").told(
        "entered", "line", participation="line-1", holders=[ticket], capacity=capacity
    )
    return journey, words


def test_no_private_word_reaches_the_view() -> None:
    """Rules, reasons, codes, other sequences, capacity, risk and metadata are planted; the view has none of them."""
    journey, words = planted()
    assert journey.view["sequence"]["phase"] == "participating"
    for step in (journey, planted()[0].told("updated", "line", phase="open", note=words[0])):
        shown = json.dumps(step.view)
        assert [word for word in words if word in shown] == []
        assert "917301" not in shown


def test_of_the_private_words_the_snapshot_shows_only_its_own_requirements_and_sequence() -> None:
    """The customer's own page sees reason and metadata of requirements and its own sequence's id, nothing more."""
    journey, words = planted()
    shown = json.dumps(journey.shot)
    assert {word for word in words if word in shown} == {words[0], words[1], words[18]}


def test_the_view_says_less_than_the_snapshot_while_gated() -> None:
    """A gate is its type and whether it may be left out."""
    view = World(GATED).do("start").view
    assert view["stage"] == "gated"
    assert view["gates"] == [
        {"type": "authentication", "required": True},
        {"type": "access_code", "required": False},
        {"type": "bot_check", "required": True},
    ]


def test_a_grant_is_in_the_view_only_while_it_is_good() -> None:
    """The token is put in by whoever can sign, and never for a used or ended grant."""
    state = ExperienceState(
        experience="e", version=1, seat=Seat("s", "S", "line", "queue"), stage="admitted",
        admission=Admission("j", "line", 5_000, 2),
    )  # fmt: skip
    grant = public_view(state, now_ms=0, token="signed")["sequence"]["grant"]
    assert grant == {"quantity": 2, "used": False, "expiresAt": 5_000, "token": "signed"}
    assert "grant" not in public_view(state, now_ms=5_000, token="signed")["sequence"]
    used = replace(state, admission=Admission("j", "line", 5_000, redeemed=True))
    assert "token" not in public_view(used, now_ms=0, token="signed")["sequence"]["grant"]
