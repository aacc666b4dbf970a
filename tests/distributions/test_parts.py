"""The parts that mechanisms are made of: counts, lines, deadlines, lots and turns, each against the simplest truth."""

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.events import TimerArmed, TimerCancelled
from orchestrator.distributions.deadlines import Deadlines
from orchestrator.distributions.fairness.ranking import ranking
from orchestrator.distributions.queue import line as lines
from orchestrator.distributions.queue.fenwick import Fenwick
from orchestrator.distributions.queue.line import Line
from orchestrator.distributions.queue.pace import Pace, eta
from orchestrator.distributions.queue.shuffle import Drawn, Lot, seed_of
from orchestrator.distributions.reading import instant_ms
from orchestrator.distributions.turn import Turn

SEED = seed_of("5a" * 32)


@given(
    start=st.lists(st.integers(-9, 9), max_size=40),
    changes=st.lists(st.tuples(st.integers(0, 39), st.integers(-9, 9)), max_size=40),
)
def test_running_sums_are_those_of_the_numbers(start: list[int], changes: list[tuple[int, int]]) -> None:
    """After any appends and changes each running sum is the plain sum."""
    tree, plain = Fenwick(), []
    for value in start:
        tree.append(value)
        plain.append(value)
    for index, change in changes:
        if index >= len(plain):
            with pytest.raises(IndexError):
                tree.add(index, change)
            continue
        tree.add(index, change)
        plain[index] += change
    assert [tree.before(i) for i in range(len(plain) + 1)] == [sum(plain[:i]) for i in range(len(plain) + 1)]
    assert tree.total == sum(plain)


@given(steps=st.lists(st.integers(-30, 3), max_size=120), block=st.sampled_from((1, 2, 8)))
def test_a_line_is_a_list(steps: list[int], block: int) -> None:
    """Appending and leaving in any order: first, next, ahead and counts are those of a plain list."""
    before, lines.BLOCK = lines.BLOCK, block  # type: ignore[misc]
    try:
        line, plain = Line(), []
        for step in steps:
            if step >= 0 or not plain:
                plain.append(True)
                assert line.append() == len(plain) - 1
            else:
                plain[-step % len(plain)] = False
                line.leave(-step % len(plain))
            waiting = [place for place, waits in enumerate(plain) if waits]
            assert line.waiting == len(waiting)
            assert line.first == (waiting[0] if waiting else len(plain))
            assert list(line.next(3)) == waiting[:3]
        for place in range(len(plain)):
            assert line.ahead(place) == sum(plain[:place])
        for width in (1, block, 2 * block):
            for first in {0, line.first - line.first % width}:
                counted = [sum(plain[at : at + width]) for at in range(first, len(plain), width)]
                assert line.counts(width, first) == counted
        again = Line(bytes(plain))
        assert [again.ahead(place) for place in range(len(plain))] == [
            line.ahead(p) for p in range(len(plain))
        ]
    finally:
        lines.BLOCK = before  # type: ignore[misc]


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(("set", "drop", "due")), st.sampled_from("abcdef"), st.integers(0, 50)),
        max_size=60,
    )
)
def test_deadlines_are_a_dictionary(steps: list[tuple[str, str, int]]) -> None:
    """Set, moved and dropped in any order: who is due, and when to look again, is what a plain dictionary says."""
    deadlines, plain = Deadlines(), {}
    for what, who, at_ms in steps:
        match what:
            case "set":
                deadlines.set(who, at_ms)
                plain[who] = at_ms
            case "drop":
                assert deadlines.drop(who) == (plain.pop(who, None) is not None)
            case "due":
                due = sorted((ms, name) for name, ms in plain.items() if ms <= at_ms)
                later = min((ms for ms in plain.values() if ms > at_ms), default=None)
                assert deadlines.due(at_ms, 99) == ([name for _, name in due], later)
                if len(due) > 1:
                    assert deadlines.due(at_ms, 1) == ([due[0][1]], at_ms)
        assert deadlines.next_ms == min(plain.values(), default=None)


@given(st.dictionaries(st.text(max_size=8), st.integers(1, 255), max_size=200), st.text(max_size=8))
def test_how_grants_ended_is_remembered(codes: dict[str, int], other: str) -> None:
    """Each id has its own code, and one that never ended has none, however full the buckets are."""
    from orchestrator.distributions import ended

    before, ended._BUCKETS = ended._BUCKETS, 2  # type: ignore[misc]
    try:
        kept = ended.Ended()
        for id, code in codes.items():
            kept.add(id, code)
        assert {id: kept.get(id) for id in codes} == codes
        assert kept.get(other) == codes.get(other, 0)
    finally:
        ended._BUCKETS = before  # type: ignore[misc]


def test_dropped_deadlines_do_not_pile_up() -> None:
    """What was dropped before its time is forgotten long before that, so the heap stays in proportion."""
    deadlines = Deadlines()
    deadlines.set("first", 1)
    for number in range(50_000):
        deadlines.set(f"c{number}", 1_000_000)
        deadlines.drop(f"c{number}")
    assert len(deadlines._heap) < 5_000


@given(
    tickets=st.sets(st.integers(1, 500), max_size=200),
    leaving=st.sets(st.integers(1, 500), max_size=100),
    block=st.sampled_from((2, 5, 64)),
)
def test_a_lot_kept_ready_is_the_fair_ranking(tickets: set[int], leaving: set[int], block: int) -> None:
    """Entered and left in any order, the order drawn is that of the ranking anyone can repeat."""
    from orchestrator.distributions.queue import shuffle as queue_shuffle

    before, queue_shuffle._BLOCK_MAX = queue_shuffle._BLOCK_MAX, block  # type: ignore[misc]
    try:
        lot = Lot(SEED, sorted(tickets))
        for ticket in leaving & tickets:
            lot.drop(ticket)
    finally:
        queue_shuffle._BLOCK_MAX = before  # type: ignore[misc]
    left = sorted(tickets - leaving)
    drawn = lot.drawn()
    assert list(drawn.tickets) == [left[i] for i in ranking(SEED, [t.to_bytes(8, "big") for t in left])]
    assert [drawn.place(ticket) for ticket in drawn.tickets] == list(range(len(left)))


def test_keys_that_begin_alike_are_told_apart() -> None:
    """Two tickets whose keys begin with the same bytes keep their own places."""
    from orchestrator.distributions.queue.shuffle import _key

    same = array("Q", [_key(SEED, 7), _key(SEED, 7)])
    drawn = Drawn(SEED, same, array("I", [3, 7]))
    assert drawn.place(7) == 1


def test_a_timer_is_armed_only_when_something_is_due_earlier() -> None:
    """Later wishes leave the row alone, earlier ones move it, and a firing in vain is told."""
    turn = Turn({"tick": 50})
    turn.want("tick", 60)
    turn.want("tick", None)
    assert turn.done() == []
    turn = Turn({"tick": 50})
    turn.want("tick", 40)
    turn.want("tick", 45)
    assert turn.done() == [TimerArmed("tick", 40)]
    turn = Turn({"tick": 50, "close": 9}, fired="tick")
    assert turn.done() == [TimerCancelled("tick")]
    turn = Turn({"tick": 50}, fired="tick")
    turn.want("tick", 60)
    assert turn.done() == [TimerArmed("tick", 60)]


def test_the_pace_forgets_what_is_long_ago() -> None:
    """Only the last minutes count, in a handful of numbers."""
    pace = Pace()
    for second in range(3_600):
        pace.note(second * 1_000, 2)
    admitted, over_ms = pace.recent(3_600_000)
    assert admitted == 600
    assert over_ms == 300_000
    assert len(pace._buckets) <= 30


@given(st.integers(0, 10**6), st.integers(1, 10**6), st.integers(1_000, 300_000), st.integers(0, 600_000))
def test_estimates_are_intervals(ahead: int, admitted: int, over_ms: int, rate: int) -> None:
    """The low end is never above the high one, nor below what the rate allows."""
    low, high = eta(ahead, admitted, over_ms, rate)
    assert high is not None
    assert 0 <= low <= high
    assert not rate or low >= ahead * 60_000 // rate


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T01:00:00.5+01:00", 500),
        ("2023-11-14T22:13:20Z", 1_700_000_000_000),
        ("1969-12-31T23:59:59Z", -1_000),
    ],
)
def test_instants_are_exact(text: str, ms: int) -> None:
    """An instant is read to the millisecond whatever its offset."""
    assert instant_ms(text) == ms


@pytest.mark.parametrize("text", ["", "noon", "2023-11-14", "2023-11-14T22:13:20", "1700000000"])
def test_what_is_no_instant_says_how_to_write_one(text: str) -> None:
    """Without an offset nobody knows the time: it is refused with an example."""
    with pytest.raises(ValueError, match="write date, time and offset"):
        instant_ms(text)
