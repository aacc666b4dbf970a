"""Offsets advance over contiguous finished work alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.effects.offsets import OffsetTracker


def test_nothing_is_committable_before_the_first_is_finished() -> None:
    """A partition without finished work commits nothing."""
    tracker = OffsetTracker()
    assert tracker.committable is None
    tracker.take(5)
    tracker.take(6)
    tracker.finish(6)
    assert tracker.committable is None
    tracker.finish(5)
    assert tracker.committable == 7


def test_gaps_between_offsets_are_no_work() -> None:
    """Transaction markers take offsets that never arrive; they hold nothing up."""
    tracker = OffsetTracker()
    for offset in (3, 8, 11):
        tracker.take(offset)
    tracker.finish(3)
    assert tracker.committable == 4
    assert tracker.is_first(8)
    tracker.finish(11)
    tracker.finish(8)
    assert tracker.committable == 12


def test_offsets_must_rise() -> None:
    """A record that comes twice in one assignment is a bug that must not pass quietly."""
    tracker = OffsetTracker()
    tracker.take(2)
    with pytest.raises(ValueError, match="after 2"):
        tracker.take(2)


@given(st.sets(st.integers(0, 300), min_size=1).flatmap(lambda s: st.permutations(sorted(s))))
def test_an_unfinished_record_is_never_passed(order: list[int]) -> None:
    """In whatever order work finishes, the committable offset stays at or below the lowest unfinished one."""
    tracker = OffsetTracker()
    for offset in sorted(order):
        tracker.take(offset)
    unfinished = set(order)
    for offset in order:
        tracker.finish(offset)
        unfinished.discard(offset)
        at = tracker.committable
        assert at is None or not unfinished or at <= min(unfinished)
        assert len(tracker) >= len(unfinished)
    assert tracker.committable == max(order) + 1
    assert len(tracker) == 0
