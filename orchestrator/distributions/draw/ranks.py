"""The ranking of a large draw, made in pieces: sorted runs, merged from the front as far as places go.

The order is exactly that of `fairness.ranking` over all entries: by key, then by leaf.
"""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable
from heapq import heapify, heapreplace
from typing import Final

from orchestrator.distributions.fairness.ranking import key

BALLS_AT_ONCE: Final = 5_000  # hashes of one decision
_PREFIX_BYTES: Final = 8
Full = tuple[bytes, bytes]  # key and leaf


class _Place:
    """The next of a run. Two are compared in full only where the first 64 bits of their keys agree."""

    __slots__ = ("_full", "at", "run", "ticket")

    def __init__(self, run: int, at: int, ticket: int, full: Callable[[int], Full]) -> None:
        self.run, self.at, self.ticket, self._full = run, at, ticket, full

    def __lt__(self, other: "_Place") -> bool:
        return self._full(self.ticket) < self._full(other.ticket)


class Ranks:
    """Sorted runs of tickets; 12 bytes an entrant."""

    __slots__ = ("_bounds", "_prefixes", "_taken", "_tickets", "upto")

    def __init__(self) -> None:
        self.upto = 0  # the last ticket that is ranked
        self._bounds: list[int] = []  # the last ticket of each run
        self._tickets: list[array[int]] = []
        self._prefixes: list[array[int]] = []
        self._taken: list[int] = []

    def add(self, seed: bytes, entries: Iterable[tuple[bytes, int, int]], upto: int) -> None:
        """Rank the next entries: (leaf, weight, ticket), all those who stand up to ticket `upto`."""
        made = sorted((key(seed, leaf, weight), leaf, ticket) for leaf, weight, ticket in entries)
        self._tickets.append(array("I", [ticket for _, _, ticket in made]))
        self._prefixes.append(array("Q", [int.from_bytes(k[:_PREFIX_BYTES], "big") for k, _, _ in made]))
        self._taken.append(0)
        self._bounds.append(upto)
        self.upto = upto

    def taken(self, ticket: int) -> None:
        """The first of its run that was left has got its place."""
        self._taken[bisect_left(self._bounds, ticket)] += 1

    def next(self, count: int, full: Callable[[int], Full]) -> list[int]:
        """Up to `count` tickets that come next; `full` gives a ticket's key and leaf. Looks and changes nothing."""
        heap = [
            (self._prefixes[run][at], _Place(run, at, self._tickets[run][at], full))
            for run, at in enumerate(self._taken)
            if at < len(self._tickets[run])
        ]
        heapify(heap)
        found: list[int] = []
        while heap and len(found) < count:
            place = heap[0][1]
            found.append(place.ticket)
            run, at = place.run, place.at + 1
            if at < len(self._tickets[run]):
                heapreplace(heap, (self._prefixes[run][at], _Place(run, at, self._tickets[run][at], full)))
            else:
                last = heap.pop()
                if heap:
                    heapreplace(heap, last)
        return found
