"""The timed release, one promise a test."""

import re
from typing import Any

import pytest

from orchestrator.core.errors import Malformed, Rejected
from orchestrator.core.events import Told
from orchestrator.distributions.timed_release import TIMED_RELEASE
from orchestrator.distributions.timed_release.config import SCHEMA
from tests.support.room import NOW_MS, RoomTest, answers
from tests.support.schemas import problems_of

FIRST = {"at": "2023-11-14T22:13:20Z", "quantity": 2}  # the tests' first moment
SECOND = {"at": "2023-11-14T22:14:20Z", "quantity": 1}
MINUTE_MS = 60_000


def release(**part: Any) -> RoomTest:
    return RoomTest(TIMED_RELEASE, {"windows": [FIRST], "hold": "5m"} | part)


def words(told: list[Told], who: str) -> list[str]:
    return [one.type.removeprefix("distribution.") for one in answers(told, who)]


def refusal(room: RoomTest, who: str, action: str, **data: Any) -> dict[str, Any]:
    (told,) = answers(room.ask(who, action, **data), who)
    assert told.type == "distribution.refused"
    return told.data


def test_units_are_held_for_a_time() -> None:
    """Entering is answered by the entry and a grant that ends with the hold."""
    room = release()
    told = room.ask("anna", "enter")
    assert words(told, "anna") == ["entered", "admitted"]
    assert told[1].data["expires_ms"] == NOW_MS + 5 * MINUTE_MS
    assert told[1].data["quantity"] == 1
    assert room.state.stock.free == 1


def test_completing_sells_the_held_units() -> None:
    """After the purchase the units are sold for good, whatever time passes; completing again is answered again."""
    room = release()
    room.ask("anna", "enter")
    assert words(room.ask("anna", "complete"), "anna") == ["redeemed", "completed"]
    room.now_ms += 5 * MINUTE_MS
    assert room.fire("expiry") == []
    assert (room.state.stock.sold, room.state.stock.free) == (1, 1)
    assert words(room.ask("anna", "complete"), "anna") == ["completed"]


def test_a_server_may_redeem_first() -> None:
    """A redemption by the server sells once; the customer's completing after it sells nothing more."""
    room = release()
    jti = room.ask("anna", "enter")[1].data["jti"]
    room.operate("redeem", jti=jti, reference="order-1")
    assert words(room.ask("anna", "complete"), "anna") == ["completed"]
    assert room.state.stock.sold == 1


def test_an_unused_hold_returns_to_the_pool() -> None:
    """At the hold's end its units are free again, its holder is told, and somebody else may take them."""
    room = release()
    room.ask("anna", "enter")
    room.ask("bert", "enter")
    assert refusal(room, "cleo", "enter")["reason"] == "timed_release.none_free"
    room.now_ms += 5 * MINUTE_MS
    told = room.fire("expiry")
    assert words(told, "anna") == words(told, "bert") == ["expired"]
    assert words(room.ask("cleo", "enter"), "cleo") == ["entered", "admitted"]
    assert room.state.stock.free == 1


def test_completing_after_the_end_of_the_hold_is_refused() -> None:
    """Even before its late timer, a hold that is over sells nothing."""
    room = release()
    room.ask("anna", "enter")
    room.now_ms += 5 * MINUTE_MS
    assert refusal(room, "anna", "complete")["reason"] == "grant.expired"
    assert room.state.stock.sold == 0


def test_leaving_returns_the_units_at_once() -> None:
    """Whoever leaves gives their units back and loses the grant."""
    room = release()
    jti = room.ask("anna", "enter")[1].data["jti"]
    assert words(room.ask("anna", "leave"), "anna") == ["left"]
    assert room.state.stock.free == 2
    with pytest.raises(Rejected, match=r"grant.revoked"):
        room.operate("redeem", jti=jti)
    assert refusal(room, "anna", "leave")["reason"] == "timed_release.not_in"


def test_entering_twice_tells_the_same_hold() -> None:
    """A second ask holds nothing more: the first hold is told again, with its own end."""
    room = release()
    first = room.ask("anna", "enter")
    room.now_ms += 1_000
    again = room.ask("anna", "enter")
    assert [t.type for t in again] == [t.type for t in first]
    assert again[0].data["participation"] == first[0].data["participation"]
    assert {k: v for k, v in again[1].data.items() if k != "at_ms"} == {
        k: v for k, v in first[1].data.items() if k != "at_ms"
    }
    assert room.state.stock.held == 1


def test_windows_come_into_stock_at_their_times() -> None:
    """Before a window its units can't be taken; at its time they can, even before its late timer."""
    room = release(windows=[SECOND, FIRST])
    room.ask("anna", "enter")
    room.ask("bert", "enter")
    refused = refusal(room, "cleo", "enter")
    assert refused["inputs"] == {"next_window_at_ms": NOW_MS + MINUTE_MS}
    room.now_ms += MINUTE_MS
    assert words(room.ask("cleo", "enter"), "cleo") == ["entered", "admitted"]
    assert room.fire("window") == []
    assert room.state.stock.stock == 3


def test_before_the_first_window_it_is_not_open() -> None:
    """Entering too early is refused with the opening time; an operator may open early."""
    room = release(windows=[SECOND])
    refused = refusal(room, "anna", "enter")
    assert (refused["reason"], refused["inputs"]) == (
        "timed_release.not_open",
        {"opens_at_ms": NOW_MS + MINUTE_MS},
    )
    room.operate("open")
    assert words(room.ask("anna", "enter"), "anna") == ["entered", "admitted"]
    room.now_ms += MINUTE_MS
    room.fire("window")
    assert room.state.stock.stock == 1  # opened early, not twice


def test_everything_sold_is_sold_out() -> None:
    """With nothing held, free or to come, entering is refused as sold out."""
    room = release(windows=[SECOND | {"at": FIRST["at"]}])
    room.ask("anna", "enter")
    assert refusal(room, "bert", "enter")["reason"] == "timed_release.none_free"
    room.ask("anna", "complete")
    assert refusal(room, "bert", "enter")["reason"] == "timed_release.sold_out"
    assert TIMED_RELEASE.label(room.state) == "sold_out"


def test_the_limit_counts_held_and_bought_units() -> None:
    """A customer can't pass the limit in one go or by buying again."""
    room = release(windows=[FIRST | {"quantity": 10}], limit=3)
    assert refusal(room, "anna", "enter", quantity=4)["inputs"] == {"limit": 3, "bought": 0}
    room.ask("anna", "enter", quantity=2)
    room.ask("anna", "complete")
    assert refusal(room, "anna", "enter", quantity=2)["reason"] == "timed_release.limit_reached"
    assert words(room.ask("anna", "enter", quantity=1), "anna") == ["entered", "admitted"]


@pytest.mark.parametrize("quantity", [0, -1, 1.5, True, "1", None, [1]])
def test_a_quantity_that_is_none_is_refused(quantity: Any) -> None:
    """What is no whole number from 1 is refused by name and answered, not dead-lettered."""
    assert refusal(release(), "anna", "enter", quantity=quantity)["reason"] == "timed_release.bad_quantity"


def test_a_stock_below_what_is_held_and_sold_is_rejected() -> None:
    """Nothing is oversold by lowering: the rejection says what is held and sold."""
    room = release(windows=[FIRST | {"quantity": 3}])
    room.ask("anna", "enter")
    room.ask("anna", "complete")
    room.ask("bert", "enter")
    with pytest.raises(Rejected, match=r"timed_release.stock_below_sold") as no:
        room.operate("configure", windows=[FIRST | {"quantity": 1}])
    assert no.value.inputs == {"stock": 1, "held": 1, "sold": 1}
    room.operate("configure", windows=[FIRST])
    assert refusal(room, "cleo", "enter")["reason"] == "timed_release.none_free"


def test_pause_close_and_reopen() -> None:
    """Paused or closed, nobody takes units and holds run on; opened again, units can be taken."""
    room = release()
    room.ask("anna", "enter")
    room.operate("pause")
    assert refusal(room, "bert", "enter")["reason"] == "timed_release.paused"
    room.operate("resume")
    room.operate("close")
    assert refusal(room, "bert", "enter")["reason"] == "timed_release.closed"
    assert words(room.ask("anna", "complete"), "anna") == ["redeemed", "completed"]
    room.operate("open")
    assert words(room.ask("bert", "enter"), "bert") == ["entered", "admitted"]


def test_it_closes_at_its_time() -> None:
    """After the closing time nobody takes units, even before its late timer; re-opening lasts until it is closed."""
    room = release(closes_at=SECOND["at"])
    room.ask("anna", "enter")
    room.now_ms += MINUTE_MS
    assert refusal(room, "bert", "enter")["reason"] == "timed_release.closed"
    room.fire("close")
    assert TIMED_RELEASE.label(room.state) == "closed"
    room.operate("open")
    assert words(room.ask("bert", "enter"), "bert") == ["entered", "admitted"]
    assert room.fire("close") == []


def test_many_holds_end_in_bounded_steps() -> None:
    """At most a thousand holds end by one decision, and the timer comes back for the rest."""
    room = release(windows=[FIRST | {"quantity": 2_500}])
    for number in range(2_500):
        room.ask(f"c{number}", "enter")
    room.now_ms += 5 * MINUTE_MS
    assert [len(room.fire("expiry")) for _ in range(4)] == [1_000, 1_000, 500, 0]
    assert room.state.stock.free == 2_500


def test_no_timer_a_participant() -> None:
    """However many hold units, the release has three timers at most."""
    room = release(windows=[FIRST | {"quantity": 100}, SECOND], closes_at="2023-11-14T23:00:00Z")
    for number in range(100):
        room.ask(f"c{number}", "enter")
        room.now_ms += 7
    assert set(room.state.armed) == {"window", "close", "expiry"}


def test_the_public_view_shows_no_participant_and_no_stock() -> None:
    """Names, quantities and limits are in neither view nor label."""
    room = release(windows=[FIRST | {"quantity": 8_765}], limit=4_321)
    room.ask("anna-canary", "enter", quantity=77)
    shown = repr(TIMED_RELEASE.view(room.state)) + TIMED_RELEASE.label(room.state)
    for secret in ("canary", "8765", "8688", "4321", "77"):
        assert secret not in shown.replace(str(NOW_MS), "")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({}, "nothing to change"),
        ({"windows": []}, "windows must be a list of 1 to 100 objects"),
        ({"windows": [1]}, "windows must hold objects"),
        ({"windows": [{"at": "soon", "quantity": 1}]}, "is no instant"),
        ({"windows": [{"at": FIRST["at"], "quantity": 0}]}, "quantity must be a whole number from 1"),
        ({"limit": 0}, "limit must be"),
        ({"stock": 5}, "unknown field 'stock'"),
    ],
)
def test_malformed_changes_name_the_field(data: dict[str, Any], says: str) -> None:
    """A change of the wrong shape never reaches a decision; the error names the field and the cure."""
    with pytest.raises(Malformed, match=re.escape(says)):
        release().operate("configure", **data)


@pytest.mark.parametrize(
    ("part", "pointer"),
    [
        ({"windows": [FIRST, FIRST]}, "/windows/1/at"),
        ({"windows": [FIRST, SECOND | {"at": "noon"}]}, "/windows/1/at"),
        ({"closes_at": FIRST["at"]}, "/closes_at"),
        ({"hold": "9999999d"}, "/hold"),
        ({"windows": []}, "/windows"),
    ],
)
def test_documents_with_a_mistake_are_refused_at_its_place(part: dict[str, Any], pointer: str) -> None:
    """Each problem of a document is found where it is, with what to do about it."""
    assert pointer in problems_of(SCHEMA, TIMED_RELEASE, {"windows": [FIRST], "hold": "5m"} | part)
