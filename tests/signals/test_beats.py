"""Signs of life: who is absent, and who only wasn't heard yet."""

from hypothesis import given
from hypothesis import strategies as st

from consumers.signals.beats import Beats

ROOM = "acme/r/shoes.main/queue:shoes:main"


def absent(beats: Beats, *names: str, since_ms: int = 0, timeout_ms: int = 100, now_ms: int) -> list[str]:
    return beats.absent(ROOM, names, since_ms=since_ms, timeout_ms=timeout_ms, now_ms=now_ms)


def test_silence_longer_than_the_timeout_is_absence() -> None:
    """Who gave a sign of life within the timeout is there, who didn't is not."""
    beats = Beats()
    beats.hear(ROOM, "anna", 1_000)
    assert absent(beats, "anna", "bert", now_ms=1_099) == ["bert"]
    assert absent(beats, "anna", "bert", now_ms=1_100) == ["anna", "bert"]


def test_nobody_is_absent_before_we_listened_long_enough() -> None:
    """A process that just began to listen takes nobody for absent: a crash of ours is no silence of theirs."""
    beats = Beats()
    assert absent(beats, "anna", since_ms=5_000, now_ms=5_099) == []
    assert absent(beats, "anna", since_ms=5_000, now_ms=5_100) == ["anna"]


def test_a_late_heartbeat_takes_nothing_back() -> None:
    """Heartbeats that overtake each other count by their own time."""
    beats = Beats()
    beats.hear(ROOM, "anna", 1_000)
    beats.hear(ROOM, "anna", 500)
    assert absent(beats, "anna", now_ms=1_099) == []


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 1_000)), max_size=30),
    st.integers(0, 1_500),
    st.integers(1, 300),
)
def test_forgetting_old_heartbeats_changes_nothing(
    heard: list[tuple[str, int]], now_ms: int, timeout_ms: int
) -> None:
    """What is dropped to save memory is what silence says as well."""
    kept, all_of_them = Beats(), Beats()
    for name, at_ms in heard:
        kept.hear(ROOM, name, at_ms)
        all_of_them.hear(ROOM, name, at_ms)
    kept.keep(ROOM, after_ms=now_ms - timeout_ms)
    asked = {"timeout_ms": timeout_ms, "now_ms": now_ms}
    assert absent(kept, *"abc", **asked) == absent(all_of_them, *"abc", **asked)
    assert len(kept) <= len(all_of_them)
