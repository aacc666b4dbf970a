"""Local times of day, over both changes of the clocks."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.journeys.flow.local_time import (
    INSTANT_MAX_MS,
    Quiet,
    instant_ms,
    loud_ms,
    minute_of,
    next_local_ms,
    zone_named,
)

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC")
EVERY_DAY = range(7)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def shown(ms: int, zone: str = "Europe/Berlin") -> str:
    return datetime.fromtimestamp(ms / 1000, ZoneInfo(zone)).strftime("%a %d %b %H:%M %z")


def test_the_next_time_of_day_is_today_or_tomorrow() -> None:
    """Before nine it is today's nine, at nine and after it is tomorrow's."""
    assert (
        shown(next_local_ms(at("2026-01-05T08:59+01:00"), 540, EVERY_DAY, BERLIN)) == "Mon 05 Jan 09:00 +0100"
    )
    assert (
        shown(next_local_ms(at("2026-01-05T09:00+01:00"), 540, EVERY_DAY, BERLIN)) == "Tue 06 Jan 09:00 +0100"
    )


def test_weekdays_are_those_of_the_place() -> None:
    """Late on Sunday in UTC it is Monday in Berlin."""
    late = at("2026-01-04T23:30+00:00")
    assert shown(next_local_ms(late, 60, {0}, BERLIN)) == "Mon 05 Jan 01:00 +0100"
    assert shown(next_local_ms(late, 29, {0}, BERLIN)) == "Mon 12 Jan 00:29 +0100"


def test_a_time_the_spring_skips_comes_an_hour_later_by_the_clock() -> None:
    """On 29 March 2026 there is no 02:30 in Berlin: it is 03:30, and 09:00 stays 09:00."""
    night = at("2026-03-28T12:00+01:00")
    assert shown(next_local_ms(night, 150, EVERY_DAY, BERLIN)) == "Sun 29 Mar 03:30 +0200"
    assert shown(next_local_ms(night, 540, {6}, BERLIN)) == "Sun 29 Mar 09:00 +0200"


def test_a_time_the_autumn_repeats_counts_once() -> None:
    """On 25 October 2026 there are two 02:30 in Berlin: the first counts, then the next day's."""
    first = next_local_ms(at("2026-10-24T12:00+02:00"), 150, EVERY_DAY, BERLIN)
    assert shown(first) == "Sun 25 Oct 02:30 +0200"
    assert shown(next_local_ms(first, 150, EVERY_DAY, BERLIN)) == "Mon 26 Oct 02:30 +0100"


@pytest.mark.parametrize(
    ("now", "end"),
    [
        ("2026-01-05T20:59+01:00", "Mon 05 Jan 20:59 +0100"),
        ("2026-01-05T21:00+01:00", "Tue 06 Jan 08:00 +0100"),
        ("2026-01-06T07:59+01:00", "Tue 06 Jan 08:00 +0100"),
        ("2026-01-06T08:00+01:00", "Tue 06 Jan 08:00 +0100"),
        ("2026-03-28T22:00+01:00", "Sun 29 Mar 08:00 +0200"),
        ("2026-10-24T22:00+02:00", "Sun 25 Oct 08:00 +0100"),
    ],
)
def test_quiet_hours_end_in_the_morning_of_the_place(now: str, end: str) -> None:
    """A night is quiet until eight by the clock, be it an hour longer or shorter."""
    assert shown(loud_ms(at(now), Quiet(21 * 60, 8 * 60), BERLIN)) == end


def test_an_end_that_comes_twice_is_waited_for_twice() -> None:
    """Quiet until 02:30 in the night of two: also in the second hour it is the next 02:30."""
    quiet = Quiet(120, 150)
    second = at("2026-10-25T02:10+01:00")
    assert shown(loud_ms(second, quiet, BERLIN)) == "Sun 25 Oct 02:30 +0100"


@given(
    st.integers(0, 4_000_000_000_000),
    st.integers(0, 1439),
    st.integers(0, 1439),
    st.sampled_from(ZONES),
)
def test_after_quiet_hours_it_is_not_quiet(now_ms: int, start: int, end: int, zone: str) -> None:
    """The instant given is never before now, never quiet unless the clocks skip into it, and within 26 hours."""
    if start == end:
        return
    quiet, place = Quiet(start, end), ZoneInfo(zone)
    found = loud_ms(now_ms, quiet, place)
    assert now_ms <= found <= now_ms + 26 * 3_600_000
    local = datetime.fromtimestamp(found / 1000, place)
    if (
        local.astimezone(UTC).astimezone(place).utcoffset()
        == datetime.fromtimestamp(now_ms / 1000, place).utcoffset()
    ):
        assert not quiet.holds(local.hour * 60 + local.minute)


@given(
    st.integers(0, 4_000_000_000_000),
    st.integers(0, 1439),
    st.sets(st.integers(0, 6), min_size=1),
    st.sampled_from(ZONES),
)
def test_the_next_time_of_day_is_after_now_within_a_week_and_a_day(
    now_ms: int, minute: int, weekdays: set[int], zone: str
) -> None:
    """It is always later than now, on one of the weekdays, and shows the minute unless that is skipped."""
    found = next_local_ms(now_ms, minute, weekdays, ZoneInfo(zone))
    assert now_ms < found <= now_ms + 8 * 86_400_000 + 3_600_000
    local = datetime.fromtimestamp(found / 1000, ZoneInfo(zone))
    assert (
        local.weekday() in weekdays or local.hour < 4
    )  # a skipped midnight is the day before's last minutes
    if local.hour * 60 + local.minute != minute:
        naive = local.replace(hour=minute // 60, minute=minute % 60, tzinfo=None)
        there = naive.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC).astimezone(ZoneInfo(zone))
        assert there.replace(tzinfo=None) != naive, "only a time that doesn't exist may be shown as another"


@pytest.mark.parametrize(
    ("value", "ms"),
    [
        ("2026-12-24T08:00:00Z", 1_798_099_200_000),
        ("2026-12-24T09:00", 1_798_099_200_000),
        ("2026-12-24", 1_798_066_800_000),
        (1_798_099_200_000, 1_798_099_200_000),
        (1_798_099_200_000.0, 1_798_099_200_000),
    ],
)
def test_instants_are_read_as_written(value: object, ms: int) -> None:
    """With an offset as it says, without one in the zone, and numbers as ms."""
    assert instant_ms(value, BERLIN) == ms


@pytest.mark.parametrize("value", ["tomorrow", "", None, True, 1.5, -1, INSTANT_MAX_MS + 1, [], "9999-12-31"])
def test_what_is_no_instant_is_none(value: object) -> None:
    """Nothing is guessed, and nothing lies beyond what a timer can hold."""
    assert instant_ms(value, BERLIN) is None


@pytest.mark.parametrize("name", ["", "Europe", "Nowhere/City", "../etc/passwd", "/etc/localtime", "a\x00b"])
def test_names_nobody_knows_are_no_zones(name: str) -> None:
    """A name from a customer's record can't fail a decision."""
    assert zone_named(name) is None


def test_minutes_of_the_day() -> None:
    """HH:MM, and nothing else."""
    assert (minute_of("00:00"), minute_of("23:59")) == (0, 1439)
    with pytest.raises(ValueError, match="00:00 to 23:59"):
        minute_of("24:00")
