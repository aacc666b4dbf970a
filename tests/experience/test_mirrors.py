"""Journeys mirror their distributions: random customers, operators and clocks against the real mechanisms."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.core.errors import Rejected
from orchestrator.journeys.experience.stages import (
    ADMITTED,
    PARTICIPATING,
    SEQUENCE_ACTIONS,
    WAITLIST_ENTERED,
)
from tests.experience.documents import ONE_SEQUENCE
from tests.experience.town import Town
from tests.experience.world import HOUR, MINUTE, NOW_MS, SECOND

PEOPLE = ("anna", "bob", "cem", "dora")
MECHANISMS: dict[str, dict[str, Any]] = {
    "queue": {"rate_per_minute": 2, "concurrent": 2, "admission": {"valid": "5m", "again": True}},
    "timed_release": {
        "windows": [
            {"at": "2026-01-05T10:00:00Z", "quantity": 2},
            {"at": "2026-01-05T10:30:00Z", "quantity": 1},
        ],
        "hold": "5m",
    },
    "auction": {
        "style": "english", "start": 1, "increment": 1, "closes_at": "2026-01-05T10:20:00Z", "payment": "5m",
    },
    "appointment": {
        "slots": [
            {"id": "s", "starts_at": "2026-01-05T12:00:00Z", "ends_at": "2026-01-05T13:00:00Z", "capacity": 1},
            {"id": "t", "starts_at": "2026-01-05T13:00:00Z", "ends_at": "2026-01-05T14:00:00Z", "capacity": 2},
        ],
        "hold": "5m", "visit": {"early": "1d"},
    },
}  # fmt: skip
DATA: dict[str, list[dict[str, Any]]] = {
    "place_bid": [{"amount": amount} for amount in (1, 3, 9)],
    "enter_appointment": [{"slot": "s"}, {"slot": "t"}, {"slot": "s", "hold": True}],
}
OPERATIONS: dict[str, tuple[str, ...]] = {
    "queue": ("open", "pause", "resume", "drain", "close"),
    "timed_release": ("pause", "resume", "close"),
    "auction": ("open", "pause", "resume", "close"),
    "appointment": ("open", "pause", "resume", "close"),
}


def document(mechanism: str, after: str) -> dict[str, Any]:
    return {
        **ONE_SEQUENCE,
        "sequences": [{"id": "s", "distribution": "line", "waitlist": "wait", "on_admission_expired": after}],
        "distributions": {
            "line": {"mechanism": mechanism, **MECHANISMS[mechanism]},
            "wait": {"mechanism": "waitlist", "offer": {"valid": "5m"}},
        },
    }


def held(town: Town, mechanism: str, who: str) -> bool | None:
    """Whether the distribution holds a place for somebody, short of an admission; None: it isn't asked here."""
    state = town.place("line").state
    if state is None:
        return False
    if mechanism == "queue":
        return bool(state.waits(who))
    if mechanism == "appointment":
        return who in state.held
    return False if mechanism == "timed_release" else None


def live(town: Town, who: str) -> str | None:
    """The id of somebody's grant that can still be used."""
    state = town.place("line").state
    found = None if state is None else state.admissions.live.get(who)
    return None if found is None else found.jti


def agrees(town: Town, mechanism: str, who: str) -> None:
    """The journey and its distributions tell the same story."""
    state = town.journey(who).state
    if state is None:
        assert not held(town, mechanism, who)
        assert live(town, who) is None
        return
    assert state.question is None, "a question without an answer"
    waits = town.place("wait").state
    assert (state.stage == WAITLIST_ENTERED) == (waits is not None and who in waits.tickets)
    admission = state.admission
    usable = None if admission is None or admission.redeemed else admission.jti
    assert usable == live(town, who)
    assert (state.stage == ADMITTED) == (admission is not None)
    assert held(town, mechanism, who) in {None, state.stage == PARTICIPATING}


def step(data: st.DataObject, town: Town, mechanism: str) -> None:
    """One thing that may happen."""
    actions = ("start", "request_reroute", "refresh_distribution", "destroy", "again", *SEQUENCE_ACTIONS)
    kinds = ["act", "act", "act", "clock", "redeem", "revoke", "operate", "promote"]
    kind, who = data.draw(st.sampled_from(kinds)), data.draw(st.sampled_from(PEOPLE))
    try:
        if kind == "act":
            listed = town.view(who)["actions"] * 3  # mostly what can be done
            action = data.draw(st.sampled_from((*actions, *listed)))
            if action == "again":
                town.do(who, "start", reset=True)
            else:
                town.do(who, action, **data.draw(st.sampled_from(DATA.get(action, [{}]))))
        elif kind == "clock":
            town.until(town.now_ms + data.draw(st.sampled_from([SECOND, 30 * SECOND, 5 * MINUTE, HOUR])))
        elif kind == "operate":
            town.operate("line", data.draw(st.sampled_from(OPERATIONS[mechanism])))
        elif kind == "promote":
            town.operate("wait", "promote", count=1)
        elif (jti := live(town, who)) is not None:
            town.operate("line", kind, jti=jti)
    except Rejected:
        pass


@pytest.mark.parametrize("mechanism", sorted(MECHANISMS))
@settings(deadline=None, max_examples=30, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_journey_says_what_its_distribution_holds(mechanism: str, data: st.DataObject) -> None:
    """After every step: one live grant where the journey shows one, a place where it shows one, no open question."""
    town = Town(document(mechanism, data.draw(st.sampled_from(["reenter", "waitlist", "end"]))), NOW_MS)
    for who in PEOPLE:
        town.do(who, "start")
    for _ in range(data.draw(st.integers(1, 25))):
        step(data, town, mechanism)
        for one in PEOPLE:
            agrees(town, mechanism, one)


@pytest.mark.parametrize("mechanism", sorted(MECHANISMS))
@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_they_agree_again_once_everything_was_heard(mechanism: str, data: st.DataObject) -> None:
    """Questions and answers that cross each other on slow ways leave nobody with two stories."""
    town = Town(document(mechanism, data.draw(st.sampled_from(["reenter", "waitlist", "end"]))), NOW_MS)
    for who in PEOPLE:
        town.do(who, "start")
    town.slow = True
    for _ in range(data.draw(st.integers(1, 40))):
        ways = town.under_way
        if ways and data.draw(st.booleans()):
            town.deliver_one(data.draw(st.sampled_from(ways)))
        else:
            step(data, town, mechanism)
    town.settle()
    for one in PEOPLE:
        agrees(town, mechanism, one)
