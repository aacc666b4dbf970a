import asyncio
from types import SimpleNamespace
from typing import cast

import pytest

from orchestrator.core.events import CommandIgnored, EffectRequested, Event
from orchestrator.engine import pacing
from orchestrator.engine.envelope import Envelope, Recorded
from orchestrator.engine.lane import Committed, Lane
from projections import exactly_once
from projections.exactly_once import ExactlyOnce
from tests.support.memory import NOW_MS, STREAM

EFFECT = EffectRequested("e-1", "greet", "webhook", {})
TOPICS = {"effects": "journeys.effects", "commands": "journeys.commands", "snapshots": "journeys.snapshots"}


class Scene:
    """A follower and what its lane commits."""

    def __init__(self, number: int = 1) -> None:
        self.lane = SimpleNamespace(number=number, lanes=8, position=0, secret=b"")
        self.follower = ExactlyOnce(cast("Lane", self.lane), {}, TOPICS)

    def commit(self, *events: Event) -> None:
        first = self.lane.position + 1
        made = [
            Recorded(n, STREAM.id, n, "x", Envelope(STREAM.text, "tests", "k", "", NOW_MS, event), b"")
            for n, event in enumerate(events, first)
        ]
        self.lane.position += len(made)
        self.follower.feed(Committed(made, (), ()))

    async def gathered(self) -> int:
        """The last position that the next transaction takes; -1: it still waits after a moment."""
        try:
            async with asyncio.timeout(0.3):
                return (await self.follower._gather())[-1].last
        except TimeoutError:
            return -1


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(exactly_once, "_LINGER_S", 0.05)
    monkeypatch.setattr(exactly_once, "_TURNS_S", 3_600.0)
    _set_clock(monkeypatch, 460.0)  # the turn of lane 1 of 8 was at 450
    return Scene()


def _set_clock(monkeypatch: pytest.MonkeyPatch, now_s: float) -> None:
    """The follower's alone: the event loop goes by the real one."""
    monkeypatch.setattr(exactly_once, "time", SimpleNamespace(monotonic=lambda: now_s))


def _quiet() -> Event:
    return CommandIgnored("no_consequence")


async def test_snapshots_of_a_quiet_lane_wait_for_a_moment(scene: Scene) -> None:
    """What few commands changed is sent after the first wait."""
    scene.commit(_quiet())
    assert await scene.gathered() == 1


async def test_snapshots_of_a_busy_lane_wait_for_longer(scene: Scene) -> None:
    """Where much comes, a transaction takes more of it."""
    scene.commit(*(_quiet() for _ in range(exactly_once._BUSY_EVENTS)))
    assert await scene.gathered() == -1


async def test_busy_lanes_go_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each busy lane has an instant of its own: their transactions don't fall together."""
    monkeypatch.setattr(exactly_once, "_TURNS_S", 8.0)
    _set_clock(monkeypatch, 1_604.5)
    turns = [Scene(number).follower._until_turn_s() for number in range(8)]
    assert turns == [3.5, 4.5, 5.5, 6.5, 7.5, 0.5, 1.5, 2.5]


async def test_an_effect_waits_for_no_snapshot(scene: Scene) -> None:
    """An effect is sent at once, also one asked for while snapshots wait, with all that came before it."""
    scene.commit(EFFECT)
    assert await scene.gathered() == 1
    scene = Scene()
    scene.commit(*(_quiet() for _ in range(exactly_once._BUSY_EVENTS)))
    gathering = asyncio.create_task(scene.gathered())
    await asyncio.sleep(0.1)
    scene.commit(_quiet(), EFFECT)
    assert await gathering == exactly_once._BUSY_EVENTS + 2


async def test_a_transaction_has_a_size(scene: Scene) -> None:
    """However busy a lane is, what waits is sent once it is a transaction's worth."""
    scene.commit(*(_quiet() for _ in range(exactly_once._BUSY_EVENTS)))
    gathering = asyncio.create_task(scene.gathered())
    await asyncio.sleep(0.1)
    scene.commit(*(_quiet() for _ in range(exactly_once._EVENTS_PER_TRANSACTION)))
    assert await gathering > exactly_once._BUSY_EVENTS


async def test_an_effect_ends_the_rests_of_what_it_goes_with(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Snapshots that share a transaction with an effect are made and sent without rests."""
    monkeypatch.setattr(pacing, "_REST", 1e9)
    scene.commit(EFFECT)
    async with asyncio.timeout(5):
        assert [n async for n in scene.follower._pace(range(500))] == list(range(500))
