"""Timers that are no ordinary ones: given up, armed again, or due in imported history."""

from datetime import UTC, datetime
from typing import Any

from orchestrator.core.lane_events import DeadLetterDiscarded, DeadLetterRetried
from orchestrator.embedded import Servers
from orchestrator.engine.store import TimerRow
from orchestrator.replay import replay
from orchestrator.settings import Settings
from tests.replay.scenes import caught_up, codes, read_models, verify
from tests.support.lanes import DAY_MS, START_MS, Installation, LaneHarness, Request
from tests.support.toy import TOY


async def rebuilt(dsn: str, servers: Servers) -> None:
    settings = Settings(database_url=dsn, kafka_bootstrap_servers=servers.bootstrap, consumer_group="nobody")
    assert (await replay(settings, verify=False, rebuild=True, kinds=(TOY,))).ok


async def explode(harness: LaneHarness) -> None:
    """A timer that can't be decided becomes a dead letter."""
    await harness.handle(Request("cus", "arm", {"timer": "explode", "delay_ms": 1_000}))
    await harness.fire_timers(harness.now_ms + 2_000)


def timers(harness: LaneHarness) -> list[Any]:
    return harness.databases.main.rows("SELECT timer, due_ms, history FROM lane_000.timers ORDER BY timer")


async def test_a_timer_given_up_is_not_missed(database: str, servers: Servers) -> None:
    """A timer that became a dead letter has no row, is not missed, and no rebuild arms it again."""
    installation = Installation(database)
    try:
        harness = await installation.lane()
        followers = read_models(harness)
        async with harness.following(*followers):
            await explode(harness)
            await caught_up(*followers)
        assert timers(harness) == []
        assert (await verify(database)).differences == []
        await rebuilt(database, servers)
        assert timers(harness) == []
        (letter,) = harness.databases.main.rows("SELECT id FROM lane_000.dead_letters")
        await harness.lane.note([(DeadLetterDiscarded(letter["id"], "a test"), "discard")])
        await rebuilt(database, servers)
        assert (await verify(database)).differences == []
    finally:
        installation.close()


async def test_a_timer_armed_again_is_missed(database: str, servers: Servers) -> None:
    """Once a given-up timer was retried it has a row again, and its loss is found and cured."""
    installation = Installation(database)
    try:
        harness = await installation.lane()
        followers = read_models(harness)
        async with harness.following(*followers):
            await explode(harness)
            await caught_up(*followers)
            (letter,) = harness.databases.main.rows("SELECT id FROM lane_000.dead_letters")
            (row,) = harness.databases.main.rows("SELECT stream_id, stream FROM lane_000.journeys")
            again = TimerRow(row["stream_id"], "explode", 2, START_MS + 2_000, row["stream"])
            harness.feed(
                await harness.lane.note([(DeadLetterRetried(letter["id"]), "retry")], timers=[again])
            )
            await caught_up(*followers)
        assert (await verify(database)).differences == []
        with installation.databases.main.transaction() as cursor:
            cursor.execute("DELETE FROM lane_000.timers")
        assert codes(await verify(database)) == {"timers.missing"}
        await rebuilt(database, servers)
        assert [timer["timer"] for timer in timers(harness)] == ["explode"]
        assert (await verify(database)).differences == []
    finally:
        installation.close()


async def test_timers_of_history_stay_those_of_history(database: str, servers: Servers) -> None:
    """A rebuild knows timers that were due in imported history from live ones, with their rows and without."""
    installation = Installation(database)
    try:
        harness = await installation.lane()
        then = datetime.fromtimestamp((START_MS - 30 * DAY_MS) / 1000, UTC).isoformat().encode()
        imported = (("ce_backfill", b"true"), ("ce_time", then))
        followers = read_models(harness)
        async with harness.following(*followers):
            await harness.handle(
                Request("cus", "arm", {"timer": "live", "delay_ms": DAY_MS}),
                Request("cus", "arm", {"timer": "past", "delay_ms": DAY_MS}, headers=imported),
                Request(
                    "cus", "arm", {"timer": "past-and-future", "delay_ms": 40 * DAY_MS}, headers=imported
                ),
            )
            await caught_up(*followers)
        before = timers(harness)
        assert [(row["timer"], row["history"]) for row in before] == [
            ("live", False), ("past", True), ("past-and-future", False)
        ]  # fmt: skip
        await rebuilt(database, servers)
        assert timers(harness) == before
        with installation.databases.main.transaction() as cursor:
            cursor.execute("DELETE FROM lane_000.timers")
        await rebuilt(database, servers)
        assert timers(harness) == before
    finally:
        installation.close()
