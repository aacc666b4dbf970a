import pytest

from orchestrator.core.errors import Malformed
from orchestrator.core.events import CommandIgnored, Told
from orchestrator.distributions.base import AskRefused
from orchestrator.distributions.waitlist import WAITLIST, mechanism
from orchestrator.distributions.waitlist import events as happened
from orchestrator.distributions.waitlist.mechanism import standing
from tests.distributions.waitlist.lists import MINUTE_MS, List, plain
from tests.support.room import NOW_MS, Rejected

SOON, LATER = "2023-11-14T23:13:20Z", "2023-11-15T22:13:20Z"  # an hour and a day after NOW_MS
HOUR_MS = 60 * MINUTE_MS


def words(told: list[Told]) -> list[tuple[str, str]]:
    """Who is told what."""
    return [(t.stream.split("/")[2], t.type.removeprefix("distribution.")) for t in told]


def joined(*names: str, **part: object) -> List:
    room = List(**part)
    for name in names:
        room.ask(name, "enter")
    return room


def refused(room: List, who: str, action: str) -> str:
    """The rule that refused an ask, as the asker is told it."""
    (told,) = room.ask(who, action)
    assert told.type == "distribution.refused"
    assert isinstance(room.last[-1], AskRefused)
    return str(told.data["reason"])


def test_the_first_contact_prepares_the_list_with_all_its_rules() -> None:
    """Everything a later decision needs is in the log from the first event on."""
    room = joined("anna", capacity=3, closes_at=LATER)
    assert [type(event).__name__ for event in room.events] == [
        "JourneyStarted", "WaitlistPrepared", "TimerArmed", "WaitlistEntered",
    ]  # fmt: skip
    assert room.events[1].config.capacity == 3


def test_places_are_offered_in_order_of_joining() -> None:
    """Two places go to the first two, each told until when; the third waits."""
    room = joined("anna", "berta", "carla")
    told = room.operate("promote", count=2)
    assert words(told) == [("anna", "offered"), ("berta", "offered")]
    assert told[0].data == {
        "distribution": "main", "mechanism": "waitlist", "at_ms": NOW_MS, "expires_ms": NOW_MS + 30 * MINUTE_MS,
    }  # fmt: skip
    assert room.waiting == ["carla"]


def test_a_claim_takes_the_place_and_leaves_the_list() -> None:
    """Who claims in time is done here; a second claim is refused, and joining again is possible."""
    room = joined("anna")
    room.operate("promote", count=1)
    room.now_ms += 30 * MINUTE_MS - 1
    assert words(room.ask("anna", "claim")) == [("anna", "completed")]
    assert (room.state.claimed, room.state.free, room.offered) == (1, 0, {})
    assert refused(room, "anna", "claim") == "waitlist.not_in"
    assert words(room.ask("anna", "enter")) == [("anna", "entered")]


def test_an_offer_that_is_not_claimed_goes_to_the_next() -> None:
    """At its end the offer passes on, with a new end; who missed it is off the list and told so."""
    room = joined("anna", "berta")
    room.operate("promote", count=1)
    room.now_ms += 30 * MINUTE_MS
    told = room.fire("expiry")
    assert words(told) == [("anna", "expired"), ("berta", "offered")]
    assert told[0].data["what"] == "offer"
    assert room.offered == {"berta": room.now_ms + 30 * MINUTE_MS}
    assert room.state.armed == {"expiry": room.now_ms + 30 * MINUTE_MS}
    assert refused(room, "anna", "claim") == "waitlist.not_in"


def test_a_claim_after_the_window_is_refused_before_the_timer_fires() -> None:
    """The end counts, not the moment of the timer: neither claiming nor joining again revives the offer."""
    room = joined("anna")
    room.operate("promote", count=1)
    room.now_ms += 30 * MINUTE_MS
    assert refused(room, "anna", "claim") == "waitlist.offer_over"
    assert refused(room, "anna", "enter") == "waitlist.offer_over"


def test_leaving_passes_an_offer_on_at_once() -> None:
    """A place given back by leaving doesn't wait for its end."""
    room = joined("anna", "berta")
    room.operate("promote", count=1)
    assert words(room.ask("anna", "leave")) == [("anna", "left"), ("berta", "offered")]
    assert words(room.ask("berta", "cancel")) == [("berta", "left")]
    assert (room.state.free, room.state.promised) == (1, 1)


def test_a_place_that_finds_nobody_waits_for_who_joins() -> None:
    """Promised to an empty list, a place is offered to the next who comes, in the same breath."""
    room = List()
    room.operate("promote", count=1)
    assert words(room.ask("anna", "enter")) == [("anna", "entered"), ("anna", "offered")]
    assert words(room.ask("berta", "enter")) == [("berta", "entered")]


def test_leaving_while_waiting_promotes_nobody() -> None:
    """Who holds no offer frees no place."""
    room = joined("anna", "berta")
    assert words(room.ask("anna", "leave")) == [("anna", "left")]
    assert room.waiting == ["berta"]
    assert refused(room, "anna", "leave") == "waitlist.not_in"
    assert refused(room, "nobody", "claim") == "waitlist.not_in"
    assert refused(room, "berta", "claim") == "waitlist.no_offer"
    assert refused(room, "berta", "bid") == "waitlist.not_possible"


def test_joining_twice_says_the_same_again() -> None:
    """A repeat keeps ticket and place, and tells an offer again with its first end."""
    room = joined("anna", "berta")
    (again,) = room.ask("anna", "enter")
    assert (again.type, again.data["ticket"], again.data["phase"]) == ("distribution.entered", 1, "waiting")
    assert again.data["participation"] == "main-1"
    room.operate("promote", count=1)
    room.now_ms += MINUTE_MS
    told = room.ask("anna", "enter")
    assert words(told) == [("anna", "entered"), ("anna", "offered")]
    assert told[1].data["expires_ms"] == NOW_MS + 30 * MINUTE_MS
    assert room.waiting == ["berta"]


def test_joining_has_its_window_and_its_limit() -> None:
    """Too early, full, draining and closed are refused by name; a capacity counts offers too."""
    room = List(opens_at=SOON, closes_at=LATER, capacity=2)
    assert refused(room, "anna", "enter") == "waitlist.not_open"
    room.now_ms += HOUR_MS
    assert words(room.ask("anna", "enter")) == [("anna", "entered")]  # its timer hasn't fired yet
    room.fire("open")
    room.operate("promote", count=1)
    room.ask("berta", "enter")
    assert refused(room, "carla", "enter") == "waitlist.full"
    room.operate("drain")
    assert refused(room, "carla", "enter") == "waitlist.draining"
    room.now_ms += 25 * HOUR_MS
    assert refused(room, "carla", "enter") == "waitlist.closed"
    room.fire_due()
    assert refused(room, "carla", "enter") == "waitlist.closed"


def test_an_operator_moves_somebody_with_a_reason() -> None:
    """A move is an event of its own with its reason, which the participant isn't told; the next offer follows it."""
    room = joined("anna", "berta", "carla")
    told = room.operate("move", participant="carla", to=1, reason="came back with a ticket")
    assert room.last[-1] == happened.WaitlistReordered(
        room.state.room, "carla", 3, 1, NOW_MS, "came back with a ticket"
    )
    assert words(told) == [("carla", "updated")]
    assert "reason" not in told[0].data
    assert words(room.operate("promote", count=1)) == [("carla", "offered")]
    room.operate("move", participant="anna", to=2, reason="asked for it")
    assert room.waiting == ["berta", "anna"]


def test_moves_that_make_no_sense_are_refused_by_name() -> None:
    """Nobody is moved who isn't waiting, nor behind the end; a move to the same place changes nothing."""
    room = joined("anna", "berta")
    room.operate("promote", count=1)
    for data, rule in (
        ({"participant": "dora", "to": 1}, "waitlist.not_in"),
        ({"participant": "anna", "to": 1}, "waitlist.already_offered"),
        ({"participant": "berta", "to": 2}, "waitlist.no_such_position"),
    ):
        with pytest.raises(Rejected) as caught:
            room.operate("move", reason="a test", **data)
        assert caught.value.rule == rule
    room.operate("move", participant="berta", to=1, reason="a test")
    assert isinstance(room.last[-1], CommandIgnored)


def test_an_operator_removes_somebody_and_says_why_to_operators_alone() -> None:
    """Removed is not left: the participant learns that it ended, the place passes on, the reason stays inside."""
    room = joined("anna", "berta")
    room.operate("promote", count=1)
    told = room.operate("remove", participant="anna", reason="looks like a robot")
    assert words(told) == [("anna", "ended"), ("berta", "offered")]
    assert "robot" not in str(told)
    with pytest.raises(Rejected):
        room.operate("remove", participant="anna", reason="again")


def test_a_pause_offers_nothing_and_loses_nothing() -> None:
    """While paused places gather and offers still end; resuming offers them."""
    room = joined("anna", "berta", "carla")
    room.operate("promote", count=1)
    room.operate("pause")
    assert words(room.operate("promote", count=1)) == []
    room.now_ms += 30 * MINUTE_MS
    assert words(room.fire("expiry")) == [("anna", "expired")]
    assert room.state.free == 2
    room.operate("resume")
    assert words(room.fire("tick")) == [("berta", "offered"), ("carla", "offered")]
    room.operate("resume")
    assert isinstance(room.last[-1], CommandIgnored)


def test_closing_sends_who_waits_away_and_keeps_what_was_offered(monkeypatch) -> None:
    """In bounded portions everybody waiting is told; an offer may still be claimed, and passes to nobody."""
    monkeypatch.setattr(mechanism, "AT_ONCE_MAX", 2)
    room = joined(*"abcdef")
    room.operate("promote", count=1)
    room.operate("close", reason="sold_out")
    with pytest.raises(Rejected) as caught:
        room.operate("open")
    assert caught.value.rule == "waitlist.still_closing"
    assert words(room.fire("tick")) == [("b", "ended"), ("c", "ended")]
    room.fire_due()
    assert room.waiting == []
    assert {t.data["reason"] for t in (room.last[0].tells() if room.last[0].TELLS else ())} == {"sold_out"}
    with pytest.raises(Rejected):
        room.operate("promote", count=1)
    assert words(room.ask("a", "claim")) == [("a", "completed")]
    room.operate("open")
    assert words(room.ask("b", "enter")) == [("b", "entered")]


def test_many_places_are_offered_in_portions(monkeypatch) -> None:
    """One decision offers to so many at most, and a timer goes on with the rest; expiring is portioned too."""
    monkeypatch.setattr(mechanism, "AT_ONCE_MAX", 2)
    room = joined(*"abcde")
    assert words(room.operate("promote", count=5)) == [("a", "offered"), ("b", "offered")]
    room.fire_due()
    assert sorted(room.offered) == list("abcde")
    room.now_ms += 30 * MINUTE_MS
    assert words(room.fire("expiry")) == [("a", "expired"), ("b", "expired")]
    room.fire_due()
    assert (room.state.free, room.state.tickets) == (5, {})


def test_closing_time_comes_by_timer_and_can_be_moved() -> None:
    """The list closes at its time; moved later, the old timer fires in vain once and waits again."""
    room = joined("anna", closes_at=SOON)
    room.operate("configure", closes_at=LATER)
    room.now_ms += HOUR_MS
    room.fire("close")
    assert not room.state.closed
    room.now_ms += 24 * HOUR_MS
    room.fire_due()
    assert room.state.closed
    assert room.waiting == []
    room.operate("open")
    assert room.state.config.closes_ms == 0


def test_rules_change_live_but_nobody_is_pushed_out() -> None:
    """A capacity below those on the list is a named rejection; a new offer length holds for new offers."""
    room = joined("anna", "berta", "carla")
    with pytest.raises(Rejected) as caught:
        room.operate("configure", capacity=2)
    assert (caught.value.rule, caught.value.inputs) == (
        "waitlist.capacity_below_waiting",
        {"capacity": 2, "waiting": 3},
    )
    room.operate("promote", count=1)
    room.operate("configure", capacity=3, offer_valid="5m")
    room.operate("promote", count=1)
    assert room.offered == {"anna": NOW_MS + 30 * MINUTE_MS, "berta": NOW_MS + 5 * MINUTE_MS}
    assert room.state.armed["expiry"] == NOW_MS + 5 * MINUTE_MS
    with pytest.raises(Rejected, match="closes_before_opening"):
        room.operate("configure", opens_at=LATER, closes_at=SOON)
    room.operate("configure", capacity=None)
    assert room.state.config.capacity == 0


def test_who_asks_learns_their_own_place() -> None:
    """A refresh tells phase, ticket and how many are ahead, or until when an offer stands, and nothing of others."""
    room = joined("anna", "berta", capacity=5)
    (told,) = room.ask("berta", "refresh")
    assert told.type == "distribution.updated"
    assert {"phase": "open", "ticket": 2, "ahead": 1}.items() <= told.data.items()
    room.operate("promote", count=1)
    assert standing(room.state, "anna", NOW_MS) == {
        "phase": "open", "ticket": 1, "expires_ms": NOW_MS + 30 * MINUTE_MS,
    }  # fmt: skip
    assert standing(room.state, "dora", NOW_MS) == {"phase": "open"}


def test_the_view_shows_no_person_and_no_limit() -> None:
    """What everybody may see has no name, reason or capacity in it."""
    room = joined("anna", "berta", capacity=4_321)
    room.operate("remove", participant="berta", reason="canary")
    summary = WAITLIST.capture(room.state)
    assert not [word for word in ("anna", "berta", "canary", "4321") if word in str(summary)]
    assert (WAITLIST.label(room.state), summary.view["phase"]) == ("open", "open")
    room.operate("pause")
    assert WAITLIST.label(room.state) == "paused"
    assert WAITLIST.capture(None).label == "none"


@pytest.mark.parametrize(
    ("type", "data"),
    [
        ("promote", {}), ("promote", {"count": 0}), ("promote", {"count": True}), ("promote", {"number": 1}),
        ("move", {"participant": "anna", "to": 0, "reason": "x"}), ("move", {"participant": "anna", "to": 1}),
        ("remove", {"participant": "anna"}), ("configure", {}), ("configure", {"offer_valid": "soon"}),
        ("configure", {"opens_at": "tomorrow"}), ("close", {"reason": "x" * 65}), ("pause", {"why": "x"}), ("admit", {}),
    ],
)  # fmt: skip
def test_commands_of_another_shape_are_malformed(type: str, data: dict[str, object]) -> None:
    """A wrong field of an operator's command is named, not guessed at."""
    with pytest.raises(Malformed, match=type):
        List().operate(type, **data)


def test_documents_are_checked_where_their_schema_cannot() -> None:
    """A span or a window that makes no sense is a problem with its place."""
    wrong = {"offer": {"valid": "9999999d"}, "opens_at": LATER, "closes_at": SOON}
    assert [problem.pointer for problem in WAITLIST.check(wrong)] == ["/closes_at", "/offer/valid"]
    assert WAITLIST.check({"offer": {"valid": "30m"}}) == []


def test_a_replay_leads_to_the_same_list() -> None:
    """What a restart folds from the log is what the running list holds."""
    room = joined("anna", "berta", "carla", closes_at=LATER)
    room.operate("move", participant="carla", to=1, reason="a test")
    room.operate("promote", count=2)
    room.ask("carla", "claim")
    room.now_ms += 30 * MINUTE_MS
    room.fire_due()
    assert plain(room.replayed()) == plain(room.state)
