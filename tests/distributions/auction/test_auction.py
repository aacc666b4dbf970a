"""The auction, one promise a test."""

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import Malformed, Rejected
from orchestrator.core.events import Told
from orchestrator.distributions.auction import AUCTION
from orchestrator.distributions.auction.config import SCHEMA, AuctionConfig
from orchestrator.distributions.auction.events import AuctionClosed, BidPlaced
from orchestrator.distributions.auction.settling import Bid, Standing, settle
from orchestrator.distributions.auction.verifying import verify
from tests.support.room import NOW_MS, RoomTest, answers
from tests.support.schemas import problems_of

MINUTE_MS = 60_000
CLOSES = "2023-11-14T22:23:20Z"  # ten minutes after the tests' first moment
ENGLISH = {"style": "english", "start": 100, "increment": 10, "payment": "30m", "closes_at": CLOSES}
DUTCH = {
    "style": "dutch", "start": 1_000, "reserve": 400, "drop": {"by": 100, "every": "1m"}, "payment": "30m",
    "closes_at": "2023-11-14T23:13:20Z",
}  # fmt: skip


def english(**part: Any) -> RoomTest:
    return RoomTest(AUCTION, ENGLISH | part)


def dutch(**part: Any) -> RoomTest:
    return RoomTest(AUCTION, DUTCH | part)


def words(told: list[Told], who: str) -> list[str]:
    return [one.type.removeprefix("distribution.") for one in answers(told, who)]


def enter(room: RoomTest, *names: str) -> None:
    for name in names:
        assert words(room.ask(name, "enter"), name) == ["entered"]


def bid(room: RoomTest, who: str, amount: int) -> list[Told]:
    told = room.ask(who, "bid", amount=amount)
    assert words(told, who)[0] == "updated", told
    return told


def refusal(room: RoomTest, who: str, action: str, **data: Any) -> dict[str, Any]:
    (told,) = answers(room.ask(who, action, **data), who)
    assert told.type == "distribution.refused"
    return told.data


def close(room: RoomTest) -> list[Told]:
    room.now_ms = max(room.now_ms, room.state.sale.closes_ms)
    return room.fire("close")


def ticks(room: RoomTest) -> list[Told]:
    told: list[Told] = []
    while "tick" in room.state.armed:
        told += room.fire("tick")
    return told


def test_the_highest_bid_wins_at_the_close() -> None:
    """The best bidder gets a grant at their price for as long as they have to pay; the others hear of the end."""
    room = english()
    enter(room, "anna", "bert", "cleo")
    bid(room, "anna", 100)
    bid(room, "bert", 150)
    (admitted,) = close(room)
    assert words([admitted], "bert") == ["admitted"]
    assert admitted.data["price"] == 150
    assert admitted.data["expires_ms"] == room.now_ms + 30 * MINUTE_MS
    told = ticks(room)
    assert (words(told, "anna"), words(told, "cleo")) == (["settling"], ["not_selected"])
    room.operate("redeem", jti=admitted.data["jti"])
    told = ticks(room)
    assert words(told, "anna") == ["not_selected"]
    assert answers(told, "anna")[0].data["reason"] == "outbid"


@pytest.mark.parametrize(("amount", "minimum"), [(99, 100), (109, 110), (110, 110)])
def test_a_bid_below_the_increment_is_refused(amount: int, minimum: int) -> None:
    """The first bid has to reach the start, each next one the leading amount and the increment; refusals say so."""
    room = english()
    enter(room, "anna", "bert")
    if minimum > 100:
        bid(room, "anna", 100)
    if amount == minimum:
        bid(room, "bert", amount)
    else:
        refused = refusal(room, "bert", "bid", amount=amount)
        assert (refused["reason"], refused["inputs"]) == (
            "auction.bid_too_low", {"amount": amount, "minimum": minimum},
        )  # fmt: skip


def test_an_outbid_participant_learns_the_amount_and_never_who() -> None:
    """Whoever leads no more is told the leading amount and what to bid next, without a name."""
    room = english()
    enter(room, "anna", "bert-canary")
    bid(room, "anna", 100)
    told = bid(room, "bert-canary", 170)
    (outbid,) = answers(told, "anna")
    assert (outbid.data["standing"], outbid.data["leading_amount"], outbid.data["minimum"]) == (
        "outbid",
        170,
        180,
    )
    assert "canary" not in repr(outbid.data)


def test_raising_ones_own_bid_displaces_nobody() -> None:
    """A leader who raises tells nobody else and has to pass the increment too."""
    room = english()
    enter(room, "anna")
    bid(room, "anna", 100)
    assert refusal(room, "anna", "bid", amount=105)["inputs"]["minimum"] == 110
    assert len(bid(room, "anna", 110)) == 1


def test_equal_bids_go_by_sequence() -> None:
    """With several units, equal amounts are ranked by which came first."""
    room = english(quantity=2)
    enter(room, "anna", "bert", "cleo")
    bid(room, "anna", 100)
    bid(room, "bert", 100)
    (outbid,) = answers(bid(room, "cleo", 110), "bert")
    assert outbid.data["standing"] == "outbid"
    told = close(room)
    assert [t.stream.split("/")[2] for t in told] == ["cleo", "anna"]
    assert [t.data["price"] for t in told] == [110, 100]


def test_bids_after_the_close_are_refused_whatever_its_timer_does() -> None:
    """The closing time counts, not when its timer is handled."""
    room = english()
    enter(room, "anna")
    room.now_ms += 10 * MINUTE_MS
    assert refusal(room, "anna", "bid", amount=100)["reason"] == "auction.closed"
    assert refusal(room, "bert", "enter")["reason"] == "auction.closed"
    assert close(room) == []
    assert refusal(room, "anna", "bid", amount=100)["reason"] == "auction.closed"


def test_a_late_bid_puts_the_close_off_so_many_times() -> None:
    """A bid in the last moments puts the close off, at most as many times as the rules allow."""
    room = english(extend={"within": "1m", "by": "2m", "limit": 2})
    enter(room, "anna", "bert")
    closes_ms = room.state.sale.closes_ms
    bid(room, "anna", 100)
    assert room.state.sale.closes_ms == closes_ms
    room.now_ms = closes_ms - 1
    told = bid(room, "bert", 110)
    assert answers(told, "bert")[0].data["closes_at_ms"] == closes_ms - 1 + 2 * MINUTE_MS
    room.now_ms = closes_ms
    assert room.fire("close") == []  # the row of the old close fires in vain
    assert room.state.armed["close"] == closes_ms - 1 + 2 * MINUTE_MS
    room.now_ms = room.state.sale.closes_ms - 1
    bid(room, "anna", 120)
    closes_ms = room.state.sale.closes_ms
    room.now_ms = closes_ms - 1
    bid(room, "bert", 130)
    assert room.state.sale.closes_ms == closes_ms
    assert words(close(room), "bert") == ["admitted"]


def test_a_reserve_that_is_not_reached_sells_nothing() -> None:
    """Bids below the reserve are taken and win nothing; nobody is told the reserve."""
    room = english(reserve=7_654)
    enter(room, "anna")
    told = bid(room, "anna", 100)
    told += close(room) + ticks(room)
    assert words(told, "anna") == ["updated", "not_selected"]
    assert "7654" not in repr(told) + repr(AUCTION.view(room.state))


def test_an_unpaid_unit_goes_to_the_next_bid_above_the_reserve() -> None:
    """Who doesn't pay in time loses the unit to the next bidder, at that one's own bid, until nobody is left."""
    room = english(reserve=110)
    enter(room, "anna", "bert", "cleo")
    bid(room, "anna", 100)
    bid(room, "bert", 110)
    bid(room, "cleo", 120)
    close(room)
    ticks(room)
    room.now_ms += 30 * MINUTE_MS
    told = room.fire("expiry")
    assert (words(told, "cleo"), words(told, "bert")) == (["expired"], ["admitted"])
    assert answers(told, "bert")[0].data["price"] == 110
    assert words(room.ask("bert", "leave"), "bert") == ["left"]
    assert (room.state.sale.held, room.state.sale.free) == (0, 1)
    assert refusal(room, "anna", "complete")["reason"] == "auction.nothing_won"


def test_completing_pays_once() -> None:
    """A winner completes; the server's redemption afterwards is rejected; completing again is answered again."""
    room = english()
    enter(room, "anna")
    bid(room, "anna", 100)
    (admitted,) = close(room)
    assert words(room.ask("anna", "complete"), "anna") == ["redeemed", "completed"]
    with pytest.raises(Rejected, match=r"grant.already_redeemed"):
        room.operate("redeem", jti=admitted.data["jti"])
    assert words(room.ask("anna", "complete"), "anna") == ["completed"]
    assert room.state.sale.sold == 1


def test_bids_are_binding() -> None:
    """Whoever has bid can't leave, outbid or not, before or after the close; who hasn't can."""
    room = english()
    enter(room, "anna", "bert", "cleo")
    bid(room, "anna", 100)
    bid(room, "bert", 110)
    for who in ("anna", "bert"):
        assert refusal(room, who, "leave")["reason"] == "auction.bids_are_binding"
    assert words(room.ask("cleo", "leave"), "cleo") == ["left"]
    close(room)
    assert refusal(room, "anna", "leave")["reason"] == "auction.bids_are_binding"
    assert refusal(room, "dora", "leave")["reason"] == "auction.not_in"


@pytest.mark.parametrize("amount", [0, -5, 1.5, "100", True, None, 2**53])
def test_an_amount_that_is_none_is_refused(amount: Any) -> None:
    """What is no whole amount is refused by name and answered, not dead-lettered."""
    room = english()
    enter(room, "anna")
    assert refusal(room, "anna", "bid", amount=amount)["reason"] == "auction.bad_amount"


def test_bids_need_an_entry_an_opening_and_no_pause() -> None:
    """Not entered, not open, paused: each refused by its own name."""
    room = english(opens_at="2023-11-14T22:14:20Z")
    assert refusal(room, "anna", "bid", amount=100)["reason"] == "auction.not_entered"
    enter(room, "anna")
    refused = refusal(room, "anna", "bid", amount=100)
    assert (refused["reason"], refused["inputs"]) == ("auction.not_open", {"opens_at_ms": NOW_MS + MINUTE_MS})
    room.operate("open")
    room.operate("pause")
    assert refusal(room, "anna", "bid", amount=100)["reason"] == "auction.paused"
    room.operate("resume")
    bid(room, "anna", 100)


def test_a_dutch_price_falls_until_somebody_takes_it() -> None:
    """Whoever bids the price of the moment gets a unit at that price, even when they offered more."""
    room = dutch()
    enter(room, "anna", "bert")
    assert refusal(room, "anna", "bid", amount=999)["inputs"] == {"amount": 999, "minimum": 1_000}
    room.now_ms += 2 * MINUTE_MS + 1
    told = bid(room, "anna", 900)
    assert words(told, "anna") == ["updated", "admitted"]
    assert answers(told, "anna")[1].data["price"] == 800
    assert refusal(room, "bert", "bid", amount=1_000)["reason"] == "auction.none_left"
    assert refusal(room, "anna", "bid", amount=1_000)["reason"] == "auction.already_won"


def test_a_dutch_price_stops_at_the_reserve() -> None:
    """However long it takes, the price doesn't fall below the reserve."""
    room = dutch()
    enter(room, "anna")
    room.now_ms += 40 * MINUTE_MS
    (told,) = room.ask("anna", "refresh")
    assert (told.data["price"], told.data["available"]) == (400, True)
    assert refusal(room, "anna", "bid", amount=399)["reason"] == "auction.bid_too_low"


def test_an_unpaid_dutch_unit_is_for_sale_again() -> None:
    """The unit of who doesn't pay can be taken again, and when all are paid the auction is over."""
    room = dutch()
    enter(room, "anna", "bert")
    bid(room, "anna", 1_000)
    room.now_ms += 30 * MINUTE_MS
    assert words(room.fire("expiry"), "anna") == ["expired"]
    bid(room, "bert", 400)
    told = room.ask("bert", "complete")
    assert words(told, "bert") == ["redeemed", "completed"]
    assert AUCTION.label(room.state) == "closed"
    assert words(ticks(room), "anna") == ["not_selected"]


def test_everybody_hears_the_end_in_bounded_steps() -> None:
    """At most a thousand are told by one decision, and nobody is forgotten or told twice."""
    room = english()
    for number in range(2_100):
        enter(room, f"c{number}")
    for number in range(1_050):
        bid(room, f"c{number}", 100 + 10 * number)
    close(room)
    steps = []
    while "tick" in room.state.armed:
        steps.append(len(room.fire("tick")))
    assert steps == [1_000, 50, 1_000, 49, 0]
    room.ask("c1049", "complete")
    assert len(ticks(room)) == 1_049


def test_the_log_proves_the_winners() -> None:
    """The verifier finds nothing in an honest log, and names what was changed in a forged one."""
    room = english(quantity=2, extend={"within": "10m", "by": "10m", "limit": 3})
    enter(room, "anna", "bert", "cleo")
    for who, amount in (("anna", 100), ("bert", 100), ("cleo", 110), ("bert", 130), ("anna", 140)):
        bid(room, who, amount)
    close(room)
    assert list(verify(room.events)) == []

    def forged(change: Any) -> str:
        return " ".join(verify([change(event) for event in room.events]))

    def swap(event: Any) -> Any:
        if isinstance(event, AuctionClosed):
            return msgspec.structs.replace(event, winners=event.winners[::-1])
        return event

    def cheaper(event: Any) -> Any:
        if isinstance(event, BidPlaced) and event.bid.sequence == 4:
            return msgspec.structs.replace(event, bid=Bid(4, "bert", 101, event.bid.at_ms))
        return event

    def longer(event: Any) -> Any:
        if isinstance(event, BidPlaced) and event.bid.sequence == 5:
            return msgspec.structs.replace(event, closes_ms=event.closes_ms + 1)
        return event

    assert "the winners are" in forged(swap)
    assert "below the minimum" in forged(cheaper)
    assert "moves the close" in forged(longer)
    dropped = [e for e in room.events if not (isinstance(e, BidPlaced) and e.bid.sequence == 2)]
    assert "comes after 1 bids" in " ".join(verify(dropped))


bids = st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 40)), max_size=40)


@given(tries=bids, quantity=st.integers(1, 4), reserve=st.integers(0, 30))
def test_the_standing_of_the_moment_is_what_the_bids_settle_to(
    tries: list[tuple[str, int]], quantity: int, reserve: int
) -> None:
    """After any valid bids the leaders are exactly the winners the whole list settles to, the reserve apart."""
    config = AuctionConfig("english", 5, 1, quantity=quantity, reserve=reserve, increment=3)
    standing, placed = Standing(quantity), []
    for who, amount in tries:
        if amount < standing.minimum(who, config):
            continue
        one = Bid(len(placed) + 1, who, amount, 0)
        displaced, before = standing.displaced(who), [b.participant for b in standing.leaders]
        leading, minimum = standing.outlook(one, config)
        standing.place(one)
        placed.append(one)
        after = [b.participant for b in standing.leaders]
        assert [name for name in before if name not in after] == ([displaced] if displaced else [])
        assert leading == standing.leaders[0].amount
        assert minimum == standing.minimum("nobody", config)
        assert who in after
    everything = msgspec.structs.replace(config, reserve=0)
    assert standing.leaders == settle(placed, everything)
    assert settle(placed, config) == [b for b in standing.leaders if b.amount >= reserve]
    assert settle(standing.best.values(), config) == settle(placed, config)


def test_rules_change_within_bounds() -> None:
    """The reserve is never raised once there are bids, and the close stays ahead."""
    room = english(reserve=200)
    enter(room, "anna")
    bid(room, "anna", 100)
    with pytest.raises(Rejected, match=r"auction.reserve_raised"):
        room.operate("configure", reserve=300)
    with pytest.raises(Rejected, match=r"auction.closes_too_early"):
        room.operate("configure", closes_at="2023-11-14T22:13:20Z")
    with pytest.raises(Rejected, match=r"auction.closing_needed"):
        room.operate("configure", closes_at=None)
    room.operate("configure", reserve=100, closes_at="2023-11-14T22:15:20Z")
    assert room.state.armed["close"] == NOW_MS + 2 * MINUTE_MS
    assert words(close(room), "anna") == ["admitted"]


def test_a_malformed_change_names_the_field() -> None:
    """A change of the wrong shape never reaches a decision."""
    with pytest.raises(Malformed, match=re.escape("increment must be a whole number from 1")):
        english().operate("configure", increment=0)
    with pytest.raises(Malformed, match="unknown field 'quantity'"):
        english().operate("configure", quantity=2)


@pytest.mark.parametrize(
    ("part", "pointer"),
    [
        (ENGLISH | {"closes_at": "later"}, "/closes_at"),
        (ENGLISH | {"drop": {"by": 1, "every": "1m"}}, "/drop"),
        ({k: v for k, v in ENGLISH.items() if k != "increment"}, ""),
        (DUTCH | {"reserve": 1_001}, "/reserve"),
        (DUTCH | {"extend": {"within": "1m", "by": "1m", "limit": 1}}, "/extend"),
        (ENGLISH | {"payment": "9999999d"}, "/payment"),
        (ENGLISH | {"quantity": 1_001}, "/quantity"),
    ],
)
def test_documents_with_a_mistake_are_refused_at_its_place(part: dict[str, Any], pointer: str) -> None:
    """Each problem of a document is found where it is, with what to do about it."""
    assert pointer in problems_of(SCHEMA, AUCTION, part)


def test_the_public_view_shows_amounts_and_no_names() -> None:
    """View and label hold the leading amount and times; no participant, no reserve."""
    room = english(reserve=7_654)
    enter(room, "anna-canary")
    bid(room, "anna-canary", 100)
    view = AUCTION.view(room.state)
    assert (view["leading_amount"], view["minimum"]) == (100, 110)
    assert "canary" not in repr(view)
    assert "7654" not in repr(view)
