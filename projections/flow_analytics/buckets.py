"""Times in log-scale buckets of whole milliseconds: they add up over transactions and lanes, and give quantiles.

Below 8 ms each millisecond is a bucket; above, each power of two is cut into eight. A quantile is the middle of its
bucket: at most a sixteenth (6.25 %) away from the true value.
"""

from collections.abc import Mapping
from math import ceil
from typing import Final

_PARTS: Final = 8  # of each power of two
_PART_BITS: Final = 3
RELATIVE_ERROR: Final = 1 / (2 * _PARTS)


def bucket_of(ms: int) -> int:
    """The bucket of a span of time; spans below zero, of history told late, count as none."""
    if ms < _PARTS:
        return max(ms, 0)
    power = ms.bit_length() - 1 - _PART_BITS
    return (power << _PART_BITS) + (ms >> power)


def middle_ms(bucket: int) -> int:
    """The middle of a bucket, rounded down."""
    if bucket < 2 * _PARTS:
        return bucket
    power = (bucket >> _PART_BITS) - 1
    least = (bucket - (power << _PART_BITS)) << power
    return least + ((1 << power) - 1) // 2


def quantile_ms(counts: Mapping[int, int], share: float) -> int | None:
    """The time that `share` (0 to 1) of the spans don't exceed; None without any."""
    total = sum(counts.values())
    if not total:
        return None
    wanted = max(1, ceil(share * total))
    seen = 0
    for bucket in sorted(counts):
        seen += counts[bucket]
        if seen >= wanted:
            return middle_ms(bucket)
    raise AssertionError("the counts add up to their total")
