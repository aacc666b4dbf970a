"""A line of people: places in order, each waited in or left, with the exact number of those ahead of any place.

One byte a place and a Fenwick tree over blocks of places: within a block bytes are counted, which is as quick.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from orchestrator.distributions.queue.fenwick import Fenwick

BLOCK: Final = 1_024
"""Places of a block."""
_LEFT, _WAITED_IN = 0, 1


class Line:
    """Places from 0 on. Everything is O(log n) or a scan of bytes at the machine's speed."""

    __slots__ = ("_blocks", "_first", "_marks")

    def __init__(self, marks: bytes = b"") -> None:
        self._marks = bytearray(marks)
        self._blocks = Fenwick()
        for start in range(0, len(self._marks), BLOCK):
            self._blocks.append(self._marks.count(_WAITED_IN, start, start + BLOCK))
        self._first = 0
        self._move_first()

    def __len__(self) -> int:
        """How many places there are, left ones too."""
        return len(self._marks)

    @property
    def waiting(self) -> int:
        return self._blocks.total

    @property
    def first(self) -> int:
        """The first place waited in; the place behind the last when nobody waits."""
        return self._first

    def append(self) -> int:
        """A place behind the last one, waited in."""
        place = len(self._marks)
        self._marks.append(_WAITED_IN)
        if place % BLOCK:
            self._blocks.add(place // BLOCK, 1)
        else:
            self._blocks.append(1)
        return place

    def leave(self, place: int) -> None:
        """Somebody leaves their place; once is enough."""
        if self._marks[place] == _LEFT:
            return
        self._marks[place] = _LEFT
        self._blocks.add(place // BLOCK, -1)
        if place == self._first:
            self._move_first()

    def waits(self, place: int) -> bool:
        return self._marks[place] == _WAITED_IN

    def ahead(self, place: int) -> int:
        """How many wait before a place."""
        block = place // BLOCK
        return self._blocks.before(block) + self._marks.count(_WAITED_IN, block * BLOCK, place)

    def next(self, limit: int) -> Iterator[int]:
        """The first places waited in, in order."""
        place = self._first
        for _ in range(min(limit, self.waiting)):
            yield place
            place = self._marks.find(_WAITED_IN, place + 1)

    def counts(self, width: int, first: int = 0) -> list[int]:
        """How many wait in each `width` places from place `first` on, a multiple of `width`.

        `width` is a power of two, so that it is parts of a BLOCK or several.
        """
        if width < BLOCK:
            marks = self._marks
            return [marks.count(_WAITED_IN, at, at + width) for at in range(first, len(marks), width)]
        starts = range(first // BLOCK, len(self._blocks), width // BLOCK)
        sums = [self._blocks.before(at) for at in starts]
        sums.append(self._blocks.total)
        return [after - before for before, after in pairwise(sums)]

    def _move_first(self) -> None:
        found = self._marks.find(_WAITED_IN, self._first)
        self._first = len(self._marks) if found < 0 else found
