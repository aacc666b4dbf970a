"""Finding one's own place from the one document: exact or between honest ends, in a document that stays small."""

import json
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.errors import Malformed
from orchestrator.distributions.fairness.seeds import seed
from orchestrator.distributions.queue import QUEUE, now_serving, position
from orchestrator.distributions.queue.events import QueueEntered, QueueOpened
from orchestrator.distributions.queue.serving import NowServing, Place, place_of, read_serving
from orchestrator.distributions.queue.state import BLOCKS_SHOWN_MAX
from tests.support.room import NOW_MS, RoomTest

SECRET = "0123456789abcdef" * 4
OPENS_MS = NOW_MS + 60_000
PART = {"admission": {"valid": "10m"}}
LOT = PART | {"opens_at": "2023-11-14T22:14:20Z", "pre_queue": {"secret": SECRET}}
MOMENT: Any = SimpleNamespace(now_ms=OPENS_MS)  # as much of the facts as leaving needs


def document(state: Any) -> NowServing:
    """The document as it reaches a page."""
    return read_serving(json.loads(json.dumps(now_serving(state))))


def entered(room: RoomTest, count: int) -> None:
    """So many more stand in the line, by the events that their asks leave."""
    for _ in range(count):
        number = room.state.issued + 1
        phase = "waiting" if room.state.flow.phase == "open" else "pre_queue"
        event = QueueEntered(room.state.room, f"c{number}", number, phase, room.now_ms)
        room.state = QUEUE.evolve(room.state, event)


def people(part: dict[str, Any], early: int, late: int = 0) -> RoomTest:
    """An open queue with so many from before the opening and so many from after it."""
    room = RoomTest(QUEUE, part | {"concurrent": 1_000_000})
    room.ask("c1", "enter")
    entered(room, early - 1)
    if part is LOT:
        room.now_ms = OPENS_MS
        room.state = QUEUE.evolve(room.state, QueueOpened(room.state.room, OPENS_MS, SECRET))
    entered(room, late)
    return room


def without(room: RoomTest, numbers: list[int]) -> None:
    """These leave the line."""
    for number in numbers:
        if position(room.state, f"c{number}") is not None:
            (event,) = QUEUE.ask(room.state, f"c{number}", QUEUE.parse("leave", {}), MOMENT)[:1]
            room.state = QUEUE.evolve(room.state, event)


def check(room: RoomTest, found: NowServing) -> int:
    """Everybody's place is where the document says; the widest interval."""
    widest = 0
    for number in range(1, room.state.issued + 1):
        true, told = position(room.state, f"c{number}"), place_of(found, number)
        if true is None:
            continue
        assert told.status == "waiting"
        assert told.ahead_low is not None
        assert told.ahead_high is not None
        assert told.ahead_low <= true.ahead <= told.ahead_high, (number, true, told)
        widest = max(widest, told.ahead_high - told.ahead_low)
    return widest


@settings(max_examples=60, deadline=None)
@given(data=st.data(), lot=st.booleans(), early=st.integers(1, 700), late=st.integers(0, 700))
def test_every_place_is_between_its_ends(data: st.DataObject, lot: bool, early: int, late: int) -> None:
    """Whoever left and however many were served, no place is outside its interval, and none is as wide as a block."""
    room = people(LOT if lot else PART, early, late)
    total = room.state.issued
    without(room, data.draw(st.lists(st.integers(1, total), max_size=60)))
    for number in range(data.draw(st.integers(0, min(total, 400)))):  # some of the head are served
        who = next(room.state.next(1), None)
        if who is None or number % 2:
            continue
        without(room, [room.state.tickets[who]])
    found = document(room.state)
    assert check(room, found) < found.width


def test_a_short_line_is_exact() -> None:
    """With as many places as the document has blocks, everybody's place is exact, those of the lot too."""
    room = people(LOT, 150, BLOCKS_SHOWN_MAX - 150)
    without(room, [3, 77, 151, 200])
    found = document(room.state)
    assert found.width == 1
    assert check(room, found) == 0


def test_a_long_line_that_nobody_left_is_exact() -> None:
    """In order of arrival a place is exact wherever nobody left its block, however wide that is."""
    room = people(PART, 3_000)
    without(room, list(range(1, 1_001)))  # served from the head
    found = document(room.state)
    assert found.width > 1
    assert check(room, found) == 0


def test_an_interval_is_as_narrow_as_the_document_allows() -> None:
    """Who asks waits themselves, which narrows the ends; and who is first of a block by lot knows it by their key."""
    room = people(PART, 3)
    made = now_serving(room.state) | {"tickets": 8, "width": 4, "waiting": 6, "blocks": [4, 2]}
    found = read_serving(made)
    ends = [(told.ahead_low, told.ahead_high) for told in (place_of(found, n) for n in (4, 5, 6, 7, 8))]
    assert ends == [(3, 3), (4, 4), (4, 5), (4, 5), (5, 5)]
    room = people(LOT, 1_500)
    (first,) = room.state.next(1)
    told = place_of(document(room.state), room.state.tickets[first])
    assert (told.ahead_low, told.ahead_high) == (0, 0)


def test_a_line_of_many_thousands_is_found_in_too() -> None:
    """With blocks of a thousand and a head in the midst of one, places are between their ends all the same."""
    room = people(PART, 140_000)
    without(room, [1, 2, 3, 4, 5, 5_000, 70_000])
    found = document(room.state)
    assert (found.width, found.first, found.head) == (1_024, 0, 5)
    for number in (6, 1_024, 1_025, 4_999, 5_001, 69_999, 70_001, 140_000):
        true, told = position(room.state, f"c{number}"), place_of(found, number)
        assert true is not None
        assert (told.ahead_low or 0) <= true.ahead <= (told.ahead_high or 0)


@pytest.mark.parametrize("part", [PART, LOT], ids=["in order", "by lot"])
def test_the_document_stays_small(part: dict[str, Any]) -> None:
    """The line may grow a hundredfold: the document has no more blocks and the interval is the same part of the line."""
    sizes = []
    for count in (700, 70_000):
        room = people(part, count)
        found = document(room.state)
        assert len(found.blocks) <= BLOCKS_SHOWN_MAX + 1
        assert len(found.keys) <= len(found.blocks)
        assert found.width <= max(1, 2 * count / BLOCKS_SHOWN_MAX)
        sizes.append(len(msgspec.json.encode(now_serving(room.state))))
    assert sizes[1] < 10_000
    assert sizes[1] < 2 * sizes[0]


def test_the_document_is_as_fine_as_the_rest_of_the_line() -> None:
    """What was served long ago doesn't make the places of those who still wait any coarser."""
    room = people(PART, 20_000)
    without(room, list(range(1, 19_901)))
    found = document(room.state)
    assert (found.width, found.head, found.waiting) == (1, 19_900, 100)


def test_an_old_document_never_says_too_few_ahead() -> None:
    """However long a cache kept it, no more are ahead than it said; a ticket younger than it is told so."""
    room = people(LOT, 400, 400)
    old = document(room.state)
    entered(room, 50)
    without(room, [5, 6, 7, 401, 500, 801])
    for number in range(1, room.state.issued + 1):
        true, told = position(room.state, f"c{number}"), place_of(old, number)
        if true is not None:
            assert told.ahead_high is not None
            assert true.ahead <= told.ahead_high
            assert told.status == ("waiting" if number <= 800 else "newer_than_document")


def test_who_was_served_is_told_that_the_line_has_passed() -> None:
    """A number before the head of the line waits no more, in order of arrival and by lot."""
    room = people(LOT, 600, 100)
    first = [room.state.tickets[who] for who in room.state.next(301)]
    without(room, first)
    found = document(room.state)
    assert (found.width, found.head - found.first) == (2, 1)
    assert {place_of(found, number).status for number in first} == {"passed"}
    without(room, [room.state.tickets[who] for who in room.state.next(349)])
    found = document(room.state)
    assert found.keys == ()
    assert {place_of(found, number).status for number in range(1, 651)} == {"passed"}
    check(room, found)


def test_before_the_opening_no_place_and_no_seed_is_told() -> None:
    """Until the lot is drawn nobody has a place, and the document holds nothing to compute one from."""
    room = RoomTest(QUEUE, LOT)
    room.ask("anna", "enter")
    found = document(room.state)
    assert place_of(found, 1) == Place("before_the_lot")
    assert (found.seed, found.keys) == ("", ())
    secrets = (SECRET, seed(bytes.fromhex(SECRET)).hex())
    assert not any(secret in json.dumps(QUEUE.view(room.state)) for secret in secrets)


def test_a_paused_queue_tells_places_and_no_wait_and_a_closed_one_nothing() -> None:
    """Phases decide what may be told of the wait."""
    room = RoomTest(QUEUE, PART | {"rate_per_minute": 60})
    for number in range(1, 4):
        room.ask(f"c{number}", "enter")
    assert place_of(document(room.state), 3) == Place("waiting", 2, 2, 0, None)
    room.now_ms += 1_000
    room.fire("tick")
    told = place_of(document(room.state), 3)
    assert told.status == "waiting"
    assert told.eta_high_ms is not None
    room.operate("pause")
    assert place_of(document(room.state), 3).eta_low_ms is None
    room.operate("close")
    assert place_of(document(room.state), 3) == Place("closed")


def test_the_document_changes_only_when_something_happened() -> None:
    """A cache may keep it until the queue's next event: the same events give the same bytes."""
    room = people(PART, 10)
    before = json.dumps(now_serving(room.state))
    room.now_ms += 3_600_000
    assert json.dumps(now_serving(room.state)) == before


@pytest.mark.parametrize(
    "change",
    [
        {"width": 0}, {"tickets": -1}, {"head": 7}, {"first": 2}, {"waiting": 4}, {"blocks": [1, 1]},
        {"blocks": [3, 1, 1]}, {"blocks": [-1, 1, 1]}, {"keys": ["zz"]}, {"shuffled": 9}, {"shuffled": 2},
        {"pace": {"admitted": -1, "over_ms": 1}}, {"as_of_ms": "now"}, {"width": 2**40}, {"keys": ["0" * 16]},
        {"phase": None},
    ],
    ids=lambda change: "-".join(f"{name}:{value}"[:24] for name, value in change.items()),
)  # fmt: skip
def test_a_document_that_contradicts_itself_is_refused(change: dict[str, Any]) -> None:
    """A broken or invented document leads to a named refusal, never to a wrong place or another error."""
    good = now_serving(people(PART, 3).state)
    assert read_serving(good | {"added_later": 1}).waiting == 3
    with pytest.raises(Malformed, match="now-serving document"):
        read_serving(good | change)


@given(
    noise=st.recursive(
        st.none() | st.integers() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)
    )
)
def test_noise_is_no_document(noise: Any) -> None:
    """Any JSON at all is refused by name."""
    with pytest.raises(Malformed):
        read_serving(noise)
