import time
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaConsumer

from consumers.commands import lane_runner
from consumers.commands.lane_runner import LaneRunner
from consumers.commands.rounds import Rounds
from orchestrator.engine.database import DataError
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
        self.beside: list[int] = []  # timers that might go along with commands
        self.refused = 0  # how many batches storage refuses
        self.offsets = {TOPIC: -1}
        self.store = SimpleNamespace(move=lambda _moves: None)

    async def open(self) -> None:
        return

    async def run(self, call: Any, *args: Any) -> Any:
        return call(*args)

    async def handle(self, _topic: str, records: list[Any], *, timers: int, **_other: Any) -> Committed:
        self.beside.append(timers)
        if self.refused:
            self.refused -= 1
            raise DataError("a value")
        self.position += len(records) + timers
        return Committed((), (), ())

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


@pytest.fixture(autouse=True)
def _not_caught_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lane time is all that counts here."""

    async def caught_up(_: Any) -> bool:
        return False

    monkeypatch.setattr(LaneRunner, "_caught_up", caught_up)


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
    await runner._fire_timers()
    few = lane_runner._TIMERS_BESIDE
    assert lane.fired == [few]
    assert few < TIMER_BATCH
    await runner._fire_timers()
    assert lane.fired == [few]
    publisher.told = lane.position
    await runner._fire_timers()
    assert lane.fired == [few, few]


def _records(count: int) -> list[Any]:
    return [SimpleNamespace(offset=n) for n in range(count)]


async def test_timers_go_along_with_commands_where_they_may() -> None:
    """A few go along, none while outcomes of the last are told; they fire once in a round."""
    lane = DueLane()
    publisher = Publisher(lane)
    runner = _runner(lane, publisher)
    runner._suspects._proven.add(TOPIC)
    await runner._handle(TOPIC, _records(1))
    await runner._handle(TOPIC, _records(1))
    publisher.told = lane.position
    await runner._handle(TOPIC, _records(1))
    few = lane_runner._TIMERS_BESIDE
    assert lane.beside == [few, 0, few]


async def test_messages_are_not_accused_of_what_a_timer_did() -> None:
    """Where messages are tried alone, because storage refused a batch or a worker was lost, no timer goes along."""
    lane = DueLane()
    runner = _runner(lane, Publisher(lane))
    runner._suspects._proven.add(TOPIC)
    lane.refused = 2
    await runner._handle(TOPIC, _records(2))
    assert lane.beside == [lane_runner._TIMERS_BESIDE, 0, 0, 0]
    runner._suspects._careful[TOPIC] = 2
    runner._suspects._at = 0
    lane.beside.clear()
    await runner._handle(TOPIC, _records(1))
    assert lane.beside == [0]


async def test_commands_that_never_end_starve_no_timer() -> None:
    """Outcomes of commands still to be told don't hold timers back: they would wait as long as commands come."""
    lane = DueLane()
    publisher = Publisher(lane)
    runner = _runner(lane, publisher)
    runner._commanded_s = time.monotonic() + 3_600
    for n in range(1, 4):
        publisher.told = lane.position
        lane.position += 500  # commands, fed to the publisher a moment ago
        await runner._fire_timers()
        assert len(lane.fired) == n


async def test_without_commands_timers_wait_for_nobody() -> None:
    """When no commands come, timers fire in whole batches, told or not."""
    lane = DueLane()
    runner = _runner(lane, Publisher(lane))

    for _ in range(3):
        await runner._fire_timers()
    assert lane.fired == [TIMER_BATCH] * 3
