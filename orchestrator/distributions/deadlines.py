"""Deadlines of many participants behind one timer: a heap, in which one that was moved or dropped stays until seen."""

from collections.abc import Iterator
from heapq import heapify, heappop, heappush

_STALE_MIN = 1_024


class Deadlines:
    """When something ends for each of some participants. Times are ms of lane time."""

    __slots__ = ("_at", "_heap")

    def __init__(self) -> None:
        self._at: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self._at)

    def __iter__(self) -> Iterator[str]:
        return iter(self._at)

    def __contains__(self, participant: str) -> bool:
        return participant in self._at

    def get(self, participant: str) -> int | None:
        return self._at.get(participant)

    @property
    def next_ms(self) -> int | None:
        """The earliest deadline."""
        return self._heap[0][0] if self._heap else None

    def set(self, participant: str, at_ms: int) -> None:
        """Set or move a deadline."""
        self._at[participant] = at_ms
        heappush(self._heap, (at_ms, participant))
        self._trim()

    def drop(self, participant: str) -> bool:
        """Forget a deadline; False when there was none."""
        if self._at.pop(participant, None) is None:
            return False
        if len(self._heap) > 2 * len(self._at) + _STALE_MIN:  # what was dropped may not pile up
            self._heap = [(at_ms, who) for who, at_ms in self._at.items()]
            heapify(self._heap)
        else:
            self._trim()
        return True

    def due(self, now_ms: int, limit: int) -> tuple[list[str], int | None]:
        """Up to `limit` participants whose deadline has come, the earliest first, and when to look again.

        Looks and changes nothing.
        """
        found: list[tuple[int, str]] = []
        again: int | None = None
        look = [0] if self._heap else []
        while look:  # of a heap only the branches whose top is due
            at = look.pop()
            if at >= len(self._heap):
                continue
            top = self._heap[at]
            live = self._at.get(top[1]) == top[0]
            if top[0] > now_ms and live:
                again = top[0] if again is None else min(again, top[0])
                continue
            if live:
                found.append(top)
            look += (2 * at + 1, 2 * at + 2)
        due = sorted(set(found))
        return [who for _, who in due[:limit]], now_ms if len(due) > limit else again

    def _trim(self) -> None:
        heap = self._heap
        while heap and self._at.get(heap[0][1]) != heap[0][0]:
            heappop(heap)
