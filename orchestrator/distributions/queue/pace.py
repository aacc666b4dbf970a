"""How fast a line moved lately, and what that says about how long it takes from a place in it."""

from collections import deque
from math import isqrt
from typing import Final

WINDOW_MS: Final = 300_000
_BUCKET_MS: Final = 10_000


class Pace:
    """Admissions of the last minutes, in a few buckets of time."""

    __slots__ = ("_buckets",)

    def __init__(self) -> None:
        self._buckets: deque[tuple[int, int]] = deque(maxlen=WINDOW_MS // _BUCKET_MS)

    def note(self, at_ms: int, count: int) -> None:
        start_ms = at_ms - at_ms % _BUCKET_MS
        if self._buckets and self._buckets[-1][0] >= start_ms:
            start_ms, before = self._buckets.pop()
            count += before
        self._buckets.append((start_ms, count))

    def recent(self, now_ms: int) -> tuple[int, int]:
        """How many were admitted lately, and over how many ms."""
        from_ms = now_ms - WINDOW_MS
        found = [(start_ms, count) for start_ms, count in self._buckets if start_ms >= from_ms]
        if not found:
            return 0, WINDOW_MS
        return sum(count for _, count in found), max(_BUCKET_MS, now_ms - found[0][0])


def eta(ahead: int, admitted: int, over_ms: int, rate_per_minute: int) -> tuple[int, int | None]:
    """The shortest and longest wait to expect, in ms, two deviations around the recent pace; None: no telling.

    A configured rate bounds it from below: nobody can be quicker.
    """
    turn = ahead + 1
    soonest = ahead * 60_000 // rate_per_minute if rate_per_minute else 0
    if not admitted:
        return soonest, None
    spread = 2 * isqrt(turn) + 1
    low = max(soonest, max(0, turn - spread) * over_ms // admitted)
    return low, max(low, (turn + spread) * over_ms // admitted)
