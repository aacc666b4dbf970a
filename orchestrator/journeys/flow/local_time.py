"""Local times of day as UTC instants (ms). Where clocks jump, a skipped time moves on by the jump, and a repeated
one counts once, the first time.
"""

import re
from collections.abc import Collection
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo

from msgspec import Struct

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
INSTANT_MAX_MS: Final = 221_845_392_000_000  # the year 9000: room for every offset and delay
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


class Quiet(Struct, frozen=True):
    """Hours of the day in which nothing is sent, from one minute of the day to before another."""

    start_minute: int
    end_minute: int

    def holds(self, minute: int) -> bool:
        """Whether it is quiet at a minute of the day."""
        if self.start_minute < self.end_minute:
            return self.start_minute <= minute < self.end_minute
        return minute >= self.start_minute or minute < self.end_minute


def minute_of(text: str) -> int:
    """The minute of the day of `HH:MM`. Raises ValueError."""
    match = _CLOCK.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no time of day: write it from 00:00 to 23:59")
    return int(match[1]) * 60 + int(match[2])


def zone_named(name: str) -> tzinfo | None:
    """The time zone, such as Europe/Berlin; None for a name nobody knows."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # an unknown name, a path, a directory of zones
        return None


def instant_ms(value: Any, zone: tzinfo) -> int | None:
    """An instant written as ms since 1970 or as ISO 8601, without an offset in `zone`; None if it is neither."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int):
        found = value
    elif isinstance(value, str):
        try:
            read = datetime.fromisoformat(value)
            found = _ms(read if read.tzinfo is not None else read.replace(tzinfo=zone))
        except (ValueError, OverflowError):
            return None
    else:
        return None
    return found if 0 <= found <= INSTANT_MAX_MS else None


def next_local_ms(after_ms: int, minute: int, weekdays: Collection[int], zone: tzinfo) -> int:
    """The next time the clock shows `minute` on one of the weekdays (0 is Monday), strictly after `after_ms`."""
    today = datetime.fromtimestamp(after_ms / 1000, zone).replace(tzinfo=None)
    midnight = today.replace(hour=0, minute=0, second=0, microsecond=0)
    for ahead in range(9):
        day = midnight + timedelta(days=ahead)
        found = _local_ms(day, minute, zone)
        if found > after_ms and day.weekday() in weekdays:
            return found
    raise AssertionError("a week has every weekday")


def loud_ms(at_ms: int, quiet: Quiet, zone: tzinfo) -> int:
    """`at_ms`, or when the quiet hours end if it lies in them."""
    local = datetime.fromtimestamp(at_ms / 1000, zone)
    if not quiet.holds(local.hour * 60 + local.minute):
        return at_ms
    midnight = local.replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)
    for ahead in range(3):
        for fold in (0, 1):  # in autumn the end may come twice, and be past once
            found = _local_ms(midnight + timedelta(days=ahead), quiet.end_minute, zone, fold)
            if found > at_ms:
                return found
    raise AssertionError("quiet hours end within a day")


def _local_ms(midnight: datetime, minute: int, zone: tzinfo, fold: int = 0) -> int:
    return _ms((midnight + timedelta(minutes=minute)).replace(tzinfo=zone, fold=fold))


def _ms(moment: datetime) -> int:
    return (moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
