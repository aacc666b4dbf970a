"""A lane with a bit of everything in its log, all read models caught up."""

import asyncio
from typing import Any

from orchestrator.core.lane_events import DeadLetterDiscarded, DeadLetterRetried
from orchestrator.replay import Report, replay
from orchestrator.settings import Settings
from projections.dead_letters import DeadLetters
from projections.journeys import Journeys
from tests.support.lanes import Installation, LaneHarness, Request, until
from tests.support.toy import TOY

COUNTING, TIMING, PRIVATE, QUIET, BRIEF = "counting", "timing", "private", "quiet", "brief"


def read_models(
    harness: LaneHarness, *, growth_events: int = 32, quiet_ms: int = 20
) -> tuple[Journeys, DeadLetters]:
    """The followers that keep the tables which a replay compares."""
    journeys = Journeys(
        harness.lane, growth_events=growth_events, quiet_ms=quiet_ms, dirty_max=lambda: 50_000
    )
    return journeys, DeadLetters(harness.lane)


async def caught_up(*followers: Any) -> None:
    await until(lambda: all(f.lag_events == 0 for f in followers), "the read models have everything")


async def eventful(harness: LaneHarness) -> None:
    """Commands of every kind: counted, refused, repeated, broken, timed, private, asking for effects."""
    followers = read_models(harness)
    async with harness.following(*followers):
        await _counting(harness)
        await caught_up(*followers)
        await harness.handle(Request(BRIEF, "add", {"n": 1}))
        await _counting(harness, again=True)  # rows now have a second chunk of keys
        await _timing(harness)
        await _letters(harness)
        await caught_up(*followers)
    await harness.handle(Request(COUNTING, "add", {"n": 7}))  # no row has this: snapshots have a tail


async def _counting(harness: LaneHarness, *, again: bool = False) -> None:
    for n in range(12):
        await harness.handle(
            Request(COUNTING, "add", {"n": n}),
            Request(COUNTING, "add", {"n": n}, id=f"twice-{again}"),
            Request(COUNTING, "add", {"n": -1}),
            Request(PRIVATE, "add", {"n": n, "private": {"mail": f"canary-{n}"}}),
            Request(f"many-{n}", "add", {"n": n}),
        )
    await harness.handle(Request(QUIET, "add", {"n": 1}), Request(PRIVATE, "ask"))


async def _timing(harness: LaneHarness) -> None:
    day_ms = 86_400_000
    await harness.handle(
        Request(TIMING, "arm", {"timer": "soon", "delay_ms": 1_000}),
        Request(TIMING, "arm", {"timer": "later", "delay_ms": day_ms}),
        Request(TIMING, "arm", {"timer": "dropped", "delay_ms": day_ms}),
        Request(TIMING, "disarm", {"timer": "dropped"}),
        Request(QUIET, "arm", {"timer": "later", "delay_ms": 3 * day_ms}),
    )
    await harness.fire_timers(harness.now_ms + 5_000)


async def _letters(harness: LaneHarness) -> None:
    broken = [Request(QUIET, "add", value=b'{"n": ', id=f"broken-{n}") for n in range(4)]
    await harness.handle(*broken)
    made = harness.databases.main.rows("SELECT id FROM lane_000.dead_letters ORDER BY version")
    for _ in range(500):  # the read model follows the log
        if len(made) == len(broken):
            break
        await asyncio.sleep(0.02)
        made = harness.databases.main.rows("SELECT id FROM lane_000.dead_letters ORDER BY version")
    first, second = made[0]["id"], made[1]["id"]
    harness.feed(await harness.lane.note([(DeadLetterRetried(first), "one")]))
    harness.feed(await harness.lane.note([(DeadLetterDiscarded(second, "a test"), "two")]))


async def make_history(dsn: str) -> None:
    """One lane's history in an empty database."""
    installation = Installation(dsn)
    try:
        await eventful(await installation.lane())
    finally:
        installation.close()


async def verify(dsn: str, **options: Any) -> Report:
    """A verifying replay of a toy installation."""
    return await replay(Settings(database_url=dsn), **{"verify": True, "kinds": (TOY,), **options})


def codes(report: Report) -> set[str]:
    """What kinds of differences there are."""
    return {difference.code for difference in report.differences}
