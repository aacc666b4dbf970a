"""`availableActions` says exactly what would be accepted: every action performed in every row of the stage table."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.journeys.experience.actions import available, refusal
from orchestrator.journeys.experience.stages import (
    JOURNEY_ACTIONS,
    JOURNEY_STAGES,
    SEQUENCE_ACTIONS,
    SEQUENCE_STAGES,
)
from tests.experience.documents import GATED, one
from tests.experience.world import HOUR, MINUTE, SECOND, World

DATA: dict[str, dict[str, Any]] = {
    "authenticate": {"id_token": "t"},
    "complete_bot_check": {"token": "t"},
    "provide_access_code": {"access_code": "VIP2026"},
    "place_bid": {"amount": 5},
    "enter_appointment": {"slot": "s"},
}
OPENS, CLOSES = "2026-01-05T11:00:00Z", "2026-01-05T12:00:00Z"
ENTER = {
    "queue": "enter_queue",
    "draw": "enter_draw",
    "auction": "enter_auction",
    "timed_release": "enter_timed_release",
    "appointment": "enter_appointment",
}
PROVING = {"authenticate", "provide_access_code", "skip_access_code", "complete_bot_check"}
OUTSIDE = {"request_reroute", "refresh_distribution"}


def gated(*actions: str) -> World:
    journey = World(GATED).do("start")
    for action in actions:
        journey.trusted(action, **({"access_code": "VIP2026"} if action == "provide_access_code" else {}))
    return journey


def routed(mechanism: str = "queue", **sequence: Any) -> World:
    return World(one(mechanism, **sequence)).do("start")


def inside(mechanism: str = "queue", **sequence: Any) -> World:
    return routed(mechanism, **sequence).told("entered", "line", participation="line-1")


def waiting(**sequence: Any) -> World:
    return routed(waitlist="wait", **sequence).told("entered", "wait", participation="wait-1")


def admitted(mechanism: str = "queue", **sequence: Any) -> World:
    journey = inside(mechanism, **sequence)
    return journey.told("admitted", "line", jti="j", expires_ms=journey.now_ms + MINUTE)


def later(journey: World, ms: int) -> World:
    """The clock moves before any timer had its turn."""
    journey.now_ms += ms
    return journey


def guessed() -> World:
    journey = gated("authenticate", "complete_bot_check")
    for n in range(5):
        journey.do("provide_access_code", access_code=f"no{n}")
    return journey


ROWS: dict[str, tuple[Callable[[], World], set[str]]] = {
    "not started": (lambda: World(GATED), {"start"}),
    "destroyed": (lambda: routed().do("destroy"), {"start"}),
    "destroyed after guesses": (lambda: guessed().do("destroy"), {"start"}),
    "needs_auth": (gated, PROVING),
    "needs_auth, being checked": (
        lambda: gated().do("authenticate", id_token="t"),
        PROVING - {"authenticate"},
    ),
    "needs_access_code": (lambda: gated("authenticate"), PROVING - {"authenticate"}),
    "needs_access_code, throttled": (guessed, {"skip_access_code"}),
    "needs_access_code, being counted": (
        lambda: gated("authenticate", "complete_bot_check").do("provide_access_code", access_code="FEW2026"),
        set(),
    ),
    "needs_access_code, uncounted": (
        lambda: (
            gated("authenticate", "complete_bot_check")
            .do("provide_access_code", access_code="FEW2026")
            .wait(MINUTE)
        ),
        {"retry"},
    ),
    "entering": (lambda: gated("authenticate", "provide_access_code"), {"complete_bot_check"}),
    "entering, being checked": (
        lambda: gated("authenticate", "provide_access_code").do("complete_bot_check", token="t"),
        set(),
    ),
    "routing": (lambda: routed(when=False), {"request_reroute", "retry"}),
    "routed after a skipped code": (
        lambda: gated("authenticate", "skip_access_code", "complete_bot_check"),
        {*OUTSIDE, "enter_draw", "provide_access_code"},
    ),
    "upcoming": (lambda: routed(opens_at=OPENS), OUTSIDE),
    "upcoming with a waitlist": (
        lambda: routed(opens_at=OPENS, waitlist="wait"),
        {*OUTSIDE, "enter_waitlist"},
    ),
    "upcoming, opening now": (lambda: later(routed(opens_at=OPENS), HOUR), {*OUTSIDE, "enter_queue"}),
    "waitlist_entered before the opening": (
        lambda: waiting(opens_at=OPENS),
        {"refresh_distribution", "leave_waitlist"},
    ),
    "waitlist_entered after the opening": (
        waiting,
        {"refresh_distribution", "leave_waitlist", "enter_queue"},
    ),
    "waitlist_entered after the closing": (
        lambda: later(waiting(closes_at=CLOSES), 2 * HOUR),
        {"refresh_distribution", "leave_waitlist"},
    ),
    "waitlist_entered with an offer": (
        lambda: waiting(opens_at=OPENS).told("offered", "wait", expires_ms=0),
        {"refresh_distribution", "leave_waitlist", "accept_offer"},
    ),
    "waitlist_entered, the offer over": (
        lambda: later(waiting(opens_at=OPENS).told("offered", "wait", expires_ms=1), SECOND),
        {"refresh_distribution", "leave_waitlist"},
    ),
    **{
        f"active_enterable {mechanism}": (lambda m=mechanism: routed(m), {*OUTSIDE, action})
        for mechanism, action in ENTER.items()
    },
    "active_enterable with a waitlist": (
        lambda: routed(waitlist="wait"),
        {*OUTSIDE, "enter_queue", "enter_waitlist"},
    ),
    "active_enterable, paused": (
        lambda: routed().do("refresh_distribution").told("updated", "line", phase="paused"),
        OUTSIDE,
    ),
    "active_enterable, closing now": (lambda: later(routed(closes_at=CLOSES), 2 * HOUR), OUTSIDE),
    "active_enterable, asked": (lambda: routed().do("enter_queue"), set()),
    "active_enterable, unanswered": (lambda: routed().do("enter_queue").wait(MINUTE), {"retry"}),
    "active_enterable, refreshing": (lambda: routed().do("refresh_distribution"), set()),
    "participating queue": (inside, {"refresh_distribution", "leave_participation"}),
    "participating draw": (lambda: inside("draw"), {"refresh_distribution", "leave_participation"}),
    "participating draw, settling": (
        lambda: inside("draw").told("settling", "line"),
        {"refresh_distribution"},
    ),
    "participating draw with an offer": (
        lambda: inside("draw").told("settling", "line").told("offered", "line", expires_ms=0),
        {"refresh_distribution", "leave_participation", "accept_offer"},
    ),
    "participating auction": (
        lambda: inside("auction"),
        {"refresh_distribution", "leave_participation", "place_bid"},
    ),
    "participating auction, settling": (
        lambda: inside("auction").told("settling", "line"),
        {"refresh_distribution"},
    ),
    "participating timed_release": (
        lambda: inside("timed_release"),
        {"refresh_distribution", "leave_participation", "complete_timed_release"},
    ),
    "participating appointment": (
        lambda: inside("appointment"),
        {"refresh_distribution", "leave_participation", "enter_appointment", "cancel_appointment"},
    ),
    "admitted queue": (admitted, {"refresh_distribution", "leave_participation"}),
    "admitted timed_release": (
        lambda: admitted("timed_release"),
        {"refresh_distribution", "leave_participation", "complete_timed_release"},
    ),
    "admitted appointment": (
        lambda: admitted("appointment"),
        {"refresh_distribution", "leave_participation", "enter_appointment", "cancel_appointment"},
    ),
    "admitted, over": (lambda: later(admitted("timed_release"), MINUTE), {"refresh_distribution"}),
    "admitted, redeemed": (
        lambda: admitted().told("redeemed", "line", jti="j"),
        {"refresh_distribution"},
    ),
    "admitted by a producer": (
        lambda: routed().trusted("mark_admitted", jti="j"),
        {"refresh_distribution"},
    ),
    "admission_expired, reenter": (
        lambda: admitted(on_admission_expired="reenter").told("expired", "line", what="admission"),
        {*OUTSIDE, "enter_queue"},
    ),
    "admission_expired, waitlist": (
        lambda: admitted(on_admission_expired="waitlist", waitlist="wait").told(
            "expired", "line", what="admission"
        ),
        {*OUTSIDE, "enter_waitlist"},
    ),
    "admission_expired, end": (
        lambda: admitted(waitlist="wait").told("expired", "line", what="admission"),
        OUTSIDE,
    ),
    "ended": (lambda: routed(waitlist="wait").told("ended", "line", reason="closed"), OUTSIDE),
}


def performed(journey: World) -> set[str]:
    """The actions that a copy of the journey accepts when they are performed with good data."""
    accepted = set()
    for action in (*JOURNEY_ACTIONS, *SEQUENCE_ACTIONS):
        trial = copy.copy(journey)
        trial.events, trial.timers = list(journey.events), dict(journey.timers)
        if not trial.do(action, **DATA.get(action, {})).rule:
            accepted.add(action)
    return accepted


@pytest.mark.parametrize("row", sorted(ROWS))
def test_what_is_available_is_what_is_accepted(row: str) -> None:
    """In this row the list, the decider and the written table agree about every action."""
    build, expected = ROWS[row]
    journey = build()
    listed = journey.actions
    assert performed(journey) == {*listed["journey"], *listed["sequence"]}
    assert {*listed["journey"], *listed["sequence"]} == expected


def test_the_rows_cover_every_stage() -> None:
    """Each journey stage and each sequence stage of the contract is among the rows."""
    shots = [build().shot for build, _ in ROWS.values()]
    assert {shot["journeyStage"] for shot in shots} == set(JOURNEY_STAGES)
    assert {shot["sequenceStage"] for shot in shots} == set(SEQUENCE_STAGES)


def test_every_action_is_available_somewhere() -> None:
    """No action of the contract is a dead word."""
    lists = [build().actions for build, _ in ROWS.values()]
    assert {action for one in lists for action in one["journey"]} == set(JOURNEY_ACTIONS)
    assert {action for one in lists for action in one["sequence"]} == set(SEQUENCE_ACTIONS)


def test_the_lists_keep_the_contracts_order_and_sides() -> None:
    """Journey actions and sequence actions are never mixed."""
    for build, _ in ROWS.values():
        listed = build().actions
        assert listed["journey"] == [one for one in JOURNEY_ACTIONS if one in listed["journey"]]
        assert listed["sequence"] == [one for one in SEQUENCE_ACTIONS if one in listed["sequence"]]


def test_what_is_no_action_is_an_error() -> None:
    """Asking about an unknown word is a programmer's slip, never a silent yes."""
    with pytest.raises(KeyError):
        refusal(None, "enter_everything", 0)
    assert available(None, 0) == {"journey": ["start"], "sequence": []}
