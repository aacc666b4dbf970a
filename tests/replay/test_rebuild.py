import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from orchestrator import kafka_topics
from orchestrator.core.errors import ConfigurationError, Fenced
from orchestrator.core.lane_events import LanePaused
from orchestrator.embedded import Servers
from orchestrator.replay import Report, replay
from orchestrator.replay.guard import Owned
from orchestrator.replay.reading import LaneSnapshot
from orchestrator.replay.rebuilding import Rebuilding
from orchestrator.settings import Settings
from tests.replay.scenes import COUNTING, QUIET, codes, read_models, verify
from tests.support.lanes import Installation, Request, until
from tests.support.toy import TOY

NOWHERE = "127.0.0.1:1"  # nobody listens


async def rebuild(dsn: str, bootstrap: str, group: str = "nobody-is-in-it", **options: Any) -> Report:
    settings = Settings(database_url=dsn, kafka_bootstrap_servers=bootstrap, consumer_group=group)
    return await replay(settings, verify=False, rebuild=True, kinds=(TOY,), **options)


def spoil(dsn: str) -> None:
    with psycopg.connect(dsn, options="-c search_path=lane_000") as connection:
        connection.execute("UPDATE journeys SET label = 'WRONG', version = version - 1")
        connection.execute("DELETE FROM stream_keys WHERE first_version = 1")
        connection.execute("DELETE FROM timers")
        connection.execute("UPDATE dead_letters SET status = 'open', reason = 'other'")
        connection.execute("UPDATE positions SET at = 3 WHERE name = 'out:journeys'")


def tables(dsn: str) -> list[Any]:
    with psycopg.connect(dsn, options="-c search_path=lane_000") as connection:
        names = ("positions", "journeys", "stream_keys", "timers", "dead_letters")
        return [connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall() for name in names]  # type: ignore[call-overload]


@contextlib.asynccontextmanager
async def a_worker(servers: Servers, group: str, topic: str) -> AsyncIterator[None]:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=servers.bootstrap, group_id=group)
    await consumer.start()
    try:
        yield
    finally:
        await consumer.stop()


async def test_rebuilt_read_models_are_what_the_log_says(copied: str, servers: Servers) -> None:
    """Whatever the read models held, after a rebuild a verification finds no difference."""
    spoil(copied)
    assert not (await verify(copied)).ok
    report = await rebuild(copied, servers.bootstrap)
    assert (report.ok, report.mode) == (True, "rebuild")
    assert report.rows_written == 17 + 17 + 2 + 4
    after = await verify(copied)
    assert after.differences == []
    assert after.journeys_compared == 17


async def test_rebuilding_sound_read_models_changes_what_they_say_in_nothing(
    copied: str, servers: Servers
) -> None:
    """Labels, versions, timers and dead letters of sound tables come out of a rebuild as they were."""
    queries = (
        "SELECT stream, kind, definition, definition_version, label, fold_version FROM journeys ORDER BY 1",
        "SELECT stream_id, timer, armed_at, due_ms, stream FROM timers ORDER BY 1, 2",
        "SELECT * FROM dead_letters ORDER BY 1",
    )

    def read() -> list[Any]:
        with psycopg.connect(copied, options="-c search_path=lane_000") as connection:
            return [connection.execute(query).fetchall() for query in queries]

    before = read()
    await rebuild(copied, servers.bootstrap)
    assert read() == before


async def test_a_rebuilt_lane_goes_on(copied: str, servers: Servers) -> None:
    """After a rebuild the next owner knows every key, fires the timers, and its followers go on."""
    spoil(copied)
    await rebuild(copied, servers.bootstrap)
    installation = Installation(copied)
    try:
        harness = await installation.lane()
        followers = read_models(harness)
        async with harness.following(*followers):
            committed = await harness.handle(Request(COUNTING, "add", {"n": 0}, id="twice-False"))
            assert [event.name for event in committed.events] == ["lane.batch_noted.v1"]
            await harness.fire_timers(harness.now_ms + 10 * 86_400_000)
            await until(lambda: all(f.lag_events == 0 for f in followers), "the read models follow")
        assert harness.lane.next_due_ms is None
    finally:
        installation.close()
    assert (await verify(copied)).differences == []


async def test_a_damaged_log_is_not_built_upon(copied: str, servers: Servers) -> None:
    """When the log itself has gaps, the differences are told and the read models stay as they are."""
    with psycopg.connect(copied) as connection:
        connection.execute("DELETE FROM lane_000.stored_events WHERE notification_id = 2")
    before = tables(copied)
    report = await rebuild(copied, servers.bootstrap)
    assert not report.ok
    assert codes(report) == {"log.position_gap", "log.version_gap"}
    assert all("backup" in difference.cure for difference in report.differences)
    assert report.rows_written == 0
    assert tables(copied) == before


async def test_a_lane_with_workers_is_not_rebuilt(
    copied: str, servers: Servers, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a worker may decide in the lane a rebuild is refused, saying how to hold it; a paused lane is rebuilt."""
    settings = Settings(kafka_bootstrap_servers=servers.bootstrap, topic_prefix=topic_prefix, lanes=1)
    await kafka_topics.create(settings, 1)
    spoil(copied)
    before = tables(copied)
    async with a_worker(servers, f"{topic_prefix}group", settings.topic("commands")):
        with pytest.raises(Owned, match="orchestrator lanes pause 0"):
            await rebuild(copied, servers.bootstrap, f"{topic_prefix}group")
        assert tables(copied) == before
        await pause(copied)
        report = await rebuild(copied, servers.bootstrap, f"{topic_prefix}group")
    assert report.ok


async def test_without_kafka_nobody_knows_who_owns_a_lane(copied: str) -> None:
    """When Kafka can't say whether workers are there, only a paused lane is rebuilt."""
    with pytest.raises(Owned, match="can't tell"):
        await rebuild(copied, NOWHERE)
    await pause(copied)
    assert (await rebuild(copied, NOWHERE)).ok


async def pause(dsn: str) -> None:
    installation = Installation(dsn)
    try:
        lane = (await installation.lane()).lane
        paused = type(lane.log)(lane.log.lane_ms, lane.log.lane_version, paused=True)
        await lane.note([(LanePaused("a test"), "pause")], log=paused)
    finally:
        installation.close()


async def test_an_owner_that_was_overlooked_is_fenced(copied: str, servers: Servers) -> None:
    """A follower that was alive all along can't write on over a rebuilt read model."""
    installation = Installation(copied)
    try:
        harness = await installation.lane()
        journeys, _ = read_models(harness, quiet_ms=3_600_000)
        running = asyncio.create_task(journeys.run())
        harness.followers.append(journeys)
        await until(lambda: journeys.lag_events == 0, "the follower is up")
        await harness.handle(Request(QUIET, "add", {"n": 1}))
        report = await rebuild(copied, servers.bootstrap)
        assert report.ok
        journeys._quiet_s = 0.0
        with pytest.raises(Fenced):
            await asyncio.wait_for(running, 30)
    finally:
        installation.close()
    assert (await verify(copied)).ok


async def test_a_cancelled_rebuild_changes_nothing(
    copied: str, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted in the middle, a rebuild leaves every table as it was."""
    spoil(copied)
    before = tables(copied)
    loop, interrupted, empty = asyncio.get_running_loop(), threading.Event(), Rebuilding.empty

    def interrupt() -> None:
        running.cancel()
        loop.call_soon(lambda: loop.call_soon(interrupted.set))

    def empty_and_wait(rebuilding: Rebuilding, snapshot: LaneSnapshot) -> None:
        empty(rebuilding, snapshot)
        loop.call_soon_threadsafe(interrupt)
        assert interrupted.wait(30)

    monkeypatch.setattr(Rebuilding, "empty", empty_and_wait)
    running = asyncio.create_task(rebuild(copied, servers.bootstrap))
    with pytest.raises(asyncio.CancelledError):
        await running
    assert tables(copied) == before


async def test_verifying_and_rebuilding_exclude_each_other(history: str) -> None:
    """Asking for both at once is refused, saying in which order to do them."""
    with pytest.raises(ConfigurationError, match="rebuild first, then verify"):
        await verify(history, rebuild=True)


async def test_no_record_is_produced(copied: str, servers: Servers, topic_prefix: str) -> None:
    """A replay publishes nothing and requests no effect, though the log is full of both."""
    settings = Settings(
        database_url=copied,
        kafka_bootstrap_servers=servers.bootstrap,
        topic_prefix=topic_prefix,
        consumer_group=f"{topic_prefix}nobody",
        lanes=1,
    )
    await kafka_topics.create(settings, 1)
    for verifying, rebuilding in ((True, False), (False, False), (False, True)):
        assert (await replay(settings, kinds=(TOY,), verify=verifying, rebuild=rebuilding)).ok
    reader = AIOKafkaConsumer(bootstrap_servers=servers.bootstrap)
    await reader.start()
    try:
        mine = [t for t in await reader.topics() if t.startswith(topic_prefix)]
        assert settings.topic("effects") in mine
        assert settings.topic("outcomes") in mine

        ends = await reader.end_offsets([TopicPartition(topic, 0) for topic in mine])
    finally:
        await reader.stop()
    assert set(ends.values()) == {0}
