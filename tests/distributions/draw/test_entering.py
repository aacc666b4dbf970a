from typing import Any

import pytest

from orchestrator.core.errors import Malformed
from orchestrator.distributions.draw.proof import statement_of
from orchestrator.distributions.fairness.entries import draw_hash, entry_leaf, identity
from tests.distributions.draw.drawing import HOUR_MS, Drawing, who
from tests.support.room import Rejected, answers


def refusal(told: Any) -> tuple[str, dict[str, Any]]:
    (answer,) = told
    assert answer.type == "distribution.refused"
    return answer.data["reason"], answer.data["inputs"]


def test_who_enters_gets_all_that_a_receipt_states() -> None:
    """The salt opens the leaf: an entrant sees that the entry is their own and nobody else's."""
    draw = Drawing().opened()
    (told,) = draw.ask("anna", "enter", attributes={"weight": 3})
    assert (told.type, told.data["ticket"], told.data["participation"]) == (
        "distribution.entered",
        1,
        "main-1",
    )
    receipt = told.data["receipt"]
    opened = identity(bytes.fromhex(receipt["salt"]), "anna")
    assert entry_leaf(draw_hash(receipt["draw"]), 1, 3, opened).hex() == receipt["leaf"]
    statement = statement_of(draw.state, "anna")
    assert {name: getattr(statement, name) for name in receipt if name != "salt"} == {
        name: value for name, value in receipt.items() if name != "salt"
    }
    assert receipt["terms"] == draw.state.terms


def test_entering_twice_is_refused_with_the_receipt_again() -> None:
    """A lost answer can be had again, and nobody is in twice."""
    draw = Drawing().opened()
    (first,) = draw.ask("anna", "enter")
    reason, inputs = refusal(draw.ask("anna", "enter"))
    assert reason == "draw.already_entered"
    assert inputs["receipt"] == first.data["receipt"]
    assert draw.state.size == 1


@pytest.mark.parametrize("weight", [0, 11, -1, 1.5, "3", True, None, [1]], ids=repr)
def test_a_weight_out_of_bounds_is_refused(weight: Any) -> None:
    """Nobody gets more chance than the terms allow, or an entry without any."""
    draw = Drawing().opened()
    reason, _ = refusal(draw.ask("anna", "enter", attributes={"weight": weight}))
    assert reason == "draw.weight_out_of_bounds"


def test_a_rule_may_give_a_weight_as_a_float() -> None:
    """3.0 from a rule's arithmetic is 3; without a weight it is 1."""
    draw = Drawing().opened()
    draw.ask("anna", "enter", attributes={"weight": 3.0})
    draw.ask("ben", "enter")
    assert list(draw.state.weights) == [3, 1]


def test_nobody_enters_before_the_opening_or_after_the_close() -> None:
    """Not even in the moment between the closing time and its timer."""
    draw = Drawing(opens_at="2023-11-14T23:00:00Z", closes_at="2023-11-14T23:30:00Z")
    assert refusal(draw.ask("anna", "enter"))[0] == "draw.not_open"
    draw.commit()
    draw.later(HOUR_MS).fire("open")
    assert draw.ask("anna", "enter")[0].type == "distribution.entered"
    draw.later(HOUR_MS)
    assert refusal(draw.ask("ben", "enter"))[0] == "draw.closed"
    draw.fire("close")
    assert refusal(draw.ask("ben", "enter"))[0] == "draw.closed"
    assert refusal(draw.ask("anna", "leave"))[0] == "draw.closed"


def test_a_draw_opens_when_it_is_committed_and_it_is_time() -> None:
    """Whichever comes later; an entry before the commitment would prove nothing."""
    draw = Drawing(opens_at="2023-11-14T23:00:00Z").later(HOUR_MS)
    with pytest.raises(Rejected) as no:
        draw.operate("open")
    assert no.value.rule == "draw.not_committed"
    draw = Drawing(opens_at="2023-11-14T23:00:00Z")
    draw.ask("anna", "refresh")
    draw.later(HOUR_MS).fire("open")
    assert draw.state.phase == "scheduled"
    assert refusal(draw.ask("anna", "enter"))[0] == "draw.not_open"
    draw.commit()
    assert draw.state.phase == "open"


def test_who_comes_before_the_timer_of_the_opening_is_in() -> None:
    """After an outage the asks of it are decided by their own time, whichever of the two is looked at first."""
    draw = Drawing(opens_at="2023-11-14T23:00:00Z", closes_at="2023-11-15T01:00:00Z")
    draw.commit()
    assert refusal(draw.ask("anna", "enter"))[0] == "draw.not_open"
    draw.later(HOUR_MS)
    assert draw.ask("anna", "enter")[0].type == "distribution.entered"
    assert draw.state.phase == "open"
    assert draw.fire("open") == []
    assert draw.state.times["opened_ms"] == draw.now_ms
    assert draw.ask("ben", "enter")[0].type == "distribution.entered"
    draw.later(3 * HOUR_MS)
    assert refusal(draw.ask("cleo", "enter"))[0] == "draw.closed"


def test_a_draw_that_nobody_committed_ends_at_its_close() -> None:
    """It never opened, so there is nobody to tell."""
    draw = Drawing(closes_at="2023-11-14T23:00:00Z")
    draw.ask("anna", "refresh")
    draw.later(HOUR_MS).fire("close")
    assert draw.state.phase == "ended"


def test_who_leaves_before_the_close_is_out() -> None:
    """They have no ball in the drum, and may enter again with another ticket."""
    draw = Drawing().opened().enter("anna", "ben")
    (told,) = draw.ask("anna", "leave")
    assert (told.type, told.data["reason"]) == ("distribution.left", "left")
    assert refusal(draw.ask("anna", "leave"))[0] == "draw.not_in"
    assert draw.ask("anna", "enter")[0].data["ticket"] == 3
    draw.ask("ben", "leave")
    told = draw.drawn()
    assert who(told, "admitted") == {"anna"}
    assert who(told, "not_selected") == set()
    assert draw.verified().winners == [3]


def test_a_pause_stops_entries_alone() -> None:
    """Whoever is in may leave; after it others may enter."""
    draw = Drawing().opened().enter("anna")
    draw.operate("pause")
    assert refusal(draw.ask("ben", "enter"))[0] == "draw.paused"
    assert draw.kind.label(draw.state) == "PAUSED"
    assert draw.ask("anna", "leave")[0].type == "distribution.left"
    with pytest.raises(Rejected, match=r"draw\.already_paused"):
        draw.operate("pause")
    draw.operate("resume")
    with pytest.raises(Rejected, match=r"draw\.not_paused"):
        draw.operate("resume")
    assert draw.ask("ben", "enter")[0].type == "distribution.entered"


def test_a_refresh_tells_what_is_one_s_own() -> None:
    """Phase and times, and the receipt of who is in; nothing of others."""
    draw = Drawing().opened().enter("anna")
    (told,) = draw.ask("ben", "refresh")
    assert told.type == "distribution.updated"
    assert told.data["phase"] == "open"
    assert "receipt" not in told.data
    (told,) = draw.ask("anna", "refresh")
    assert told.data["ticket"] == 1
    draw.drawn()
    (told,) = draw.ask("anna", "refresh")
    assert told.data["phase"] == "settled"
    assert told.data["jti"] == draw.state.admissions.live["anna"].jti


@pytest.mark.parametrize("action", ["complete", "bid", "book", "cancel"])
def test_what_a_draw_does_not_do_is_refused_with_what_it_does(action: str) -> None:
    """An ask is answered in any case."""
    reason, inputs = refusal(Drawing().opened().ask("anna", action))
    assert reason == "draw.not_an_action"
    assert "claim" in inputs["actions"]


def test_only_journeys_of_the_experience_take_part() -> None:
    """An operator, or a stream of another experience, can't enter for somebody."""
    draw = Drawing().opened()
    with pytest.raises(Rejected, match=r"distribution\.not_a_participant"):
        draw._decide(draw.kind.parse("enter", {}), "operators", "c1")


@pytest.mark.parametrize(
    ("type", "data", "place"),
    [
        ("commit", {"commitment": "ab", "salt_key": "ab" * 32}, "commitment"),
        ("commit", {"commitment": "ab" * 32}, "salt_key"),
        ("commit", {"commitment": "zz" * 32, "salt_key": "ab" * 32}, "commitment"),
        ("commit", {"commitment": "ab" * 32, "salt_key": "ab" * 32, "beacon": 7}, "beacon"),
        (
            "commit",
            {
                "commitment": "ab" * 32,
                "salt_key": "ab" * 32,
                "beacon": {"source": "x", "round": 1, "at": "soon"},
            },
            "at",
        ),
        ("beacon", {"round": 7, "value": "ab"}, "value"),
        ("beacon", {"round": "7", "value": "ab" * 32}, "round"),
        ("draw", {}, "secret"),
        ("draw", {"secret": "ab " * 32}, "secret"),
        ("configure", {"places": 3}, "places"),
        ("configure", {"winners": 0}, "winners"),
        ("redeem", {}, "jti"),
        ("open", {"now": True}, "now"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_command_of_the_wrong_shape_names_its_field(type: str, data: dict[str, Any], place: str) -> None:
    """Who sends it can mend it."""
    with pytest.raises(Malformed, match=place):
        Drawing().opened().operate(type, **data)


def test_the_view_shows_no_participant_and_no_secret() -> None:
    """Commitment, terms and root are public; secret and seed once the draw is held; no one's id ever."""
    draw = Drawing().opened().enter("canary-anna", "canary-ben")
    view = draw.kind.view(draw.state)
    assert {view["commitment"], view["terms"]} == {draw.state.commitment, draw.state.terms}
    assert draw.secret.hex() not in str(view)
    assert draw.state.salt_key.hex() not in str(view)
    draw.drawn()
    view = draw.kind.view(draw.state)
    assert view["root"]
    assert view["secret"] == draw.secret.hex()
    assert "canary" not in str(view)
    assert draw.kind.view(draw.kind.capture(draw.state)) == view


def test_the_key_of_the_salts_is_private() -> None:
    """It is stored sealed; without it the entries of a proof can't be tried out."""
    draw = Drawing().opened()
    draw.enter("anna")
    (committed,) = [event for event in draw.events if event.NAME == "draw.committed.v1"]
    assert committed.private == {"salt_key": draw.state.salt_key.hex()}
    assert answers(draw.told, "anna")[0].data["receipt"]["salt"] not in str(draw.kind.view(draw.state))
