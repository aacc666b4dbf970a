import sys
from typing import Any

import msgspec
import pytest

from orchestrator.distributions.draw import ranks as draw_ranks
from orchestrator.distributions.draw import steps as draw_steps
from orchestrator.distributions.draw.events import DrawEntered, NotSelected
from orchestrator.distributions.draw.proof import NotDrawn, proof_of
from orchestrator.distributions.fairness.ranking import ranking
from tests.distributions.draw.drawing import BEACON, BEACON_MS, HOUR_MS, VALUE, Drawing, who
from tests.support.room import Rejected, answers

NAMES = ("anna", "ben", "cleo", "dora", "emil", "fay", "gus", "hana")


def rejected(draw: Drawing, type: str, **data: Any) -> str:
    """The rule that rejects a command."""
    with pytest.raises(Rejected) as no:
        draw.operate(type, **data)
    return no.value.rule


def names(draw: Drawing, tickets: Any) -> list[str]:
    return [draw.state.participants[ticket - 1] for ticket in tickets]


def test_everyone_hears_how_it_went() -> None:
    """Settling at the close, then exactly one of: admitted, a reserve that waits, not selected."""
    draw = Drawing().opened().enter(*NAMES)
    told = draw.drawn()
    assert who(draw.told, "settling") == set(NAMES)
    admitted, lost = who(told, "admitted"), who(told, "not_selected")
    assert admitted == set(names(draw, draw.state.order[:2]))
    assert lost == set(NAMES) - set(names(draw, draw.state.order))
    assert len(lost) == 4
    assert draw.verified().operator_proof


def test_the_winners_are_the_first_of_the_ranking() -> None:
    """The mechanism and the published formula agree, in pieces of any size."""
    draw = Drawing(winners=5).opened().enter(**{f"cus-{i}": 1 + i % 10 for i in range(60)})
    draw.drawn()
    leaves = [draw.state.leaf(ticket) for ticket in range(1, 61)]
    expected = ranking(bytes.fromhex(draw.state.seed), leaves, list(draw.state.weights))
    assert [ticket - 1 for ticket in draw.state.order] == expected[:7]


def test_long_draws_go_in_pieces(monkeypatch) -> None:
    """No decision tells more than its share, nor ranks more balls; the outcome is the same."""
    monkeypatch.setattr(draw_steps, "AT_ONCE", 7)
    monkeypatch.setattr(draw_steps, "SCAN_AT_ONCE", 11)
    monkeypatch.setattr(draw_steps, "BALLS_AT_ONCE", 30)
    draw = Drawing(winners=20, reserves=15).opened()
    draw.enter(**{f"cus-{i}": 1 + i % 10 for i in range(100)})
    for i in range(0, 100, 3):
        draw.ask(f"cus-{i}", "leave")
    draw.sealed()
    draw.now_ms = BEACON_MS
    draw.operate("beacon", round=7, value=VALUE)
    draw.operate("draw", secret=draw.secret.hex())
    steps = 0
    while draw.state.phase != "settled":
        assert len(draw.fire("tick")) <= 7
        steps += 1
    assert steps > 20
    assert len(who(draw.told, "settling")) == 66
    assert len(who(draw.told, "admitted")) == 20
    assert len(who(draw.told, "not_selected")) == 31
    draw.verified()
    assert draw.kind.view(draw.replayed()) == draw.kind.view(draw.state)


def test_equal_beginnings_of_keys_are_told_apart(monkeypatch) -> None:
    """Where the first bits of two keys agree the rest decides, so no shortcut changes a rank."""
    monkeypatch.setattr(draw_ranks, "_PREFIX_BYTES", 0)
    monkeypatch.setattr(draw_steps, "BALLS_AT_ONCE", 10)
    draw = Drawing(winners=30).opened().enter(**{f"cus-{i}": 1 + i % 10 for i in range(50)})
    draw.drawn()
    draw.verified()


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_entrants_leave_nothing_undone(count: int) -> None:
    """Nobody in, fewer than places, as many, one more: it is drawn, and it ends."""
    draw = Drawing().opened().enter(*NAMES[:count])
    draw.drawn()
    assert len(who(draw.told, "admitted")) == min(count, 2)
    draw.verified()
    for _ in range(3):
        draw.later(25 * HOUR_MS).fire("expiry")
        draw.tick()
    assert draw.state.phase == "ended"
    assert draw.state.root
    draw.verified()


def test_an_offer_is_claimed_in_time_or_goes_to_the_next() -> None:
    """Who doesn't claim expires, with the reason in the log; the next of the ranking is offered the place."""
    draw = Drawing(claim_within="1h", admission={"valid": "15m"}).opened().enter(*NAMES)
    told = draw.drawn()
    first, second, third, fourth = names(draw, draw.state.order)
    assert who(told, "offered") == {first, second}
    assert who(told, "admitted") == set()
    assert draw.ask(third, "claim")[0].data["reason"] == "draw.nothing_to_claim"
    assert [t.type for t in draw.ask(first, "claim")] == ["distribution.admitted"]
    assert draw.ask(first, "claim")[0].data["reason"] == "draw.nothing_to_claim"
    draw.later(HOUR_MS)
    assert draw.ask(second, "claim")[0].data["reason"] == "draw.claim_window_over"
    told = draw.fire("expiry")
    assert [t.data["what"] for t in answers(told, second)] == ["offer"]
    draw.tick()
    assert {r.reason for r in draw.state.replacements} == {"unclaimed", "unused"}  # the grant was over, too
    assert who(draw.told, "offered") == {first, second, third, fourth}
    draw.verified()
    draw.later(2 * HOUR_MS).fire("expiry")
    draw.tick()
    assert draw.state.phase == "ended"
    assert draw.verified().replacements == list(draw.state.order[2:])


def test_an_unused_admission_goes_to_the_next() -> None:
    """The winner is told that it expired; when nobody is left, so is the draw."""
    draw = Drawing(winners=1, reserves=1, admission={"valid": "15m"}).opened().enter(*NAMES[:3])
    draw.drawn()
    winner, reserve = names(draw, draw.state.order)
    draw.later(HOUR_MS)
    told = draw.fire("expiry") + draw.tick()
    assert answers(told, winner)[0].data["what"] == "admission"
    assert who(told, "admitted") == {reserve}
    (told,) = draw.operate("redeem", jti=draw.state.admissions.live[reserve].jti, reference="order-1")
    assert told.type == "distribution.redeemed"
    draw.tick()
    assert draw.state.phase == "ended"
    draw.verified()


def test_a_winner_may_give_the_place_back() -> None:
    """Leaving is answered once; the place goes to the next with the reason `declined`."""
    for part in ({}, {"claim_within": "1h"}):
        draw = Drawing(winners=1, reserves=1, **part).opened().enter(*NAMES[:3])
        draw.drawn()
        winner, reserve = names(draw, draw.state.order)
        (told,) = draw.ask(winner, "leave")
        assert (told.type, told.data["reason"]) == ("distribution.left", "left")
        assert who(draw.tick(), "offered" if part else "admitted") == {reserve}
        assert [r.reason for r in draw.state.replacements] == ["declined"]
        draw.verified()


def test_a_revoked_grant_is_replaced_for_all_to_see() -> None:
    """The proof names the reason, since an organizer could otherwise choose winners by revoking."""
    draw = Drawing(winners=1, reserves=1).opened().enter(*NAMES[:3])
    draw.drawn()
    winner, _ = names(draw, draw.state.order)
    draw.operate("revoke", jti=draw.state.admissions.live[winner].jti, reason="fraud")
    draw.tick()
    assert proof_of(draw.state).awards[-1].reason == "revoked"
    draw.verified()


def test_reserves_are_told_when_no_place_is_left() -> None:
    """Once every winner has used the place, those who waited hear it, and the draw ends."""
    draw = Drawing().opened().enter(*NAMES)
    draw.drawn()
    for live in list(draw.state.admissions.live.values()):
        draw.operate("redeem", jti=live.jti)
    told = draw.tick()
    assert who(told, "not_selected") == set(names(draw, draw.state.order[2:]))
    assert {event.reason for event in draw.events if isinstance(event, NotSelected)} == {
        "not_drawn",
        "no_place_left",
    }
    assert draw.state.phase == "ended"


def test_steps_out_of_order_are_rejected_by_name() -> None:
    """Commit, close, seal, beacon, draw: none can be taken before the one before it, or twice."""
    draw = Drawing()
    secret = draw.secret.hex()
    assert rejected(draw, "beacon", round=7, value=VALUE) == "draw.not_committed"
    assert rejected(draw, "draw", secret=secret) == "draw.not_committed"
    assert rejected(draw, "close") == "draw.not_open"
    draw.opened().enter(*NAMES)
    assert rejected(draw, "commit", commitment="ab" * 32, salt_key="ab" * 32) == "draw.already_committed"
    assert rejected(draw, "open") == "draw.already_open"
    assert rejected(draw, "beacon", round=7, value=VALUE) == "draw.not_closed"
    assert rejected(draw, "draw", secret=secret) == "draw.not_closed"
    draw.operate("close")
    assert rejected(draw, "close") == "draw.closed"
    assert rejected(draw, "beacon", round=7, value=VALUE) == "draw.not_sealed"
    assert rejected(draw, "draw", secret=secret) == "draw.not_sealed"
    draw.tick()
    assert rejected(draw, "draw", secret=secret) == "draw.beacon_missing"
    assert rejected(draw, "beacon", round=7, value=VALUE) == "draw.beacon_too_early"
    draw.now_ms = BEACON_MS
    assert rejected(draw, "beacon", round=8, value=VALUE) == "draw.other_round"
    draw.operate("beacon", round=7, value=VALUE)
    assert rejected(draw, "beacon", round=7, value="cd" * 32) == "draw.beacon_already_given"
    assert rejected(draw, "draw", secret="cd" * 32) == "draw.secret_mismatch"
    draw.operate("draw", secret=secret)
    assert rejected(draw, "draw", secret=secret) == "draw.already_drawn"
    assert rejected(draw, "abandon") == "draw.already_drawn"
    with pytest.raises(NotDrawn, match="not drawn yet"):
        proof_of(draw.state)
    draw.tick()
    assert rejected(draw, "open") == "draw.closed"


def test_a_beacon_that_could_be_known_is_not_accepted() -> None:
    """A round that is already published, or published before the close, can't be named."""
    past = {**BEACON, "at": "2023-11-14T22:00:00Z"}
    draw = Drawing()
    assert rejected(draw, "commit", commitment="ab" * 32, salt_key="ab" * 32, beacon=past) == (
        "draw.beacon_published"
    )
    draw = Drawing(closes_at="2023-11-15T01:00:00Z")
    assert rejected(draw, "commit", commitment="ab" * 32, salt_key="ab" * 32, beacon=BEACON) == (
        "draw.beacon_before_close"
    )
    draw = Drawing(closes_at="2023-11-14T23:00:00Z").opened()
    assert rejected(draw, "configure", closes_at="2023-11-15T01:00:00Z") == "draw.beacon_before_close"


def test_a_draw_without_a_beacon_says_what_it_is_worth() -> None:
    """It can be held, and its proof doesn't claim more than it is."""
    draw = Drawing().opened(beacon=None).enter(*NAMES)
    assert rejected(draw, "beacon", round=7, value=VALUE) == "draw.no_beacon_named"
    draw.drawn()
    assert not draw.verified().operator_proof


def test_entries_sealed_too_late_are_said_to_be() -> None:
    """Closing after the round was published costs the draw its claim, not the entrants their chance."""
    draw = Drawing().opened().enter(*NAMES)
    draw.now_ms = BEACON_MS
    draw.drawn()
    assert not draw.verified().operator_proof


def test_what_was_promised_can_not_be_changed() -> None:
    """After the commitment numbers and weights stay; times and windows may move."""
    draw = Drawing()
    draw.operate("configure", winners=3, reserves=0, weight_max=5, opens_at="2023-11-14T23:00:00Z")
    assert (draw.state.config.winners, draw.state.config.reserves) == (3, 0)
    draw.commit(beacon=BEACON)
    for change in ({"winners": 4}, {"reserves": 1}, {"weight_max": 6}):
        assert rejected(draw, "configure", **change) == "draw.terms_fixed"
    draw.operate("configure", winners=3, closes_at="2023-11-14T23:30:00Z", claim_within="2h", valid="5m")
    assert rejected(draw, "configure", closes_at="2023-11-14T22:59:00Z") == "draw.closes_before_opening"
    draw.later(HOUR_MS).fire("open")
    assert rejected(draw, "configure", opens_at=None) == "draw.already_open"
    draw.operate("configure", closes_at=None)
    draw.later(HOUR_MS).fire("close")
    assert draw.state.phase == "open"
    draw.sealed()
    assert rejected(draw, "configure", closes_at="2023-11-14T23:30:00Z") == "draw.closed"


def test_moved_times_move_opening_and_close() -> None:
    """The timers follow what an operator says, earlier and later."""
    draw = Drawing(opens_at="2023-11-14T23:00:00Z", closes_at="2023-11-14T23:40:00Z")
    draw.commit()
    draw.operate("configure", opens_at="2023-11-14T22:30:00Z")
    draw.later(HOUR_MS // 2).fire("open")
    assert draw.state.phase == "open"
    draw.operate("configure", closes_at="2023-11-15T10:00:00Z")
    draw.later(HOUR_MS).fire("close")
    assert draw.state.phase == "open"
    draw.later(12 * HOUR_MS).fire("close")
    assert draw.state.phase == "sealing"


def test_a_draw_whose_secret_is_lost_can_be_abandoned() -> None:
    """Everyone who is in hears that it ended; nothing can be drawn any more."""
    draw = Drawing().opened().enter(*NAMES)
    draw.ask("anna", "leave")
    draw.sealed()
    draw.operate("abandon", reason="the secret is lost")
    told = draw.tick()
    assert who(told, "ended") == set(NAMES) - {"anna"}
    assert all("lost" not in str(t.data) for t in told)
    assert draw.state.phase == "ended"
    assert rejected(draw, "draw", secret=draw.secret.hex()) == "draw.closed"
    draw = Drawing().opened()
    draw.operate("abandon")
    draw.tick()
    assert draw.state.phase == "ended"


def test_an_entrant_stays_small() -> None:
    """At most 150 bytes beside the id, once ranked: a million fit into a worker."""
    draw, count = Drawing().opened(), 30_000
    state, room = draw.state, draw.state.room
    entered = DrawEntered(room, "", 0, 1, "ab" * 16, state.terms, draw.now_ms)
    for ticket in range(1, count + 1):
        one = msgspec.structs.replace(entered, participant=f"customer-{ticket:08d}", ticket=ticket)
        state = draw.kind.evolve(state, one)
    columns = (state.participants, state.tickets, state.salts, state.weights, state.fates, state.entered_ms)
    state.ranks.add(bytes(32), ((bytes(32), 1, ticket) for ticket in range(1, count + 1)), count)
    ranks = [*state.ranks._tickets, *state.ranks._prefixes]
    numbers = count * sys.getsizeof(count)  # the tickets in the dict
    assert sum(map(sys.getsizeof, (*columns, *ranks))) + numbers < 150 * count
