"""Entering, leaving, completing, bidding, booking: each a question to a distribution, whose answer moves the journey."""

import json
from typing import Any

import pytest

from orchestrator.core.events import CommandIgnored
from orchestrator.journeys.experience.events import Asked, Entered, Unanswered
from tests.experience.documents import ONE_SEQUENCE, one
from tests.experience.world import HOUR, MINUTE, SECOND, World

LINE = "acme/r/exp_1.line/{}:exp_1:line"
OPENS = "2026-01-05T11:00:00Z"


def started(mechanism: str = "queue", **sequence: Any) -> World:
    return World(one(mechanism, **sequence)).do("start")


def inside(mechanism: str = "queue", **sequence: Any) -> World:
    """Somebody whom the distribution took in."""
    action = "enter_appointment" if mechanism == "appointment" else f"enter_{mechanism}"
    return started(mechanism, **sequence).do(action).told("entered", "line", participation="line-1", ticket=1)


@pytest.mark.parametrize(
    ("mechanism", "action", "ask", "data"),
    [
        ("queue", "enter_queue", "enter", {}),
        ("draw", "enter_draw", "enter", {}),
        ("auction", "enter_auction", "enter", {}),
        ("timed_release", "enter_timed_release", "enter", {"quantity": 2}),
        ("appointment", "enter_appointment", "book", {"slot": "monday-9"}),
    ],
)
def test_entering_asks_the_sequences_distribution(mechanism: str, action: str, ask: str, data: dict) -> None:
    """The ask goes to the one stream of that distribution, and the answer moves the sequence's stage."""
    journey = started(mechanism).do(action, **data)
    (told,) = journey.asks
    assert (told.stream, told.type, told.data) == (LINE.format(mechanism), ask, data)
    assert journey.label == "routed.active_enterable"
    journey.told("entered", "line", participation="line-7", ticket=7, phase="waiting")
    assert journey.label == "routed.participating"
    assert journey.shot["context"]["participation"] == {
        "id": "line-7", "type": mechanism, "enteredAt": journey.now_ms
    }  # fmt: skip


def test_entering_says_what_the_document_tells_of_the_customer() -> None:
    """A draw's weight is computed by the document's rule from the record, and is no word of the customer's."""
    weight = {"weight": {"if": [{"==": [{"var": "customer.tier"}, "gold"]}, 3, 1]}}
    journey = World(one("draw", attributes=weight), record={"private": {"tier": "gold"}}, secrets=("gold",))
    (told,) = journey.do("start").do("enter_draw").asks
    assert told.data == {"attributes": {"weight": 3}}
    assert "weight" not in json.dumps(journey.new[0].data)
    with pytest.raises(Exception, match="attributes are not the customer's to say"):
        journey.do("enter_draw", attributes={"weight": 100})


@pytest.mark.parametrize(
    ("mechanism", "action", "ask", "data"),
    [
        ("queue", "leave_participation", "leave", {}),
        ("timed_release", "complete_timed_release", "complete", {}),
        ("auction", "place_bid", "bid", {"amount": 120}),
        ("appointment", "cancel_appointment", "cancel", {}),
        ("queue", "refresh_distribution", "refresh", {}),
    ],
)
def test_what_one_does_inside_asks_the_same_distribution(
    mechanism: str, action: str, ask: str, data: dict
) -> None:
    """Leaving, completing, bidding, cancelling and refreshing go where the customer is."""
    (told,) = inside(mechanism).do(action, **data).asks
    assert (told.stream, told.type, told.data) == (LINE.format(mechanism), ask, data)


def test_leaving_makes_the_place_enterable_again() -> None:
    """The distribution says that the customer is out; only then the stage changes."""
    journey = inside().do("leave_participation")
    assert journey.label == "routed.participating"
    assert journey.told("left", "line", reason="left").label == "routed.active_enterable"
    assert "participation" not in journey.shot["context"]


@pytest.mark.parametrize("reason", ["closed", "drained"])
def test_leaving_because_it_is_over_ends_the_sequence(reason: str) -> None:
    """A closed or drained distribution can't be entered again."""
    assert inside().told("left", "line", reason=reason).label == "routed.ended"


def test_a_slot_can_be_held_booked_and_exchanged() -> None:
    """Holding first, booking the held one, and booking another instead are one action with its slot."""
    journey = started("appointment").do("enter_appointment", slot="monday", hold=True)
    assert [(told.type, told.data) for told in journey.asks] == [("enter", {"slot": "monday"})]
    journey.told("entered", "line", participation="line-1", slot="monday", phase="held")
    assert journey.do("enter_appointment", slot="monday").asked == [("line", "book")]
    journey.told("admitted", "line", jti="j-1", expires_ms=0).told("updated", "line", slot="monday")
    assert journey.label == "routed.admitted"
    assert journey.do("enter_appointment", slot="tuesday").asks[0].data == {"slot": "tuesday"}
    journey.told("admitted", "line", jti="j-2", expires_ms=0).told("updated", "line", slot="tuesday")
    assert journey.shot["context"]["distribution"]["progress"]["slot"] == "tuesday"
    assert journey.state.admission.jti == "j-2"


def test_one_question_at_a_time() -> None:
    """While an answer is on its way nothing else is asked: entering twice asks once."""
    journey = started().do("enter_queue")
    assert journey.do("enter_queue").rule == "experience.waiting_for_answer"
    assert journey.actions == {"journey": [], "sequence": []}
    assert journey.shot["context"]["waitingFor"] == {"action": "enter", "late": False}


def test_without_an_answer_one_may_try_again() -> None:
    """After the wait there is a named event, and `retry` asks the same again."""
    journey = started("timed_release").do("enter_timed_release", quantity=2).wait(31 * SECOND)
    assert [(event.to, event.action) for event in journey.of(Unanswered)] == [("line", "enter")]
    assert journey.shot["events"][-1]["kind"] == "error"
    assert journey.actions == {"journey": ["retry"], "sequence": []}
    (told,) = journey.do("retry").asks
    assert (told.type, told.data) == ("enter", {"quantity": 2})


def test_a_late_answer_still_counts() -> None:
    """The distribution owns what happened: its answer moves the journey whenever it comes."""
    journey = started().do("enter_queue").wait(HOUR)
    assert journey.told("entered", "line", participation="line-1").label == "routed.participating"
    assert "retry" not in journey.actions["journey"]


def test_the_wait_is_the_documents() -> None:
    """`answer_within` says how long an answer may take."""
    journey = World({**ONE_SEQUENCE, "answer_within": "5m"}).do("start").do("enter_queue")
    assert not journey.wait(4 * MINUTE).all(Unanswered)
    assert journey.wait(2 * MINUTE).all(Unanswered)


def test_a_refusal_is_an_event_that_says_no_more_than_that() -> None:
    """Rule and inputs stay with operators; the customer reads that it was not possible."""
    journey = (
        started()
        .do("enter_queue")
        .told("refused", "line", action="enter", reason="queue.full", inputs={"capacity": 9_917})
    )
    assert journey.label == "routed.active_enterable"
    assert journey.shot["events"][-1]["detail"] == {"action": "enter"}
    shown = json.dumps([journey.shot, journey.view, journey.kind.view(journey.state)])
    assert "full" not in shown
    assert "9917" not in shown
    assert not journey.do("enter_queue").rule


def test_a_doubled_answer_changes_nothing() -> None:
    """The same word twice leaves one entry and one journey event."""
    journey = inside()
    notes = len(journey.shot["events"])
    journey.told("entered", "line", participation="line-1", ticket=1)
    assert [event.reason for event in journey.of(CommandIgnored)] == ["already_known"]
    assert len(journey.shot["events"]) == notes
    assert len(journey.all(Entered)) == 1


def test_only_the_distribution_itself_is_believed() -> None:
    """Producers, other resources, other experiences and other customers' journeys can't admit anybody."""
    journey = started().do("enter_queue")
    said = {"distribution": "line", "jti": "j", "expires_ms": 0}
    for source in ("web", "shop/checkout", "engine/timers"):
        assert journey.do("distribution.admitted", source, **said).rule == "experience.not_a_distribution"
    for teller in (
        "acme/r/exp_1.line/draw:exp_1:line",
        "acme/r/exp_2.line/queue:exp_2:line",
        "evil/r/exp_1.line/queue:exp_1:line",
        "acme/r/exp_1.other/queue:exp_1:other",
        "acme/c/bob/experience:exp_1",
    ):
        assert (
            journey.told_by(teller, "distribution.admitted", **said).rule == "experience.not_a_distribution"
        )
    assert journey.label == "routed.active_enterable"


def test_a_place_nobody_wants_any_more_is_given_back() -> None:
    """A distribution that takes in somebody who was routed elsewhere, or is gone, is asked to let go."""
    journey = started().do("enter_queue").do("destroy")
    assert journey.asked == [("line", "leave")]
    assert journey.told("entered", "line", participation="line-1").asked == [("line", "leave")]
    assert journey.told("left", "line", reason="left").asked == []
    assert journey.state is None


def test_a_sequence_opens_and_closes_by_itself() -> None:
    """The window's times move the stage without a command."""
    journey = started(opens_at=OPENS, closes_at="2026-01-05T12:00:00Z")
    assert journey.label == "routed.upcoming"
    assert journey.do("enter_queue").rule == "experience.not_open"
    assert journey.wait(HOUR).label == "routed.active_enterable"
    assert journey.wait(HOUR).label == "routed.ended"
    assert journey.do("enter_queue").rule == "experience.ended"


def test_a_window_is_a_fact_even_before_its_timer_fired() -> None:
    """Lane time decides what is accepted, not when a timer gets its turn."""
    journey = started(opens_at=OPENS, closes_at="2026-01-05T12:00:00Z")
    journey.now_ms += HOUR
    assert journey.actions["sequence"] == ["enter_queue"]
    journey.now_ms += HOUR
    assert journey.do("enter_queue").rule == "experience.ended"
    assert journey.shot["sequenceStage"] == "ended"


def test_whoever_is_inside_stays_inside_after_the_window() -> None:
    """The sequence's closing keeps newcomers out; the distribution decides about the others."""
    journey = inside(closes_at="2026-01-05T12:00:00Z").wait(3 * HOUR)
    assert journey.label == "routed.participating"
    assert journey.told("admitted", "line", jti="j1", expires_ms=0).label == "routed.admitted"


def test_a_distributions_own_times_are_the_sequences() -> None:
    """A sequence that says no times opens and closes with its distribution's entries."""
    document = one("draw")
    document["distributions"] = {"line": {"mechanism": "draw", "opens_at": OPENS}}
    journey = World(document).do("start")
    assert journey.label == "routed.upcoming"
    assert journey.wait(HOUR).label == "routed.active_enterable"


def test_the_waitlist_takes_in_before_the_opening() -> None:
    """Waiting, leaving the waitlist, and entering once the sequence is open; then the waitlist is left by itself."""
    journey = started(opens_at=OPENS, waitlist="wait")
    assert journey.actions["sequence"] == ["enter_waitlist"]
    assert journey.do("enter_waitlist").asked == [("wait", "enter")]
    journey.told("entered", "wait", participation="wait-1", ticket=1)
    assert journey.label == "routed.waitlist_entered"
    assert journey.do("enter_queue").rule == "experience.not_open"
    assert journey.actions["sequence"] == ["leave_waitlist"]
    journey.wait(HOUR)
    assert journey.do("enter_queue").asked == [("line", "enter")]
    journey.told("entered", "line", participation="line-1")
    assert journey.asked == [("wait", "leave")]
    assert journey.told("left", "wait", reason="left").label == "routed.participating"


def test_an_offer_that_comes_too_late_changes_nothing() -> None:
    """Who has entered the distribution meanwhile stays in it: the waitlist hears of it at the same time."""
    journey = started(waitlist="wait").do("enter_waitlist").told("entered", "wait", participation="w")
    journey.do("enter_queue").told("entered", "line", participation="line-1")
    assert journey.told("offered", "wait", expires_ms=0).label == "routed.participating"
    assert journey.told("expired", "wait", what="offer").label == "routed.participating"


def test_an_admission_takes_off_the_waitlist() -> None:
    """A mechanism that admits at once leaves nobody behind on the waitlist."""
    journey = (
        started("appointment", waitlist="wait")
        .do("enter_waitlist")
        .told("entered", "wait", participation="w")
    )
    journey.do("enter_appointment", slot="s").told("admitted", "line", jti="j", expires_ms=0)
    assert journey.asked == [("wait", "leave")]
    assert journey.told("left", "wait", reason="left").label == "routed.admitted"


def test_leaving_the_waitlist_leads_back_to_before() -> None:
    """Out of the waitlist the customer stands where the window says."""
    journey = (
        started(opens_at=OPENS, waitlist="wait")
        .do("enter_waitlist")
        .told("entered", "wait", participation="w")
    )
    assert journey.do("leave_waitlist").asked == [("wait", "leave")]
    assert journey.told("left", "wait", reason="left").label == "routed.upcoming"


def test_an_offer_of_the_waitlist_is_accepted_and_leads_in() -> None:
    """Accepting claims the place; the waitlist's yes lets the journey enter the distribution by itself."""
    journey = started(waitlist="wait").do("enter_waitlist").told("entered", "wait", participation="w")
    journey.told("offered", "wait", expires_ms=journey.now_ms + HOUR)
    assert "accept_offer" in journey.actions["sequence"]
    assert journey.shot["context"]["offer"] == {"expiresAt": journey.now_ms + HOUR}
    assert journey.do("accept_offer").asked == [("wait", "claim")]
    assert journey.told("completed", "wait").asked == [("line", "enter")]
    assert journey.told("entered", "line", participation="line-1").label == "routed.participating"


def test_an_offer_that_is_over_is_over() -> None:
    """After its end an offer isn't accepted, told or not; the waitlist's word ends the waiting."""
    journey = started(waitlist="wait").do("enter_waitlist").told("entered", "wait", participation="w")
    journey.told("offered", "wait", expires_ms=journey.now_ms + HOUR)
    journey.now_ms += HOUR
    assert journey.do("accept_offer").rule == "experience.offer_over"
    assert journey.told("expired", "wait", what="offer").label == "routed.active_enterable"
    assert journey.do("accept_offer").rule == "experience.no_offer"


def test_a_draw_settles_offers_and_ends() -> None:
    """Entries close, a place is offered and claimed; or there is none."""
    journey = inside("draw").told("settling", "line")
    assert journey.view["sequence"]["phase"] == "settling"
    assert journey.do("leave_participation").rule == "experience.settling"
    offered = journey.told("offered", "line", expires_ms=journey.now_ms + HOUR)
    assert offered.do("accept_offer").asked == [("line", "claim")]
    assert offered.told("admitted", "line", jti="j", expires_ms=0).label == "routed.admitted"
    lost = inside("draw").told("settling", "line").told("not_selected", "line", reason="rank 91823")
    assert lost.label == "routed.ended"
    assert "91823" not in json.dumps([lost.shot, lost.view])


def test_a_replacement_comes_back_from_the_end() -> None:
    """Who wasn't selected may be offered a place that somebody else left."""
    journey = inside("draw").told("not_selected", "line", reason="rank")
    journey.told("offered", "line", expires_ms=0)
    assert journey.view["sequence"]["phase"] == "enterable"
    assert journey.actions["sequence"] == ["leave_participation", "accept_offer"]
    assert journey.told("expired", "line", what="offer").label == "routed.ended"


def test_a_hold_that_ran_out_goes_back() -> None:
    """What a timed release held and nobody bought is free again, also for this customer."""
    journey = inside("timed_release").told("expired", "line", what="hold")
    assert journey.label == "routed.active_enterable"
    assert journey.shot["events"][-1]["severity"] == "warning"


def test_a_finished_purchase_ends_the_sequence() -> None:
    """Completing is told by the distribution."""
    journey = inside("timed_release").do("complete_timed_release").told("completed", "line")
    assert journey.label == "routed.ended"
    assert journey.do("enter_timed_release").rule == "experience.ended"


def test_the_distributions_words_are_shown_as_far_as_they_are_public() -> None:
    """Position and ticket are the customer's own; whatever else is said stays out."""
    journey = inside().do("refresh_distribution")
    journey.told(
        "updated",
        "line",
        phase="waiting",
        ahead=12,
        eta_low_ms=5,
        capacity=500,
        concurrent=3,
        secret={"a": 1},
    )
    assert journey.shot["context"]["distribution"]["progress"] == {
        "ticket": 1, "phase": "waiting", "ahead": 12, "eta_low_ms": 5
    }  # fmt: skip
    assert journey.label == "routed.participating"


def test_a_paused_distribution_is_unavailable_for_a_while() -> None:
    """Pausing shows as unavailable and takes entering off the list; resuming brings it back."""
    journey = started().do("refresh_distribution").told("updated", "line", phase="paused")
    assert journey.view["sequence"]["phase"] == "unavailable"
    assert journey.do("enter_queue").rule == "experience.paused"
    journey.do("refresh_distribution").told("updated", "line", phase="open")
    assert journey.view["sequence"]["phase"] == "enterable"


def test_a_refresh_finds_out_that_it_opens_later() -> None:
    """A distribution whose opening an operator moved is upcoming until then, and enterable after."""
    journey = started().do("refresh_distribution")
    journey.told("updated", "line", phase="scheduled", opens_at_ms=journey.now_ms + HOUR)
    assert journey.label == "routed.upcoming"
    assert journey.view["sequence"]["opensAt"] == journey.now_ms + HOUR
    assert journey.wait(HOUR).label == "routed.active_enterable"
    moved = (
        started().do("refresh_distribution").told("updated", "line", phase="scheduled", opens_at_ms=10**13)
    )
    assert (
        moved.do("refresh_distribution").told("updated", "line", phase="open").label
        == "routed.active_enterable"
    )
    by_hand = started().do("refresh_distribution").told("updated", "line", phase="scheduled")
    assert by_hand.view["sequence"]["phase"] == "unavailable"


def test_news_are_no_answer_to_another_question() -> None:
    """Being outbid while leaving, or the refusal of something older, leaves the question open."""
    journey = (
        inside("auction").do("leave_participation").told("updated", "line", standing="outbid", minimum=9)
    )
    assert journey.state.question.action == "leave"
    assert journey.told("refused", "line", action="bid", reason="auction.too_low").state.question is not None
    assert journey.told("refused", "line", action="leave", reason="auction.bound").state.question is None
    assert inside("auction").do("place_bid", amount=9).told("updated", "line", bid=9).state.question is None


def test_an_entry_receipt_is_the_customers_own() -> None:
    """The proof of a draw's entry is in the snapshot, where its owner finds it, and not in the view."""
    receipt = {"draw": "d", "ticket": 1, "leaf": "ab", "salt": "cd"}
    journey = (
        started("draw").do("enter_draw").told("entered", "line", participation="line-1", receipt=receipt)
    )
    assert journey.shot["context"]["distribution"]["progress"]["receipt"] == receipt
    assert "receipt" not in json.dumps(journey.view)


def test_a_refresh_finds_out_that_it_is_over() -> None:
    """A distribution that says it is closed ends the sequence for whoever stands outside."""
    assert (
        started().do("refresh_distribution").told("updated", "line", phase="closed").label == "routed.ended"
    )


@pytest.mark.parametrize(
    ("mechanism", "action", "rule"),
    [
        ("queue", "leave_participation", "experience.not_in"),
        ("queue", "leave_waitlist", "experience.not_in"),
        ("queue", "enter_draw", "experience.other_mechanism"),
        ("queue", "enter_waitlist", "experience.no_waitlist"),
        ("queue", "place_bid", "experience.other_mechanism"),
        ("queue", "cancel_appointment", "experience.other_mechanism"),
        ("auction", "place_bid", "experience.not_in"),
        ("timed_release", "complete_timed_release", "experience.not_in"),
        ("queue", "complete_timed_release", "experience.other_mechanism"),
        ("queue", "accept_offer", "experience.no_offer"),
    ],
)
def test_what_does_not_fit_is_rejected_by_name(mechanism: str, action: str, rule: str) -> None:
    """Leaving what one isn't in, or acting by another mechanism, has its own word and asks nobody."""
    journey = started(mechanism).do(action)
    assert journey.rule == rule
    assert journey.asks == []


def test_entering_twice_is_rejected_by_name() -> None:
    """Who is in is in."""
    assert inside().do("enter_queue").rule == "experience.already_in"
    waiting = started(waitlist="wait").do("enter_waitlist").told("entered", "wait", participation="w")
    assert waiting.do("enter_waitlist").rule == "experience.already_in"


def test_imported_history_asks_nobody() -> None:
    """While history is imported no distribution hears of it."""
    from orchestrator.journeys.experience.commands import Act

    journey = started().decide(Act("enter_queue"), backfill=True, perform_effects=False)
    assert journey.rule == "experience.history_asks_nobody"
    assert not journey.all(Asked)
