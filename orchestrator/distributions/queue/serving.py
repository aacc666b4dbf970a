"""A place in a queue as a page finds it: from the one now-serving document and the number of a ticket, nothing else.

What it finds holds for the document's moment. Nobody ever gets in before somebody who waits, so that there are never
more ahead than it says, however long a cache kept the document.
"""

from bisect import bisect_right
from typing import Any, Final, Literal

from msgspec import Struct, ValidationError, convert

from orchestrator.core.errors import Malformed
from orchestrator.distributions.queue.pace import eta
from orchestrator.distributions.queue.shuffle import key_of

WIDTH_MAX: Final = 2**32
Status = Literal["waiting", "passed", "before_the_lot", "newer_than_document", "closed"]
_HEX16, _HEX64 = 16, 64


class Speed(Struct, frozen=True):
    """How many were admitted over the last so many ms."""

    admitted: int
    over_ms: int


class NowServing(Struct, frozen=True, kw_only=True):
    """The document, see docs/distributions.md. Places count from 0, tickets from 1, times are ms."""

    organization: str
    experience: str
    distribution: str
    phase: str
    as_of_ms: int
    tickets: int
    shuffled: int
    waiting: int
    width: int
    first: int
    head: int
    blocks: tuple[int, ...]
    keys: tuple[str, ...]
    seed: str
    pace: Speed


class Place(Struct, frozen=True):
    """Between how many and how many wait before a ticket, and for how long; None is what the document can't tell."""

    status: Status
    ahead_low: int | None = None
    ahead_high: int | None = None
    eta_low_ms: int | None = None
    eta_high_ms: int | None = None


def read_serving(data: Any) -> NowServing:
    """A document as it came, unknown fields left out. Raises Malformed for one that contradicts itself."""
    try:
        found = convert(data, NowServing)
    except ValidationError as error:
        raise Malformed(f"this is no now-serving document of a queue: {error}") from None
    if not _consistent(found):
        raise Malformed("this now-serving document contradicts itself: fetch it again")
    return found


def place_of(serving: NowServing, ticket: int) -> Place:
    """Where a ticket that still waits stands. Who left is not in the document: ask the journey."""
    if serving.phase == "closed":
        return Place("closed")
    if serving.phase == "pre_queue":
        return Place("before_the_lot")
    if ticket > serving.tickets:  # all that came in between may be ahead, and may be gone again
        return _waits(serving, 0, serving.waiting + ticket - serving.tickets - 1, "newer_than_document")
    found = _of_the_lot(serving, ticket) if ticket <= serving.shuffled else _in_order(serving, ticket - 1)
    return Place("passed") if found is None else _waits(serving, *found)


def _in_order(serving: NowServing, place: int) -> tuple[int, int] | None:
    if place < serving.head:
        return None
    block = (place - serving.first) // serving.width
    start, end = _bounds(serving, block)
    count, before = serving.blocks[block], place - start
    if not count:
        return None
    ahead = sum(serving.blocks[:block])
    return ahead + max(0, count - (end - place)), ahead + min(before, count - 1)


def _of_the_lot(serving: NowServing, ticket: int) -> tuple[int, int] | None:
    mine = key_of(bytes.fromhex(serving.seed), ticket)
    block = bisect_right(serving.keys, mine) - 1
    if block < 0 or not serving.blocks[block]:
        return None
    ahead, (start, end) = sum(serving.blocks[:block]), _bounds(serving, block)
    if serving.keys[block] == mine:
        return ahead, ahead
    return ahead, ahead + min(serving.blocks[block], min(end, serving.shuffled) - start) - 1


def _bounds(serving: NowServing, block: int) -> tuple[int, int]:
    """The places of a block that somebody may wait in."""
    start = serving.first + block * serving.width
    return max(start, serving.head), min(start + serving.width, serving.tickets)


def _waits(serving: NowServing, low: int, high: int, status: Status = "waiting") -> Place:
    if serving.phase not in {"open", "draining"}:
        return Place(status, low, high)
    pace = (serving.pace.admitted, serving.pace.over_ms)
    return Place(status, low, high, eta(low, *pace, 0)[0], eta(high, *pace, 0)[1])


def _consistent(serving: NowServing) -> bool:
    numbers = (serving.as_of_ms, serving.shuffled, serving.pace.admitted, serving.pace.over_ms)
    if min(numbers) < 0 or not 1 <= serving.width <= WIDTH_MAX:
        return False
    if not 0 <= serving.first <= serving.head <= serving.tickets or serving.shuffled > serving.tickets:
        return False
    if len(serving.blocks) != -(-(serving.tickets - serving.first) // serving.width):
        return False
    sizes = (end - start for start, end in (_bounds(serving, at) for at in range(len(serving.blocks))))
    if not all(0 <= count <= size for count, size in zip(serving.blocks, sizes, strict=True)):
        return False
    if sum(serving.blocks) != serving.waiting or len(serving.keys) > len(serving.blocks):
        return False
    if serving.keys and _bounds(serving, len(serving.keys) - 1)[0] >= serving.shuffled:
        return False
    if serving.shuffled and serving.head < serving.shuffled and not _hex(serving.seed, _HEX64):
        return False
    return all(_hex(key, _HEX16) for key in serving.keys) and list(serving.keys) == sorted(serving.keys)


def _hex(text: str, length: int) -> bool:
    return len(text) == length and all(character in "0123456789abcdef" for character in text)
