import pytest

from orchestrator.core.errors import Malformed
from orchestrator.core.events import CommandIgnored, Told
from orchestrator.distributions.admissions import GrantReplaced
from orchestrator.distributions.appointment import APPOINTMENT, mechanism
from orchestrator.distributions.appointment.mechanism import standing
from orchestrator.distributions.base import AskRefused
from tests.distributions.appointment.bookings import HOUR_MS, MINUTE_MS, SLOTS, Bookings, at, plain, slot
from tests.support.room import NOW_MS, Rejected


def words(told: list[Told]) -> list[tuple[str, str]]:
    """Who is told what."""
    return [(t.stream.split("/")[2], t.type.removeprefix("distribution.")) for t in told]


def refused(room: Bookings, who: str, action: str, **data: object) -> str:
    """The rule that refused an ask, as the asker is told it."""
    (told,) = room.ask(who, action, **data)
    assert told.type == "distribution.refused"
    assert isinstance(room.last[-1], AskRefused)
    return str(told.data["reason"])


def rejected(room: Bookings, type: str, **data: object) -> Rejected:
    with pytest.raises(Rejected) as caught:
        room.operate(type, **data)
    return caught.value


def test_a_booking_is_a_grant_for_its_slot() -> None:
    """Who books is admitted until the slot's end, and told the slot; one place of it is taken."""
    room = Bookings(visit={"late": "15m"})
    admitted, updated = room.ask("anna", "book", slot="early")
    assert (admitted.type, updated.type) == ("distribution.admitted", "distribution.updated")
    assert admitted.data["expires_ms"] == NOW_MS + 6 * HOUR_MS + 15 * MINUTE_MS
    assert updated.data["slot"] == "early"
    assert updated.data["starts_at_ms"] == NOW_MS + 5 * HOUR_MS
    assert room.places("early") == (0, 1, 0, 1)


def test_overbooking_is_refused() -> None:
    """Held and booked places count alike: the one after the last is refused, whichever way it is asked for."""
    room = Bookings()
    room.ask("anna", "book", slot="early")
    room.ask("berta", "enter", slot="early")
    assert refused(room, "carla", "book", slot="early") == "appointment.slot_full"
    assert refused(room, "carla", "enter", slot="early") == "appointment.slot_full"
    assert room.places("early") == (1, 1, 0, 0)


def test_a_hold_keeps_a_place_for_a_while() -> None:
    """What is held can be booked without naming it until the hold ends; then the place is free."""
    room = Bookings()
    (held,) = room.ask("anna", "enter", slot="late")
    assert (held.type, held.data["participation"], held.data["phase"]) == (
        "distribution.entered",
        "main-1",
        "held",
    )
    assert (held.data["slot"], held.data["expires_ms"]) == ("late", NOW_MS + 10 * MINUTE_MS)
    room.now_ms += 10 * MINUTE_MS - 1
    assert words(room.ask("anna", "book")) == [("anna", "admitted"), ("anna", "updated")]
    assert room.places("late") == (0, 1, 0, 0)
    room.ask("berta", "enter", slot="early")
    room.now_ms += 10 * MINUTE_MS
    assert refused(room, "berta", "book") == "appointment.hold_over"
    assert refused(room, "berta", "enter", slot="early") == "appointment.hold_over"
    (over,) = room.fire("expiry")
    assert (over.type, over.data["what"]) == ("distribution.expired", "hold")
    assert room.places("early") == (0, 0, 0, 2)
    assert refused(room, "berta", "book") == "appointment.slot_missing"


def test_a_hold_is_no_ticket_to_another_slot() -> None:
    """Who holds a place in one slot can't book or hold a full one by it, and keeps what they hold."""
    room = Bookings()
    room.ask("anna", "enter", slot="early")
    room.ask("berta", "book", slot="late")
    assert refused(room, "anna", "book", slot="late") == "appointment.slot_full"
    assert refused(room, "anna", "enter", slot="late") == "appointment.slot_full"
    assert (room.places("early"), room.places("late")) == ((1, 0, 0, 1), (0, 1, 0, 0))


def test_changing_what_is_held_does_not_prolong_it() -> None:
    """A hold moves to another slot and is told again on a repeat, always with its first end and ticket."""
    room = Bookings()
    room.ask("anna", "enter", slot="early")
    room.now_ms += MINUTE_MS
    for id in ("late", "late", "early"):
        (told,) = room.ask("anna", "enter", slot=id)
        assert (told.data["slot"], told.data["participation"]) == (id, "main-1")
        assert told.data["expires_ms"] == NOW_MS + 10 * MINUTE_MS
    assert (room.places("early"), room.places("late")) == ((1, 0, 0, 1), (0, 0, 0, 1))
    room.ask("berta", "enter", slot="late")
    assert refused(room, "anna", "enter", slot="late") == "appointment.slot_full"
    assert room.places("early") == (1, 0, 0, 1)


def test_booking_another_slot_reschedules() -> None:
    """The new grant takes the old one's place in one decision: one told admission, the old place free, the old id over."""
    room = Bookings()
    room.ask("anna", "book", slot="late")
    was = room.jti("anna")
    told = room.ask("anna", "book", slot="early")
    assert words(told) == [("anna", "admitted"), ("anna", "updated")]
    assert told[0].data["expires_ms"] == NOW_MS + 6 * HOUR_MS
    assert isinstance(room.last[0], GrantReplaced)
    assert (room.places("early"), room.places("late")) == ((0, 1, 0, 1), (0, 0, 0, 1))
    room.now_ms += 5 * HOUR_MS
    assert rejected(room, "redeem", jti=was).rule == "grant.revoked"
    room.operate("redeem", jti=room.jti("anna"))


def test_a_reschedule_that_fails_keeps_the_booking() -> None:
    """No place where one would go, or too late to leave the old one: what was booked stays booked."""
    room = Bookings(cancel_until="2h")
    room.ask("berta", "book", slot="late")
    room.ask("anna", "book", slot="early")
    assert refused(room, "anna", "book", slot="late") == "appointment.slot_full"
    room.ask("berta", "cancel")
    room.now_ms += 3 * HOUR_MS
    assert refused(room, "anna", "book", slot="late") == "appointment.too_late_to_cancel"
    assert room.places("early") == (0, 1, 0, 1)


def test_booking_twice_says_the_same_again() -> None:
    """A repeat answers with the same grant and takes no second place."""
    room = Bookings()
    (first, _) = room.ask("anna", "book", slot="early")
    for data in ({"slot": "early"}, {}):
        (again,) = room.ask("anna", "book", **data)
        assert (again.type, again.data["jti"]) == ("distribution.admitted", first.data["jti"])
        assert (again.data["slot"], again.data["expires_ms"]) == ("early", first.data["expires_ms"])
    assert room.places("early") == (0, 1, 0, 1)
    assert refused(room, "anna", "enter", slot="late") == "appointment.already_booked"


def test_cancelling_in_time_frees_the_place() -> None:
    """Held or booked, a place given back can be had by the next; too late and twice are refused by name."""
    room = Bookings(cancel_until="2h")
    room.ask("anna", "book", slot="late")
    room.ask("berta", "enter", slot="early")
    assert words(room.ask("anna", "cancel")) == [("anna", "left")]
    assert words(room.ask("berta", "leave")) == [("berta", "left")]
    assert (room.places("early"), room.places("late")) == ((0, 0, 0, 2), (0, 0, 0, 1))
    assert refused(room, "anna", "cancel") == "appointment.not_in"
    room.ask("carla", "book", slot="late")
    room.now_ms += 8 * HOUR_MS
    assert refused(room, "carla", "cancel") == "appointment.too_late_to_cancel"


def test_the_visit_uses_the_grant_once_and_around_its_slot() -> None:
    """Too early is refused with the time from when; then it is used once, and the place stays used."""
    room = Bookings(visit={"early": "30m"})
    room.ask("anna", "book", slot="early")
    jti = room.jti("anna")
    early = rejected(room, "redeem", jti=jti)
    assert (early.rule, early.inputs["from_ms"]) == ("appointment.too_early", NOW_MS + 4.5 * HOUR_MS)
    room.now_ms += int(4.5 * HOUR_MS)
    (told,) = room.operate("redeem", jti=jti, reference="door 3")
    assert told.type == "distribution.redeemed"
    assert rejected(room, "redeem", jti=jti).rule == "grant.already_redeemed"
    assert rejected(room, "redeem", jti="0" * 24).rule == "grant.unknown"
    assert room.places("early") == (0, 0, 1, 1)
    assert refused(room, "anna", "cancel") == "appointment.not_in"
    assert refused(room, "anna", "book", slot="late") == "appointment.already_visited"


def test_who_came_may_book_again_where_the_rules_say_so() -> None:
    """With `again`, a visit doesn't keep anybody from the next."""
    room = Bookings(again=True)
    room.ask("anna", "book", slot="early")
    room.now_ms += 5 * HOUR_MS
    room.operate("redeem", jti=room.jti("anna"))
    assert words(room.ask("anna", "book", slot="late")) == [("anna", "admitted"), ("anna", "updated")]


def test_who_does_not_come_loses_the_grant_at_the_end() -> None:
    """At the slot's end the grant expires by the one timer; before that timer it is refused all the same."""
    room = Bookings()
    room.ask("anna", "book", slot="early")
    jti = room.jti("anna")
    room.now_ms += 6 * HOUR_MS
    assert rejected(room, "redeem", jti=jti).rule == "grant.expired"
    assert words(room.fire("expiry")) == [("anna", "expired")]
    assert room.places("early") == (0, 0, 1, 1)
    assert rejected(room, "redeem", jti=jti).rule == "grant.expired"
    assert room.state.armed == {}
    assert words(room.ask("anna", "book", slot="late")) == [("anna", "admitted"), ("anna", "updated")]


def test_a_revoked_booking_frees_its_place() -> None:
    """An operator takes a booking back with a reason that its holder isn't told."""
    room = Bookings()
    room.ask("anna", "book", slot="late")
    (told,) = room.operate("revoke", jti=room.jti("anna"), reason="looks like a robot")
    assert told.type == "distribution.expired"
    assert "robot" not in str(told.data)
    assert room.places("late") == (0, 0, 0, 1)


def test_a_slot_that_began_cannot_be_booked() -> None:
    """Booking ends at the start of a slot, or sooner where the rules say so; a slot nobody knows is refused."""
    room = Bookings(booking_closes="1h")
    room.now_ms += 4 * HOUR_MS
    assert refused(room, "anna", "book", slot="early") == "appointment.slot_over"
    assert refused(room, "anna", "enter", slot="early") == "appointment.slot_over"
    for wrong in ("noon", 7, ["early"]):
        assert refused(room, "anna", "book", slot=wrong) == "appointment.unknown_slot"
    assert refused(room, "anna", "book") == "appointment.slot_missing"
    assert refused(room, "anna", "claim") == "appointment.not_possible"


def test_capacity_below_the_booked_is_refused_listing_every_conflict() -> None:
    """No change of slots takes a place from anybody: each slot in the way is named with who is in it, and nothing changes."""
    room = Bookings()
    for who in ("anna", "berta"):
        room.ask(who, "book", slot="early")
    room.ask("carla", "enter", slot="late")
    no = rejected(room, "configure", slots=[slot("early", 5, 1), slot("other", 20, 1)])
    assert no.rule == "appointment.slots_in_use"
    assert no.inputs["conflicts"] == [
        {"slot": "early", "held": 0, "booked": 2, "used": 0, "conflict": "capacity", "capacity": 1},
        {"slot": "late", "held": 1, "booked": 0, "used": 0, "conflict": "removed"},
    ]
    moved = rejected(room, "configure", slots=[slot("early", 6, 2), slot("late", 10, 1)])
    assert [c["conflict"] for c in moved.inputs["conflicts"]] == ["moved"]
    assert room.state.config.slots[0].capacity == 2


def test_slots_change_live_where_nobody_is_in_the_way() -> None:
    """More places, new slots and empty slots removed take effect at once, and bookings stay where they are."""
    room = Bookings()
    room.ask("anna", "book", slot="early")
    room.operate("configure", slots=[slot("early", 5, 3), slot("night", 20, 1)], hold="1m")
    assert room.places("early") == (0, 1, 0, 2)
    assert refused(room, "berta", "book", slot="late") == "appointment.unknown_slot"
    (told,) = room.ask("berta", "enter", slot="night")
    assert told.data["expires_ms"] == NOW_MS + MINUTE_MS
    room.operate("configure", hold="1m")
    assert isinstance(room.last[-1], CommandIgnored)


def test_booking_has_its_window() -> None:
    """Not yet open, paused and closed are refused by name; cancelling goes on in a pause."""
    room = Bookings(opens_at=at(1), closes_at=at(4))
    assert refused(room, "anna", "book", slot="early") == "appointment.not_open"
    room.now_ms += HOUR_MS
    room.ask("anna", "book", slot="early")
    room.fire("open")
    assert APPOINTMENT.label(room.state) == "open"
    room.operate("pause")
    assert refused(room, "berta", "enter", slot="early") == "appointment.paused"
    assert words(room.ask("anna", "cancel")) == [("anna", "left")]
    room.operate("resume")
    room.ask("anna", "book", slot="early")
    room.now_ms += 3 * HOUR_MS
    assert refused(room, "berta", "enter", slot="early") == "appointment.closed"
    room.fire_due()
    assert APPOINTMENT.label(room.state) == "closed"
    assert words(room.ask("anna", "refresh")) == [("anna", "updated")]
    room.now_ms += HOUR_MS
    room.operate("redeem", jti=room.jti("anna"))


def test_closing_gives_holds_back_in_portions_and_keeps_bookings(monkeypatch) -> None:
    """Who only held is told that it ended, a bounded number a decision; who booked keeps the grant; it may open again."""
    monkeypatch.setattr(mechanism, "AT_ONCE_MAX", 2)
    room = Bookings(slots=[slot("early", 5, 9)])
    room.ask("z", "book", slot="early")
    for who in "abcde":
        room.ask(who, "enter", slot="early")
    room.operate("close", reason="strike")
    assert rejected(room, "open").rule == "appointment.still_closing"
    assert words(room.fire("tick")) == [("a", "ended"), ("b", "ended")]
    room.fire_due()
    assert room.places("early") == (0, 1, 0, 8)
    assert refused(room, "a", "book", slot="early") == "appointment.closed"
    room.operate("open")
    assert words(room.ask("a", "book", slot="early")) == [("a", "admitted"), ("a", "updated")]


def test_many_holds_expire_in_portions(monkeypatch) -> None:
    """One timer serves all: a bounded number a decision, until none is due."""
    monkeypatch.setattr(mechanism, "AT_ONCE_MAX", 2)
    room = Bookings(slots=[slot("early", 5, 9)])
    for who in "abcde":
        room.ask(who, "enter", slot="early")
    room.now_ms += 10 * MINUTE_MS
    assert words(room.fire("expiry")) == [("a", "expired"), ("b", "expired")]
    room.fire_due()
    assert room.places("early") == (0, 0, 0, 9)


def test_who_asks_learns_their_own_slot() -> None:
    """A refresh tells phase and the own slot, with the end of a hold, and nothing of others."""
    room = Bookings()
    room.ask("anna", "enter", slot="late")
    assert standing(room.state, "anna", NOW_MS) == {
        "phase": "open", "slot": "late", "starts_at_ms": NOW_MS + 10 * HOUR_MS,
        "ends_at_ms": NOW_MS + 11 * HOUR_MS, "expires_ms": NOW_MS + 10 * MINUTE_MS,
    }  # fmt: skip
    assert standing(room.state, "berta", NOW_MS) == {"phase": "open"}


def test_the_view_shows_no_person_and_no_number_of_places() -> None:
    """Everybody may see which slots can be had, and neither who is in them nor how many fit."""
    room = Bookings(slots=[slot("early", 5, 4_321), slot("late", 10, 1)])
    room.ask("anna", "book", slot="late")
    room.operate("revoke", jti=room.jti("anna"), reason="canary")
    room.ask("berta", "book", slot="late")
    view = APPOINTMENT.view(APPOINTMENT.capture(room.state))
    assert not [word for word in ("anna", "berta", "canary", "4321") if word in str(view)]
    assert [(s["id"], s["available"]) for s in view["slots"]] == [("early", True), ("late", False)]


@pytest.mark.parametrize(
    ("type", "data"),
    [
        ("redeem", {}), ("redeem", {"jti": 7}), ("revoke", {"jti": "x" * 65}), ("configure", {}),
        ("configure", {"slots": []}), ("configure", {"slots": [{"id": "x"}]}), ("configure", {"slots": "early"}),
        ("configure", {"slots": [slot("x", 5), slot("x", 6)]}), ("configure", {"slots": [slot("x", 5, length=-1)]}),
        ("configure", {"slots": [{**slot("x", 5), "price": 1}]}), ("configure", {"slots": [slot("x", 5, 0)]}),
        ("configure", {"hold": 5}), ("drain", {}), ("open", {"now": True}),
    ],
)  # fmt: skip
def test_commands_of_another_shape_are_malformed(type: str, data: dict[str, object]) -> None:
    """A wrong field of an operator's command is named, not guessed at."""
    with pytest.raises(Malformed):
        Bookings().operate(type, **data)


def test_documents_are_checked_where_their_schema_cannot() -> None:
    """A slot that is there twice, runs backwards or has no offset is a problem with its place."""
    backwards = {**slot("b", 5), "ends_at": at(4)}
    vague = {**slot("c", 5), "starts_at": "2027-03-01T10:00:00"}
    wrong = {"slots": [slot("a", 1), slot("a", 2), backwards, vague], "hold": "9999999d"}
    pointers = [problem.pointer for problem in APPOINTMENT.check(wrong)]
    assert pointers == ["/hold", "/slots/1/id", "/slots/2/ends_at", "/slots/3/starts_at"]
    assert APPOINTMENT.check({"slots": SLOTS}) == []


def test_a_replay_leads_to_the_same_bookings() -> None:
    """What a restart folds from the log is what the running resource holds."""
    room = Bookings(closes_at=at(30))
    room.ask("anna", "book", slot="early")
    room.ask("anna", "book", slot="late")
    room.ask("berta", "enter", slot="early")
    room.operate("configure", slots=[slot("early", 5, 3), slot("late", 10, 1)])
    room.now_ms += 12 * HOUR_MS
    room.fire_due()
    assert plain(room.replayed()) == plain(room.state)
