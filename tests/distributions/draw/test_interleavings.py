"""A draw under anything that may come in any order: what must hold holds after every step."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from orchestrator.distributions.draw import steps as draw_steps
from orchestrator.distributions.draw.proof import proof_of
from orchestrator.distributions.draw.state import PLACED, STANDING, DrawState
from orchestrator.distributions.fairness.checking import check
from tests.distributions.draw.drawing import BEACON, VALUE, Drawing
from tests.support.room import Rejected, answers

NAMES = [f"cus-{number}" for number in range(12)]
PROVEN = {"telling", "settled", "ended"}
name = st.sampled_from(NAMES)


def picture(state: DrawState) -> dict[str, Any]:
    """All of a state, to compare."""
    grants = state.admissions
    return {
        **{n: v for n, v in vars(state).items() if n not in {"ranks", "offers", "admissions"}},
        "ranks": [getattr(state.ranks, slot) for slot in state.ranks.__slots__],
        "offers": {who: state.offers.get(who) for who in state.participants},
        "grants": (grants.live, grants.granted, grants.redeemed, grants.expired, grants.revoked),
    }


class Machine(RuleBasedStateMachine):
    """Participants, operators, servers and the clock, each as they like."""

    @initialize(
        winners=st.integers(1, 4),
        reserves=st.integers(0, 5),
        claim=st.booleans(),
        beacon=st.booleans(),
        early=st.lists(st.tuples(name, st.integers(1, 10)), max_size=10),
    )
    def begin(self, *, winners: int, reserves: int, claim: bool, beacon: bool, early: list[Any]) -> None:
        part: dict[str, Any] = {"claim_within": "1h"} if claim else {}
        self.draw = Drawing(winners=winners, reserves=reserves, admission={"valid": "30m"}, **part)
        self.draw.opened(beacon=BEACON if beacon else None)
        for who, weight in early:
            self.ask(who, "enter", weight)

    @rule(
        who=name,
        action=st.sampled_from(["enter", "leave", "claim", "refresh", "complete"]),
        weight=st.integers(0, 11),
    )
    def ask(self, who: str, action: str, weight: int) -> None:
        """Every ask is answered, exactly once."""
        told = self.draw.ask(who, action, attributes={"weight": weight})
        assert len(answers(told, who)) == 1

    @rule(word=st.sampled_from(["open", "close", "pause", "resume", "abandon", "draw", "beacon"]))
    def operate(self, word: str) -> None:
        data = {"draw": {"secret": self.draw.secret.hex()}, "beacon": {"round": 7, "value": VALUE}}
        self.attempt(word, **data.get(word, {}))

    @rule()
    def hold(self) -> None:
        """What an operator does in order."""
        for word in ("close", "tick", "beacon", "draw"):
            if word == "tick":
                self.draw.tick(3)
            else:
                self.operate(word)

    @rule(seconds=st.sampled_from([0, 1, 900, 1_800, 3_600, 7_200]))
    def wait(self, seconds: int) -> None:
        self.draw.later(seconds * 1_000)

    @rule(timer=st.sampled_from(["tick", "tick", "tick", "expiry", "open", "close"]))
    def fire(self, timer: str) -> None:
        if self.draw.state is not None:
            self.draw.fire(timer)

    @rule(data=st.data(), word=st.sampled_from(["redeem", "redeem", "revoke"]))
    def use(self, data: Any, word: str) -> None:
        """A server uses a grant, of now or of before, or one that never was."""
        given_out = [g.jti for e in self.draw.events if e.NAME == "distribution.granted.v1" for g in e.grants]
        self.attempt(word, jti=data.draw(st.sampled_from([*given_out, "none"])))

    @rule(span=st.sampled_from(["10m", "2h"]), more=st.sampled_from([{}, {"winners": 9}]))
    def configure(self, span: str, more: dict[str, int]) -> None:
        self.attempt("configure", valid=span, **more)

    def attempt(self, word: str, **data: Any) -> None:
        before = len(self.draw.events)
        try:
            self.draw.operate(word, **data)
        except Rejected:
            assert len(self.draw.events) == before

    @invariant()
    def nothing_is_given_twice(self) -> None:
        """Places = used + live + offered + free; one grant or offer per participant."""
        state = self.draw.state
        grants = state.admissions
        placed = min(len(state.order), state.places)
        assert placed == grants.redeemed + len(grants.live) + len(state.offers) + len(state.vacancies)
        assert grants.granted == grants.redeemed + grants.expired + grants.revoked + len(grants.live)
        assert not any(who in state.offers for who in grants.live)
        used = Counter(e.participant for e in self.draw.events if e.NAME == "distribution.grant_redeemed.v1")
        assert sum(used.values()) <= state.config.winners
        assert all(times == 1 for times in used.values())
        assert len(state.order) == len(set(state.order)) == sum(f == PLACED for f in state.fates)

    @invariant()
    def a_restart_changes_nothing(self) -> None:
        """What is folded from the log is what was decided with."""
        assert picture(self.draw.replayed()) == picture(self.draw.state)

    @invariant()
    def the_proof_holds(self) -> None:
        """From the moment that the places are drawn, at every step."""
        state = self.draw.state
        if state.seed and state.phase in PROVEN:
            report = check(proof_of(state))
            assert report.passed, report.findings

    def teardown(self) -> None:
        """Left alone, it comes to its end, and everyone who is in has heard it once."""
        if not hasattr(self, "draw"):
            return
        draw, state = self.draw, self.draw.state
        if state.phase == "open":
            draw.operate("close")
        draw.tick()
        if state.phase == "sealed":
            draw.revealed()
        for _ in range(30):
            draw.tick()
            draw.later(7_200_000).fire("expiry")
        assert state.phase == "ended"
        assert picture(draw.replayed()) == picture(state)
        heard = Counter(
            (t.stream, t.type)
            for t in draw.told
            if t.type in {"distribution.not_selected", "distribution.ended", "distribution.settling"}
        )
        assert all(times == 1 for times in heard.values())
        rest = [who for who, t in state.tickets.items() if state.fates[t - 1] == STANDING]
        for who in rest:
            told = {t.type for t in answers(draw.told, who)}
            assert told & {"distribution.not_selected", "distribution.ended"}
        for ticket in state.order:
            told = {t.type for t in answers(draw.told, state.participants[ticket - 1])}
            assert told & {"distribution.admitted", "distribution.offered", "distribution.not_selected"}


@pytest.mark.parametrize("at_once", [1_000, 2])
def test_no_interleaving_breaks_a_draw(at_once: int, monkeypatch) -> None:
    """Asks, repeats, operators, servers, expiries and pauses in any order, in large pieces and in small ones."""
    monkeypatch.setattr(draw_steps, "AT_ONCE", at_once)
    monkeypatch.setattr(draw_steps, "BALLS_AT_ONCE", 10 * at_once)
    checks = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)
    config = settings(max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=checks)
    run_state_machine_as_test(Machine, settings=config)
