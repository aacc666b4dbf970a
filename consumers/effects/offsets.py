"""Which offset of a partition may be committed: everything below it is finished. Pure."""

from collections import deque


class OffsetTracker:
    """Records are taken in order and finish in any order; only contiguous finished work is committable."""

    def __init__(self) -> None:
        self._taken: deque[int] = deque()
        self._finished: set[int] = set()
        self._next: int | None = None

    def __len__(self) -> int:
        """Records taken and not yet below the committable offset."""
        return len(self._taken)

    @property
    def committable(self) -> int | None:
        """The offset of the next record to be read after a restart; None before the first finished record."""
        return self._next

    def take(self, offset: int) -> None:
        """A record was read; its offset is above all taken before (gaps are transaction markers)."""
        if self._taken and offset <= self._taken[-1]:
            raise ValueError(f"offset {offset} was taken after {self._taken[-1]}")
        self._taken.append(offset)

    def is_first(self, offset: int) -> bool:
        """Whether everything below `offset` is finished."""
        return bool(self._taken) and self._taken[0] == offset

    def finish(self, offset: int) -> None:
        """The record needs no more work; twice is harmless."""
        self._finished.add(offset)
        while self._taken and self._taken[0] in self._finished:
            last = self._taken.popleft()
            self._finished.discard(last)
            self._next = last + 1
        if not self._taken:
            self._finished.clear()
