"""The queue, one promise a test."""

import re
from typing import Any

import pytest

from orchestrator.core.errors import Malformed, Rejected
from orchestrator.core.events import CommandIgnored, Told
from orchestrator.distributions.fairness.ranking import ranking
from orchestrator.distributions.fairness.seeds import commitment, seed
from orchestrator.distributions.queue import QUEUE, now_serving, position
from orchestrator.distributions.queue.config import SCHEMA
from orchestrator.distributions.queue.flow import Flow
from tests.support.room import NOW_MS, RoomTest, answers
from tests.support.schemas import problems_of

SECRET = "0123456789abcdef" * 4
OPENING = {"opens_at": "2023-11-14T22:14:20Z"}  # a minute after the tests' first moment
OPENS_MS = NOW_MS + 60_000


def queue(**part: Any) -> RoomTest:
    return RoomTest(QUEUE, {"admission": {"valid": "10m"}} | part)


def enter(room: RoomTest, *names: str) -> None:
    for name in names:
        assert words(room.ask(name, "enter"), name)[0] == "entered"


def tick(room: RoomTest, after_ms: int = 1_000) -> list[Told]:
    room.now_ms += after_ms
    return room.fire("tick")


def words(told: list[Told], who: str) -> list[str]:
    return [one.type.removeprefix("distribution.") for one in answers(told, who)]


def refusal(room: RoomTest, who: str, action: str) -> str:
    (told,) = answers(room.ask(who, action), who)
    assert told.type == "distribution.refused"
    assert told.data["action"] == action
    return str(told.data["reason"])


def test_who_comes_first_is_admitted_first() -> None:
    """Admission follows the order of the tickets, and everybody is told of their own admission alone."""
    room = queue(concurrent=2)
    enter(room, "anna", "bert", "cleo")
    told = room.fire("tick")
    assert [t.type for t in told] == ["distribution.admitted"] * 2
    assert [t.stream.split("/")[2] for t in told] == ["anna", "bert"]
    assert told[0].data["expires_ms"] == room.now_ms + 600_000
    assert told[0].data["jti"] != told[1].data["jti"]


def test_entering_twice_gives_the_same_ticket() -> None:
    """A second ask to enter is answered like the first and takes no second place."""
    room = queue()
    first = room.ask("anna", "enter")[0]
    again = room.ask("anna", "enter")[0]
    assert (first.type, first.data["ticket"], first.data["participation"]) == (
        again.type, again.data["ticket"], again.data["participation"]
    )  # fmt: skip
    assert room.state.flow.waiting == 1


def test_entering_after_admission_tells_the_grant_again() -> None:
    """A journey that forgot its grant gets the same one back by entering, not another."""
    room = queue()
    enter(room, "anna")
    (admitted,) = room.fire("tick")
    told = room.ask("anna", "enter")
    assert words(told, "anna") == ["entered", "admitted"]
    assert told[1].data["jti"] == admitted.data["jti"]
    assert room.state.admissions.granted == 1


def test_the_rate_is_kept_evenly() -> None:
    """Sixty a minute is one a second, not sixty at the start of each minute."""
    room = queue(rate_per_minute=60)
    enter(room, *(f"c{number}" for number in range(10)))
    admitted = [len(tick(room)) for _ in range(8)]
    assert sum(admitted) == 9  # a saved-up one at the beginning
    assert max(admitted) == 2


def test_a_lull_or_a_late_timer_is_no_licence_for_a_rush() -> None:
    """After an hour without anybody, only five seconds' worth of admissions is saved up."""
    room = queue(rate_per_minute=60)
    enter(room, "early")
    tick(room)
    room.now_ms += 3_600_000
    enter(room, *(f"c{number}" for number in range(20)))
    assert len(room.fire("tick")) == 5


def test_nobody_more_inside_than_allowed() -> None:
    """With everyone inside, nobody is admitted and no timer runs, until a place is free."""
    room = queue(concurrent=1)
    enter(room, "anna", "bert")
    (admitted,) = tick(room)
    assert "tick" not in room.state.armed or tick(room) == []
    room.operate("redeem", jti=admitted.data["jti"])
    assert words(tick(room), "bert") == ["admitted"]


def test_a_place_inside_can_last_to_the_end_of_the_grant() -> None:
    """With `until_expired`, redeeming frees no place: the grant's end does, or completing."""
    room = queue(concurrent=1, admission={"valid": "10m", "slot": "until_expired"})
    enter(room, "anna", "bert", "cleo")
    (admitted,) = tick(room)
    room.operate("redeem", jti=admitted.data["jti"])
    assert tick(room) == []
    assert words(room.ask("anna", "complete"), "anna") == ["completed"]
    (admitted,) = tick(room)
    room.operate("redeem", jti=admitted.data["jti"])
    room.now_ms += 600_000
    assert room.fire("expiry") == []  # nobody is told anything: the grant was used
    assert words(tick(room), "cleo") == ["admitted"]


def test_an_unused_grant_ends_and_the_next_one_is_admitted() -> None:
    """The end of a grant is told to its holder and frees the place."""
    room = queue(concurrent=1)
    enter(room, "anna", "bert")
    tick(room)
    room.now_ms += 600_000
    (expired,) = room.fire("expiry")
    assert (expired.type, expired.data["what"], expired.data["reason"]) == (
        "distribution.expired", "admission", "expired",
    )  # fmt: skip
    assert words(tick(room), "bert") == ["admitted"]


def test_each_grant_ends_at_its_own_time() -> None:
    """One timer serves all grants: after the first ends it comes back for the next."""
    room = queue()
    enter(room, "anna")
    tick(room)
    enter(room, "bert")
    tick(room, 5_000)
    room.now_ms = room.state.armed["expiry"]
    assert words(room.fire("expiry"), "anna") == ["expired"]
    room.now_ms += 5_000
    assert words(room.fire("expiry"), "bert") == ["expired"]


def test_a_grant_is_used_once() -> None:
    """The second redemption of a grant is rejected by name, and so is one after its end."""
    room = queue()
    enter(room, "anna", "bert")
    first, second = tick(room)
    room.operate("redeem", jti=first.data["jti"])
    with pytest.raises(Rejected, match=r"grant.already_redeemed"):
        room.operate("redeem", jti=first.data["jti"])
    room.now_ms += 600_000
    with pytest.raises(Rejected, match=r"grant.expired"):
        room.operate("redeem", jti=second.data["jti"])
    with pytest.raises(Rejected, match=r"grant.unknown"):
        room.operate("redeem", jti="00" * 12)


def test_who_was_served_may_not_come_again_unless_the_rules_say_so() -> None:
    """Somebody who used a grant is refused by name; with `again` they get a new ticket at the end."""
    for again in (False, True):
        room = queue(admission={"valid": "10m", "again": again})
        enter(room, "anna")
        (admitted,) = tick(room)
        room.operate("redeem", jti=admitted.data["jti"])
        if again:
            assert room.ask("anna", "enter")[0].data["ticket"] == 2
        else:
            assert refusal(room, "anna", "enter") == "queue.already_served"


def test_leaving_frees_the_place() -> None:
    """Whoever leaves is no longer ahead of anybody, is told so, and may come back to the end."""
    room = queue(concurrent=1)
    enter(room, "anna", "bert", "cleo")
    assert words(room.ask("anna", "leave"), "anna") == ["left"]
    assert position(room.state, "bert").ahead == 0
    assert refusal(room, "anna", "leave") == "queue.not_in"
    enter(room, "anna")
    assert position(room.state, "anna").ahead == 2


def test_leaving_after_admission_gives_the_grant_back() -> None:
    """A grant given back can't be redeemed, and its place goes to the next."""
    room = queue(concurrent=1)
    enter(room, "anna", "bert")
    (admitted,) = tick(room)
    assert words(room.ask("anna", "leave"), "anna") == ["left"]
    with pytest.raises(Rejected, match=r"grant.revoked"):
        room.operate("redeem", jti=admitted.data["jti"])
    assert words(tick(room), "bert") == ["admitted"]


@pytest.mark.parametrize("command", ["pause", "drain", "close"])
def test_pause_drain_and_close(command: str) -> None:
    """A pause admits nobody, a drain lets nobody enter, a close sends away who waits; each keeps grants good."""
    room = queue(rate_per_minute=60)
    enter(room, "anna", "bert", "cleo")
    (admitted,) = tick(room, 0)
    room.operate(command)
    told = tick(room, 5_000)
    if command == "pause":
        assert told == []
        enter(room, "dora")
        room.operate("resume")
        told = tick(room)
        assert words(told, "bert") == ["admitted"]
        assert len(told) <= 2, "a pause saves nothing up"
    elif command == "drain":
        assert words(told, "bert") == ["admitted"]
        assert refusal(room, "dora", "enter") == "queue.draining"
    else:
        assert [t.type for t in told] == ["distribution.ended"] * 2
        assert refusal(room, "dora", "enter") == "queue.closed"
        room.operate("open")
        enter(room, "dora")
    room.operate("redeem", jti=admitted.data["jti"])


def test_closing_tells_everybody_in_bounded_steps() -> None:
    """At most a thousand are sent away by one decision, and nobody is forgotten."""
    room = queue(rate_per_minute=1)
    for number in range(2_300):
        room.ask(f"c{number}", "enter")
    room.operate("close")
    told = [len(tick(room, 0)) for _ in range(4)]
    assert told == [1_000, 1_000, 300, 0]
    assert room.state.flow.waiting == 0


def test_admission_is_in_bounded_steps() -> None:
    """At most a thousand are admitted by one decision; the rest follow at once, not a second later."""
    room = queue()
    for number in range(1_500):
        room.ask(f"c{number}", "enter")
    assert [len(tick(room, 0)), len(tick(room, 1_000))] == [1_000, 500]


def test_a_queue_opens_at_its_time() -> None:
    """Before the opening time entering is refused with that time; at it the timer opens."""
    room = queue(**OPENING)
    (told,) = room.ask("anna", "enter")
    assert (told.data["reason"], told.data["inputs"]) == ("queue.not_open", {"opens_at_ms": OPENS_MS})
    room.now_ms = OPENS_MS
    room.fire("open")
    enter(room, "anna")


def test_a_command_before_the_late_timer_finds_the_queue_open() -> None:
    """The opening counts from its time, not from when its timer is handled."""
    room = queue(**OPENING, pre_queue={"secret": SECRET})
    enter(room, "anna")
    room.now_ms = OPENS_MS
    (told,) = room.ask("bert", "enter")
    assert told.data["phase"] == "waiting"
    assert position(room.state, "bert").ahead == 1


def test_the_pre_queue_is_ordered_by_the_published_lot() -> None:
    """The order at the opening is the fair ranking of the tickets under the committed secret; later ones follow."""
    room = queue(**OPENING, pre_queue={"secret": SECRET})
    names = [f"c{number}" for number in range(40)]
    enter(room, *names)
    room.ask("c7", "leave")
    room.now_ms = OPENS_MS
    room.fire("open")
    enter(room, "late")
    tickets = [number + 1 for number in range(40) if number != 7]
    order = ranking(seed(bytes.fromhex(SECRET)), [ticket.to_bytes(8, "big") for ticket in tickets])
    expected = [names[tickets[index] - 1] for index in order]
    assert list(room.state.next(100)) == [*expected, "late"]
    assert expected != sorted(expected, key=names.index)
    assert position(room.state, "late").ahead == 39


def test_the_secret_is_committed_and_hidden_until_the_opening() -> None:
    """What is published before the opening is the secret's hash; the secret is in no public word of any event."""
    room = queue(**OPENING, pre_queue={"secret": SECRET})
    enter(room, "anna")
    view = QUEUE.view(room.state)
    assert view["commitment"] == commitment(bytes.fromhex(SECRET)).hex()
    assert view["secret"] is None
    public = [{k: getattr(e, k) for k in e.__struct_fields__ if k != "private"} for e in room.events]
    assert SECRET not in repr(public)
    room.now_ms = OPENS_MS
    room.fire("open")
    assert QUEUE.view(room.state)["secret"] == SECRET


def test_a_secret_kept_by_the_operator_has_to_be_revealed() -> None:
    """Without the secret the pre-queue stays closed after its time; a wrong secret is rejected; the right one opens."""
    room = queue(**OPENING, pre_queue={"commitment": commitment(bytes.fromhex(SECRET)).hex()})
    enter(room, "anna")
    room.now_ms = OPENS_MS + 1_000
    room.fire("open")
    assert room.state.flow.phase == "scheduled"
    with pytest.raises(Rejected, match=r"queue.secret_needed"):
        room.operate("open")
    with pytest.raises(Rejected, match=r"queue.secret_mismatch"):
        room.operate("open", secret="ff" * 32)
    room.operate("open", secret=SECRET)
    assert words(tick(room), "anna") == ["admitted"]


def test_the_pre_queue_has_its_own_opening() -> None:
    """Before the pre-queue opens, entering is refused with its opening time."""
    room = queue(**OPENING, pre_queue={"secret": SECRET, "opens_at": "2023-11-14T22:13:50Z"})
    (told,) = room.ask("anna", "enter")
    assert told.data["inputs"] == {"opens_at_ms": NOW_MS + 30_000}
    room.now_ms += 30_000
    enter(room, "anna")


def test_the_absent_lose_their_place_after_a_grace() -> None:
    """Who gives no sign of life loses the place when the grace is over; who does within it keeps it."""
    room = queue(concurrent=1, rate_per_minute=1, presence={"timeout": "30s", "grace": "2m"})
    enter(room, "anna", "bert", "cleo", "dora")
    room.operate("absent", participants=["anna", "bert", "cleo", "nobody"], since_ms=0)
    room.now_ms += 119_999
    assert room.fire("absence") == []
    room.operate("present", participants=["anna"])
    room.ask("bert", "refresh")  # asking is a sign of life too
    room.now_ms += 1
    told = room.fire("absence")
    assert [(t.stream.split("/")[2], t.data["reason"]) for t in told] == [("cleo", "absent")]
    assert position(room.state, "dora").ahead == 2


def test_signs_of_life_are_expected_of_who_waits() -> None:
    """Everybody in the line is awaited, the absent and those admitted are not; the pre-queue is no exception."""
    room = queue(
        **OPENING, concurrent=1, pre_queue={"secret": SECRET}, presence={"timeout": "30s", "grace": "2m"}
    )
    enter(room, "anna", "bert", "cleo")
    assert QUEUE.presence_timeout_ms(room.state) == 30_000
    assert set(QUEUE.awaited(room.state)) == {"anna", "bert", "cleo"}
    room.operate("absent", participants=["bert"])
    room.ask("cleo", "leave")
    assert (set(QUEUE.awaited(room.state)), list(QUEUE.noted_absent(room.state))) == ({"anna"}, ["bert"])
    room.now_ms = OPENS_MS
    room.fire("open")
    enter(room, "dora")
    (admitted,) = tick(room)
    waiting = {"anna", "bert", "dora"} - {admitted.stream.split("/")[2]}
    assert set(QUEUE.awaited(room.state)) == waiting - set(QUEUE.noted_absent(room.state))


def test_an_old_absence_still_gets_its_grace() -> None:
    """The grace counts from when the queue hears of the absence, so a tracker that was away expires nobody."""
    room = queue(presence={"timeout": "30s", "grace": "2m"})
    enter(room, "anna")
    room.operate("pause")
    room.now_ms += 3_600_000
    room.operate("absent", participants=["anna"], since_ms=NOW_MS - 86_400_000)
    room.now_ms += 60_000
    assert room.fire("absence") == []
    room.operate("absent", participants=["anna"], since_ms=NOW_MS)  # repeated: nothing begins anew
    room.now_ms += 60_000
    assert words(room.fire("absence"), "anna") == ["left"]


def test_the_limits_change_while_it_runs() -> None:
    """Rate and number inside take effect at once, up and down, without taking a grant from anybody."""
    room = queue(concurrent=1, rate_per_minute=6)
    enter(room, *(f"c{number}" for number in range(30)))
    assert len(tick(room)) == 1
    room.operate("configure", concurrent=20, rate_per_minute=600)
    assert len(tick(room)) == 10
    room.operate("configure", concurrent=5)
    assert tick(room, 60_000) == []
    assert len(room.state.admissions.live) == 11
    room.operate("configure", concurrent=None, rate_per_minute=None)
    assert len(tick(room)) == 19


def test_a_capacity_below_those_in_it_is_rejected() -> None:
    """Nobody can be in a queue that is too small: the lowering is rejected by name, with the number."""
    room = queue(capacity=3)
    enter(room, "anna", "bert", "cleo")
    assert refusal(room, "dora", "enter") == "queue.full"
    with pytest.raises(Rejected, match=r"queue.capacity_below_entrants") as no:
        room.operate("configure", capacity=2)
    assert no.value.inputs == {"capacity": 2, "entrants": 3}
    room.operate("configure", capacity=4)
    enter(room, "dora")


def test_an_operator_lets_some_in_at_once() -> None:
    """`admit` passes the rate and a pause, never the number inside."""
    room = queue(concurrent=3, rate_per_minute=1)
    enter(room, *(f"c{number}" for number in range(9)))
    room.operate("pause")
    assert len(room.operate("admit", count=2)) == 2
    assert len(room.operate("admit", count=1_000)) == 1
    with pytest.raises(Rejected, match=r"queue.no_room"):
        room.operate("admit", count=1)


@pytest.mark.parametrize(
    ("type", "data", "says"),
    [
        ("admit", {"count": 0}, "count must be a whole number from 1 to 1000"),
        ("admit", {"count": True}, "count must be"),
        ("admit", {"cout": 1}, "unknown field 'cout'"),
        ("absent", {"participants": "anna"}, "participants must be a list"),
        ("absent", {"participants": ["x"] * 1_001}, "at most 1000"),
        ("configure", {}, "nothing to change"),
        ("configure", {"valid": "soon"}, "'soon' is no duration"),
        ("configure", {"closes_at": "2027-01-01"}, "is no instant"),
        ("open", {"secret": "abc"}, "32 bytes in hex"),
        ("redeem", {}, "jti must be a text"),
        ("shuffle", {}, "no command of a queue"),
    ],
)
def test_malformed_commands_name_the_field(type: str, data: dict[str, Any], says: str) -> None:
    """A command of the wrong shape never reaches a decision; the error names command, field and cure."""
    with pytest.raises(Malformed, match=re.escape(says)):
        queue().operate(type, **data)


@pytest.mark.parametrize("command", ["open", "resume"])
def test_commands_out_of_order_are_rejected_by_name(command: str) -> None:
    """Opening an open queue or resuming a running one is a named rejection with the phase."""
    room = queue()
    enter(room, "anna")
    with pytest.raises(Rejected, match=rf"queue.cannot_{command}"):
        room.operate(command)


def test_refresh_tells_ones_own_place_and_nothing_else() -> None:
    """The answer to a refresh holds phase, times, ticket, place and estimate: no name and no limit."""
    room = queue(rate_per_minute=60, capacity=77)
    enter(room, "anna", "bert", "cleo")
    tick(room)
    (told,) = room.ask("cleo", "refresh")
    assert set(told.data) == {
        "distribution", "mechanism", "at_ms", "phase", "ticket", "ahead", "eta_low_ms", "eta_high_ms",
    }  # fmt: skip
    assert (told.data["ticket"], told.data["ahead"]) == (3, 0)


def test_the_public_view_shows_no_participant_and_no_limit() -> None:
    """Names, capacity, rate and number inside are in neither view nor label."""
    room = queue(rate_per_minute=4_321, concurrent=7_654, capacity=98_765)
    enter(room, "anna-canary", "bert-canary")
    tick(room)
    shown = repr(QUEUE.view(room.state)) + QUEUE.label(room.state)
    for secret in ("canary", "4321", "7654", "98765", *(g.jti for g in room.state.admissions.live.values())):
        assert secret not in shown


def test_an_estimate_brackets_the_true_wait() -> None:
    """At a steady pace the interval holds the true wait and never promises more than the rate allows."""
    room = queue(rate_per_minute=600)
    enter(room, *(f"c{number}" for number in range(2_000)))
    for _ in range(60):
        tick(room)
    found = position(room.state, "c1999", room.now_ms)
    assert found.eta_low_ms <= found.ahead * 100 <= found.eta_high_ms
    assert found.eta_low_ms >= found.ahead * 100
    assert found.eta_high_ms < 1.3 * found.ahead * 100
    room.operate("pause")
    assert position(room.state, "c1999").eta_high_ms is None


def test_only_a_journey_of_the_experience_may_ask() -> None:
    """An ask that no journey of this experience told is rejected by name."""
    room = queue()
    with pytest.raises(Rejected, match=r"distribution.not_a_participant"):
        room._decide(QUEUE.parse("enter", {}), "somebody", "1")
    room.journey = lambda participant: f"other/c/{participant}/experience:shoes"  # type: ignore[method-assign]
    with pytest.raises(Rejected, match=r"distribution.not_a_participant"):
        room.ask("anna", "enter")


def test_a_timer_in_vain_says_so_and_is_forgotten() -> None:
    """A firing with nothing to do leaves an event that cancels it, so rows and state agree."""
    room = queue(concurrent=1)
    enter(room, "anna")
    room.operate("pause")
    tick(room)
    assert [type(event).__name__ for event in room.last] == ["TimerCancelled"]
    assert "tick" not in room.state.armed


def test_an_empty_queue_has_a_document_too() -> None:
    """Before anybody entered, and after everybody left, the document is there and says that nobody waits."""
    room = queue(**OPENING, pre_queue={"secret": SECRET})
    room.operate("pause")
    assert (now_serving(room.state)["blocks"], now_serving(room.state)["keys"]) == ([], [])
    enter(room, "anna")
    room.ask("anna", "leave")
    room.now_ms = OPENS_MS
    room.fire("open")
    assert QUEUE.view(room.state)["now_serving"]["waiting"] == 0


def test_now_serving_finds_everyone_within_its_stated_bound() -> None:
    """From the one document and a ticket alone, each position is found within the bound that the page can compute."""
    room = queue(**OPENING, pre_queue={"secret": SECRET}, rate_per_minute=6_000)
    names = [f"c{number}" for number in range(5_000)]
    enter(room, *names[:3_000])
    for name in names[:3_000:7]:
        room.ask(name, "leave")
    room.now_ms = OPENS_MS
    room.fire("open")
    enter(room, *names[3_000:])
    for name in names[3_001::3]:
        room.ask(name, "leave")
    for _ in range(20):
        tick(room)
    document = now_serving(room.state)
    assert sum(document["blocks"]) == document["waiting"]
    for name in names:
        found = position(room.state, name)
        if found is not None:
            low, high = page_position(document, found.ticket)
            assert low <= found.ahead <= high
            assert high - low <= document["width"]


def page_position(document: dict[str, Any], ticket: int) -> tuple[int, int]:
    """What a page computes: between how many and how many are ahead. As docs/distributions.md has it."""
    from orchestrator.distributions.fairness.ranking import key

    width, counts = document["width"], document["blocks"]
    if ticket > document["shuffled"]:
        place = ticket - 1
        block = (place - document["first"]) // width
        before, inside = place - document["first"] - block * width, counts[block]
        size = min(width, document["tickets"] - document["first"] - block * width)
        start = sum(counts[:block])
        return start + max(0, inside - (size - before)), start + min(before, inside - 1)
    mine = key(seed(bytes.fromhex(SECRET)), ticket.to_bytes(8, "big"))[:8].hex()
    block = max(0, sum(first <= mine for first in document["keys"]) - 1)
    return sum(counts[:block]), sum(counts[: block + 1]) - 1


@pytest.mark.parametrize(
    ("part", "pointer"),
    [
        ({"opens_at": "tomorrow"}, "/opens_at"),
        ({"opens_at": "2027-03-01T10:00:00Z", "closes_at": "2027-03-01T09:00:00Z"}, "/closes_at"),
        ({"admission": {"valid": "999999999w"}}, "/admission/valid"),
        ({"pre_queue": {"secret": SECRET}}, "/pre_queue"),
        (
            {**OPENING, "pre_queue": {"secret": SECRET, "opens_at": "2030-01-01T00:00:00Z"}},
            "/pre_queue/opens_at",
        ),
        ({"rate_per_minute": 0}, "/rate_per_minute"),
        ({"pre_queue": {}}, "/pre_queue"),
        ({"admission": {}}, "/admission"),
    ],
)
def test_documents_with_a_mistake_are_refused_at_its_place(part: dict[str, Any], pointer: str) -> None:
    """Each problem of a document is found where it is, with what to do about it."""
    found = problems_of(SCHEMA, QUEUE, {"admission": {"valid": "10m"}} | part)
    assert pointer in found


def test_the_numbers_of_a_decision_are_a_copy() -> None:
    """A refused ask leaves the state as it was, whatever the decision tried out."""
    room = queue(**OPENING, pre_queue={"secret": SECRET})
    enter(room, "anna")
    before: Flow = room.state.flow
    copied = repr(before)
    room.now_ms = OPENS_MS
    assert refusal(room, "bert", "leave") == "queue.not_in"
    assert repr(before) == copied


def test_an_absence_of_nobody_is_ignored() -> None:
    """A command that concerns nobody leaves its mark and nothing else."""
    room = queue(presence={"timeout": "30s", "grace": "2m"})
    enter(room, "anna")
    room.fire("tick")
    room.operate("absent", participants=["nobody"])
    assert room.last == [CommandIgnored("nobody_concerned")]
