import time
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaConsumer

from consumers.commands import lane_runner
from consumers.commands.lane_runner import LaneRunner
from consumers.commands.rounds import Rounds
from orchestrator.engine.follower import Follower
from orchestrator.engine.lane import TIMER_BATCH, Committed, Lane

TOPIC = "journeys.commands"


class DueLane:
    """A lane whose timers never end."""

    def __init__(self) -> None:
        self.number = 0
        self.position = 1_000
        self.next_due_ms = 1
        self.log = SimpleNamespace(lane_ms=10)
        self.fired: list[int] = []

    async def fire_timers(self, now_ms: int, limit: int) -> Committed:
        self.fired.append(limit)
        self.position += limit
        return Committed((), (), ())

    async def find_next_due(self) -> None:
        return


class Publisher:
    """Tells outcomes, when the test says so."""

    name, tells = "publisher", True

    def __init__(self, lane: DueLane) -> None:
        self._lane = lane
        self.told = lane.position

    @property
    def lag_events(self) -> int:
        return self._lane.position - self.told

    def feed(self, committed: Committed) -> None:
        return


class Idle(Publisher):
    """Behind for good, and nobody waits for it."""

    name, tells = "sink", False


def _runner(lane: DueLane, *followers: Publisher) -> LaneRunner:
    runner = LaneRunner(
        cast("Lane", lane), cast("AIOKafkaConsumer", None), cast("Rounds", None), topics={TOPIC: False},
        followers=lambda _: (), batch_commands=10,
    )  # fmt: skip
    runner._followers = cast("tuple[Follower, ...]", followers)
    return runner


async def test_timers_wait_for_the_outcomes_of_the_last_ones() -> None:
    """While commands flow, timers fire a few at a time, and the next ones only when the last ones' outcomes are told."""
    lane = DueLane()
    publisher, sink = Publisher(lane), Idle(lane)
    sink.told = 0
    runner = _runner(lane, publisher, sink)
    runner._commanded_s = time.monotonic() + 3_600
    await runner._fire_timers(idle=False)
    few = lane_runner._TIMERS_BESIDE
    assert lane.fired == [few]
    assert few < TIMER_BATCH
    await runner._fire_timers(idle=False)
    assert lane.fired == [few]
    publisher.told = lane.position
    await runner._fire_timers(idle=False)
    assert lane.fired == [few, few]


async def test_commands_that_never_end_starve_no_timer() -> None:
    """Outcomes of commands still to be told don't hold timers back: they would wait as long as commands come."""
    lane = DueLane()
    publisher = Publisher(lane)
    runner = _runner(lane, publisher)
    runner._commanded_s = time.monotonic() + 3_600
    for n in range(1, 4):
        publisher.told = lane.position
        lane.position += 500  # commands, fed to the publisher a moment ago
        await runner._fire_timers(idle=False)
        assert len(lane.fired) == n


async def test_without_commands_timers_wait_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """When no commands come, timers fire in whole batches, told or not."""
    lane = DueLane()
    runner = _runner(lane, Publisher(lane))

    async def caught_up(_: Any) -> bool:
        return False

    monkeypatch.setattr(LaneRunner, "_caught_up", caught_up)
    for _ in range(3):
        await runner._fire_timers(idle=True)
    assert lane.fired == [TIMER_BATCH] * 3
