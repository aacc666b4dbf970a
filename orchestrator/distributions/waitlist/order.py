"""Tickets in an order that can be changed: first, position and insertion at a position, among a million, in microseconds.

Each ticket has a sort key, kept by ticket number; blocks of keys are found by bisection. A ticket put between two others
gets a key between theirs; where none is left, the keys of its block are spread again, and at worst all keys are dealt
anew. Positions are counted from 0.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

BLOCK: Final = 1_024
_GAP: Final = 1 << 24  # between neighbours: room for 24 halvings, and for 2**38 tickets
_GONE: Final = -(1 << 63)


class Order:
    """Distinct tickets (whole numbers from 0, given out in sequence). Mutable; 16 bytes a ticket, 8 of one that left."""

    __slots__ = ("_blocks", "_keys", "_last", "_sizes", "_tops")

    def __init__(self) -> None:
        self._keys = array("q")  # by ticket
        self._blocks: list[tuple[array[int], array[int]]] = []  # keys and their tickets, ascending
        self._tops: list[int] = []  # the last key of each block
        self._sizes = array("q")
        self._last = 0

    def __len__(self) -> int:
        return sum(self._sizes)

    def __contains__(self, ticket: int) -> bool:
        return ticket < len(self._keys) and self._keys[ticket] != _GONE

    def __iter__(self) -> Iterator[int]:
        for _, tickets in self._blocks:
            yield from tickets

    def append(self, ticket: int) -> None:
        """Put a ticket behind all others."""
        self._last += _GAP
        self._remember(ticket, self._last)
        if not self._blocks or len(self._blocks[-1][0]) >= BLOCK:
            self._blocks.append((array("q"), array("q")))
            self._tops.append(0)
            self._sizes.append(0)
        keys, tickets = self._blocks[-1]
        keys.append(self._last)
        tickets.append(ticket)
        self._tops[-1] = self._last
        self._sizes[-1] += 1

    def insert(self, position: int, ticket: int) -> None:
        """Put a ticket at a position; those from there on move back by one."""
        if position >= len(self):
            self.append(ticket)
            return
        block, at = self._place(position)
        key = self._key_between(block, at)
        if key is None and not self._spread(block):
            self._deal()
            self.insert(position, ticket)
            return
        if key is None:
            key = self._key_between(block, at)
        assert key is not None
        self._remember(ticket, key)
        keys, tickets = self._blocks[block]
        keys.insert(at, key)
        tickets.insert(at, ticket)
        self._sizes[block] += 1
        if len(keys) > 2 * BLOCK:
            self._split(block)

    def remove(self, ticket: int) -> None:
        """Take a ticket out. Raises KeyError when it isn't here."""
        block, at = self._find(ticket)
        keys, tickets = self._blocks[block]
        del keys[at], tickets[at]
        self._keys[ticket] = _GONE
        if keys:  # its top may stay: no key beyond it is in the next block
            self._sizes[block] -= 1
        else:
            del self._blocks[block], self._tops[block], self._sizes[block]

    def position(self, ticket: int) -> int:
        """How many are before a ticket. Raises KeyError when it isn't here."""
        block, at = self._find(ticket)
        return sum(self._sizes[:block]) + at

    def first(self, limit: int) -> list[int]:
        """The first tickets, in order."""
        found: list[int] = []
        for _, tickets in self._blocks:
            if len(found) >= limit:
                break
            found += tickets[: limit - len(found)]
        return found

    def _remember(self, ticket: int, key: int) -> None:
        missing = ticket + 1 - len(self._keys)
        if missing > 0:
            self._keys.extend([_GONE] * missing)
        assert self._keys[ticket] == _GONE, "a ticket is in an order once"
        self._keys[ticket] = key

    def _find(self, ticket: int) -> tuple[int, int]:
        if ticket not in self:
            raise KeyError(ticket)
        key = self._keys[ticket]
        block = bisect_left(self._tops, key)
        return block, bisect_left(self._blocks[block][0], key)

    def _place(self, position: int) -> tuple[int, int]:
        """The block of a position that there is, and the place in it."""
        block = 0
        while position >= self._sizes[block]:
            position -= self._sizes[block]
            block += 1
        return block, position

    def _floor(self, block: int) -> int:
        """A key below all of a block and above all before it."""
        return self._tops[block - 1] if block else self._blocks[0][0][0] - _GAP

    def _key_between(self, block: int, at: int) -> int | None:
        """A key for a ticket at a place of a block that another has now; None where there is no room."""
        keys = self._blocks[block][0]
        before, after = keys[at - 1] if at else self._floor(block), keys[at]
        middle = (before + after) // 2
        return middle if before < middle < after else None

    def _spread(self, block: int) -> bool:
        """Give a block's keys even distances; False where they would stay too near for another between them."""
        keys, tickets = self._blocks[block]
        floor = self._floor(block)
        step = (keys[-1] - floor) // len(keys)
        if step < 2:
            return False
        for at, ticket in enumerate(tickets):
            keys[at] = self._keys[ticket] = floor + step * (at + 1)
        return True

    def _split(self, block: int) -> None:
        keys, tickets = self._blocks[block]
        half = len(keys) // 2
        self._blocks[block : block + 1] = [(keys[:half], tickets[:half]), (keys[half:], tickets[half:])]
        self._tops[block : block + 1] = [keys[half - 1], keys[-1]]
        self._sizes[block : block + 1] = array("q", [half, len(keys) - half])

    def _deal(self) -> None:
        """Give every ticket a new key, a gap from its neighbours."""
        tickets = list(self)
        self._keys = array("q", [_GONE]) * len(self._keys)
        self._blocks, self._tops, self._sizes, self._last = [], [], array("q"), 0
        for ticket in tickets:
            self.append(ticket)
