"""When rows of journeys are written, and where the follower's position stands meanwhile."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from orchestrator.core.addresses import Stream, customer
from orchestrator.engine.frame import Frame
from orchestrator.engine.lane import Capture, Committed, Lane
from projections import journeys
from projections.journeys import Journeys
from tests.support.memory import NOW_MS
from tests.support.toy import TOY, State

QUIET_S = 2.0


class Scene:
    """A follower with a clock of its own, what its lane commits, and the rows and positions it wrote."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, dirty_max: int = 10_000) -> None:
        self.now_s = 100.0
        monkeypatch.setattr(journeys, "time", SimpleNamespace(monotonic=lambda: self.now_s))
        self.dirty_max = dirty_max
        self.frames: dict[str, Frame] = {}
        self.changed: dict[str, list[int]] = {}  # positions of changes without a row
        self.head = 0
        self.written: list[str] = []
        self.follower = Journeys(
            cast("Lane", SimpleNamespace(number=0)),
            growth_events=1_000,
            quiet_ms=int(QUIET_S * 1000),
            dirty_max=lambda: self.dirty_max,
        )
        monkeypatch.setattr(self.follower, "_write", self._write)

    def commit(self, *names: str) -> None:
        """One transaction with an event of each of these customers."""
        captures = []
        events = []
        for name in names:
            self.head += 1
            frame = self.frames.setdefault(name, Frame(Stream(customer("acme", name), "toy", "t"), TOY))
            frame.version += 1
            self.changed.setdefault(name, []).append(self.head)
            captures.append(Capture(frame, frame.version, State(), 1, {}, NOW_MS))
            events.append(SimpleNamespace(position=self.head))
        self.follower.feed(Committed(cast("Any", events), captures, ()))

    async def tick(self, passed_s: float = 0.25) -> list[str]:
        """What is written at the next look, after some time."""
        self.now_s += passed_s
        self.written = []
        await self.follower._flush_due()
        return self.written

    async def _write(self, dirty: list[Any], position: int) -> None:
        for one in dirty:
            name = one.capture.frame.stream.owner.id
            self.written.append(name)
            del self.changed[name]
        # Died here, everything behind the position is read again: no change without a row may stand before it.
        assert all(position < at for left in self.changed.values() for at in left), "a change would be lost"
        assert position >= self.follower._position
        self.follower._position = position


async def test_a_row_is_written_once_its_journey_falls_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few changes: after the quiet time, not before."""
    scene = Scene(monkeypatch)
    scene.commit("anna")
    assert await scene.tick() == []
    assert await scene.tick(QUIET_S) == ["anna"]
    await scene.tick()
    assert scene.follower._position == scene.head


async def test_rows_of_a_busy_lane_wait_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large batches come less often than looks: the lane is busy in between, too; a second change costs no second row."""
    scene = Scene(monkeypatch)
    crowd = [f"c{n}" for n in range(journeys._BUSY_CHANGES)]
    scene.commit("anna", *crowd)
    await scene.tick()
    for _ in range(3):  # nothing comes for longer than journeys have to be quiet
        assert await scene.tick(0.6) == []
    scene.commit(*crowd)
    assert await scene.tick(0.6) == []
    assert await scene.tick(QUIET_S * journeys._BUSY_FACTOR) == ["anna", *crowd]


async def test_too_many_journeys_that_wait_are_written_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """What may wait is bounded; the bound is asked for each time, since a worker's lanes share it."""
    scene = Scene(monkeypatch)
    scene.commit("anna", "bob", "cleo")
    scene.commit("anna")
    assert await scene.tick() == []
    scene.dirty_max = 1
    assert await scene.tick() == ["bob", "cleo"]


async def test_the_position_stays_below_what_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows go out in several transactions: whichever is the last one before a crash, no change is passed over."""
    monkeypatch.setattr(journeys, "_FLUSH_ROWS", 2)
    scene = Scene(monkeypatch)
    for names in (("a", "b", "c"), ("b", "d", "e"), ("a", "f"), ("c", "g", "a")):
        scene.commit(*names)
        scene.now_s += 0.1
    assert sorted(await scene.tick(QUIET_S - 0.15)) == ["b", "d", "e", "f"]
    scene.commit("b")
    assert sorted(await scene.tick(QUIET_S * 2)) == ["a", "b", "c", "g"]
    await scene.tick()
    assert scene.follower._position == scene.head
