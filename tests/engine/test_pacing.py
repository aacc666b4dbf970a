import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable

import pytest

from orchestrator.engine import pacing
from orchestrator.engine.pacing import aside, paced


@pytest.mark.parametrize(("pace", "turn"), [(paced, pacing.TURN), (aside, pacing.SHORT_TURN)])
async def test_others_get_their_turn_in_between(
    pace: Callable[[Iterable[int]], AsyncIterator[int]], turn: int
) -> None:
    """Every item comes once and in order, and who waits for the loop gets it after each turn."""
    turns = 0

    async def neighbour() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(neighbour())
    got = [n async for n in pace(range(5 * turn + 1))]
    task.cancel()
    assert got == list(range(5 * turn + 1))
    assert turns >= 5


async def test_work_aside_rests_in_proportion(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody waits for leaves the loop alone for three times as long as it took; once somebody waits, it only yields."""
    now, rests = 0.0, []

    def clock() -> float:
        return now

    async def resting(seconds: float) -> None:
        rests.append(seconds)

    monkeypatch.setattr(time, "perf_counter", clock)
    monkeypatch.setattr(asyncio, "sleep", resting)
    async for _ in aside(range(2 * pacing.SHORT_TURN)):
        now += 0.001
    assert rests == [pytest.approx(3 * 0.001 * pacing.SHORT_TURN)] * 2
    rests.clear()
    hurried = iter([False, True])
    async for _ in aside(range(2 * pacing.SHORT_TURN), hurried=lambda: next(hurried)):
        now += 0.001
    assert rests == [pytest.approx(3 * 0.001 * pacing.SHORT_TURN), 0]
