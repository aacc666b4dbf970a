"""Weighted sampling without replacement that anyone can repeat, exact in whole numbers.

Think of a drum with one ball for each unit of weight. All balls are taken out in random order, and an entrant's rank
is that of their first ball. Then the chance to be the next is always one's weight over the weights that are left,
which is what weighted sampling without replacement means; no logarithm, no rounding. A ball's place is its SHA-256
over seed, leaf and number, so an entrant's key is the smallest of their balls' hashes; equal keys go by leaf.
"""

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import Final

ALGORITHM: Final = "drum-sha256-v1"
_BALL: Final = b"draw.ball.v1\x00"
_NUMBERS: Final = tuple(number.to_bytes(4, "big") for number in range(1_024))
_STEP: Final = 2_000


def key(seed: bytes, leaf: bytes, weight: int = 1) -> bytes:
    """An entrant's place in the order: smaller comes first. Costs one hash a unit of weight."""
    begin = _BALL + seed + leaf
    if weight == 1:
        return sha256(begin + _NUMBERS[0]).digest()
    return min(sha256(begin + _NUMBERS[number]).digest() for number in range(weight))


def ranking(
    seed: bytes,
    leaves: Sequence[bytes],
    weights: Sequence[int] | None = None,
    *,
    progress: Callable[[int], None] | None = None,
) -> list[int]:
    """The order of the leaves, as indexes: the first is the first winner. Without weights: a fair shuffle.

    `progress` hears now and then how many are done. Raises ValueError for a weight below 1 or above 1,024.
    """
    if weights is not None and weights and not 1 <= min(weights) <= max(weights) <= len(_NUMBERS):
        raise ValueError(f"weights are whole numbers from 1 to {len(_NUMBERS)}")
    made: list[tuple[bytes, bytes, int]] = []
    for start in range(0, len(leaves), _STEP):
        made += keyed(seed, leaves, weights, start, start + _STEP)
        if progress is not None:
            progress(len(made))
    made.sort()
    return [index for _, _, index in made]


def keyed(
    seed: bytes, leaves: Sequence[bytes], weights: Sequence[int] | None, start: int, end: int
) -> Iterator[tuple[bytes, bytes, int]]:
    """(key, leaf, index) of a part of the leaves: what sorts them."""
    for index in range(start, min(end, len(leaves))):
        leaf = leaves[index]
        yield key(seed, leaf, 1 if weights is None else weights[index]), leaf, index
