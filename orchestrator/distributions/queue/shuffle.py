"""The order of a pre-queue: the fair ranking of its tickets, kept ready while people enter, so that opening is quick.

Anyone repeats it with the secret, once that is revealed: `fairness.ranking` of the tickets as eight-byte numbers, with
the seed of the secret alone. No beacon is in it, so an operator who knows the secret could know the order beforehand.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

from orchestrator.distributions.fairness.ranking import key
from orchestrator.distributions.fairness.seeds import seed

_KEY_BYTES: Final = 8
_BLOCK_MAX: Final = 2_048


def seed_of(secret: str) -> bytes:
    """The seed of a secret (hex)."""
    return seed(bytes.fromhex(secret))


def key_of(seed: bytes, ticket: int) -> str:
    """The beginning of a ticket's key in the ranking, in hex, as the now-serving document has keys."""
    return f"{_key(seed, ticket):016x}"


def _full_key(seed: bytes, ticket: int) -> bytes:
    return key(seed, ticket.to_bytes(8, "big"))


def _key(seed: bytes, ticket: int) -> int:
    """The beginning of a ticket's key in the ranking, as a number: enough to tell tickets apart almost always."""
    return int.from_bytes(_full_key(seed, ticket)[:_KEY_BYTES], "big")


class Drawn:
    """The order as it was drawn; twelve bytes a ticket."""

    __slots__ = ("_keys", "_seed", "tickets")

    def __init__(self, seed: bytes, keys: "array[int]", tickets: "array[int]") -> None:
        self._seed = seed
        self._keys = keys  # ascending
        self.tickets = tickets  # by place

    def place(self, ticket: int) -> int:
        """The place of one of its tickets, from 0."""
        place = bisect_left(self._keys, _key(self._seed, ticket))
        while self.tickets[place] != ticket:
            place += 1
        return place

    def key_at(self, place: int) -> str:
        """The beginning of the key of the ticket at a place, in hex."""
        return f"{self._keys[place]:016x}"


class Lot:
    """The order while tickets still come and go, in blocks that are short enough to insert into."""

    __slots__ = ("_blocks", "_seed", "_tops")

    def __init__(self, seed: bytes, tickets: Iterable[int] = ()) -> None:
        self._seed = seed
        self._blocks: list[tuple[array[int], array[int]]] = []  # keys and their tickets
        self._tops: list[int] = []  # the last key of each block
        for ticket in tickets:
            self.add(ticket)

    def add(self, ticket: int) -> None:
        """Put a ticket where it belongs."""
        mine = _key(self._seed, ticket)
        at = min(bisect_left(self._tops, mine), len(self._tops) - 1)
        if at < 0:
            self._blocks, self._tops = [(array("Q", [mine]), array("I", [ticket]))], [mine]
            return
        keys, tickets = self._blocks[at]
        place = bisect_left(keys, mine)
        while place < len(keys) and keys[place] == mine and self._before(tickets[place], ticket):
            place += 1  # keys that begin alike, once in millions of queues
        keys.insert(place, mine)
        tickets.insert(place, ticket)
        self._tops[at] = keys[-1]
        if len(keys) > _BLOCK_MAX:
            half = _BLOCK_MAX // 2
            self._blocks[at : at + 1] = [(keys[:half], tickets[:half]), (keys[half:], tickets[half:])]
            self._tops[at : at + 1] = [keys[half - 1], keys[-1]]

    def drop(self, ticket: int) -> None:
        """Take a ticket out."""
        mine = _key(self._seed, ticket)
        at = bisect_left(self._tops, mine)
        keys, tickets = self._blocks[at]
        place = bisect_left(keys, mine)
        while tickets[place] != ticket:
            place += 1
        del keys[place], tickets[place]
        if keys:
            self._tops[at] = keys[-1]
        else:
            del self._blocks[at], self._tops[at]

    def drawn(self) -> Drawn:
        """The order as it is now."""
        all_keys, all_tickets = array("Q"), array("I")
        for keys, tickets in self._blocks:
            all_keys.extend(keys)
            all_tickets.extend(tickets)
        return Drawn(self._seed, all_keys, all_tickets)

    def _before(self, one: int, other: int) -> bool:
        return (_full_key(self._seed, one), one) < (_full_key(self._seed, other), other)
