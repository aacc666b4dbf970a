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


async def test_timers_that_go_along_with_commands_fire_behind_them(database: str) -> None:
    """Commands are decided before timers of the same transaction: what one cancels or arms anew is not fired."""
    installation = Installation(database)
    try:
        harness = await installation.lane()
        for n in range(4):
            await harness.handle(Request(f"cus-{n}", "arm", {"timer": "t", "delay_ms": 1_000 + n}))
        due_ms = harness.now_ms + 10_000
        await harness.lane.find_next_due()
        committed = await harness.handle(
            Request("cus-0", "disarm", {"timer": "t"}, at_ms=due_ms),
            Request("cus-1", "arm", {"timer": "t", "delay_ms": 60_000}, at_ms=due_ms),
            timers=3,
        )
        by_command = [e.envelope.stream for e in committed.events if e.envelope.source != "engine/timers"]
        fired = [e.envelope.stream for e in committed.events if e.envelope.source == "engine/timers"]
        assert {text.split("/")[2] for text in by_command} == {"cus-0", "cus-1"}
        assert {text.split("/")[2] for text in fired} == {"cus-2"}
        assert [e.envelope.stream for e in committed.events][: len(by_command)] == by_command
        assert sorted(row["due_ms"] - due_ms for row in timers(harness))[1:] == [60_000]
        await harness.lane.find_next_due()
        before = await harness.handle(Request("cus-9", "arm", {"timer": "u", "delay_ms": 1}, at_ms=due_ms))
        assert {e.envelope.source for e in before.events}.isdisjoint({"engine/timers"})
    finally:
        installation.close()


async def test_timers_read_earlier_are_asked_whether_they_still_are_due(database: str) -> None:
    """Due timers are read once and fired a few at a time; one cancelled or armed anew in between is not fired."""
    installation = Installation(database)
    try:
        harness = await installation.lane()
        for n in range(4):
            await harness.handle(Request(f"cus-{n}", "arm", {"timer": "t", "delay_ms": 1_000 + n}))
        due_ms = harness.now_ms + 10_000
        fired = await harness.lane.fire_timers(due_ms, 1)
        assert fired is not None
        assert [e.envelope.stream for e in fired.events][:1] == ["acme/c/cus-0/toy:t"]
        await harness.lane.find_next_due()
        assert (harness.lane.next_due_ms or due_ms + 1) <= due_ms
        await harness.handle(Request("cus-1", "disarm", {"timer": "t"}, at_ms=due_ms))
        await harness.handle(Request("cus-2", "arm", {"timer": "t", "delay_ms": 60_000}, at_ms=due_ms))
        for _ in range(3):
            await harness.lane.fire_timers(due_ms, 1)
        await harness.lane.find_next_due()
        assert [(row["timer"], row["due_ms"]) for row in timers(harness)] == [("t", due_ms + 60_000)]
        assert harness.lane.next_due_ms == due_ms + 60_000
        told = harness.databases.main.rows(
            "SELECT convert_from(state, 'UTF8')::jsonb ->> 'stream' AS stream FROM lane_000.stored_events"
            " WHERE convert_from(state, 'UTF8')::jsonb ->> 'source' = 'engine/timers'"
        )
        assert {row["stream"].split("/")[2] for row in told} == {"cus-0", "cus-3"}
    finally:
        installation.close()


async def test_timers_of_history_wait_again_when_more_of_it_comes(database: str) -> None:
    """Timers of imported history that were read already aren't fired once more of that history is imported."""
    installation = Installation(database)
    try:
        harness = await installation.lane()
        then = datetime.fromtimestamp((START_MS - DAY_MS) / 1000, UTC).isoformat().encode()
        imported = (("ce_backfill", b"true"), ("ce_time", then))
        for n in range(2):
            arm = {"timer": "t", "delay_ms": 1_000}
            await harness.handle(Request(f"cus-{n}", "arm", arm, headers=imported))
        later_ms = harness.now_ms + 60_000
        assert await harness.lane.fire_timers(later_ms, 1) is not None
        await harness.handle(Request("cus-9", "add", {"n": 1}, at_ms=later_ms, headers=imported))
        assert await harness.lane.fire_timers(later_ms + 1_000, 1) is None
        assert await harness.lane.fire_timers(later_ms + 60_000, 1) is not None
    finally:
        installation.close()
