import asyncio
import threading
from pathlib import Path

import orjson
import pytest

from orchestrator.core.errors import Fenced
from orchestrator.settings import Settings
from projections.analytics import parquet as parquet_sink
from projections.analytics import sinks
from projections.analytics.parquet import Parquet
from projections.analytics.parquet_files import LaneFiles
from tests.analytics.scenes import assert_each_once, caught_up, live_through, query, small_sink
from tests.support.lanes import Installation, Request, until


async def test_each_event_is_one_row(installation: Installation, tmp_path: Path) -> None:
    """Every event of a lane is in the folder once, whether it came from memory or was read from the log."""
    harness = await installation.lane()
    await live_through(harness, 60)  # before anyone follows
    sink = small_sink(harness, tmp_path)
    async with harness.following(sink):
        await live_through(harness, 60)
        await caught_up(harness, sink)
    assert_each_once(tmp_path, harness.lane.position)


async def test_rows_say_what_happened(installation: Installation, tmp_path: Path) -> None:
    """A row names the owner, the journey, the command behind the event, and when it was."""
    harness = await installation.lane()
    (customer,) = harness.customers(1)
    sink = small_sink(harness, tmp_path)
    async with harness.following(sink):
        await harness.handle(
            Request(customer, "add", {"n": 4}, id="first"), Request(customer, "add", {"n": -4})
        )
        await caught_up(harness, sink)
    rows = query(
        tmp_path,
        "SELECT stream, version, organization, owner_scope, owner, kind, definition, event, cause_source, cause_id,"
        " command_type, command_index, definition_version, data, epoch_ms(recorded_at), CAST(date AS VARCHAR)"
        " FROM events WHERE cause_id = 'first' ORDER BY position",
    )
    stream, at_ms = f"acme/c/{customer}/toy:t", harness.now_ms
    of_all = ("acme", "customer", customer, "toy", "t")
    assert [row[:2] for row in rows] == [(stream, 1), (stream, 2)]
    assert [row[2:7] for row in rows] == [of_all, of_all]
    assert [row[7:13] for row in rows] == [
        ("journey.started.v1", "tests", "first", "add", 0, 1),
        ("toy.added.v1", "tests", "first", "add", 1, None),
    ]
    assert orjson.loads(rows[1][13]) == {"n": 4}
    assert rows[1][14:] == (at_ms, "2026-02-02")
    assert query(tmp_path, "SELECT reason FROM events WHERE event LIKE '%rejected%'") == [("toy.negative",)]


async def test_days_are_folders(installation: Installation, tmp_path: Path) -> None:
    """An event lies in the folder of the UTC day on which it was recorded, however many days one stretch spans."""
    harness = await installation.lane()
    sink = small_sink(harness, tmp_path, rows_max=60)
    async with harness.following(sink):
        await live_through(harness, 120, days=9)
        await caught_up(harness, sink)
    assert_each_once(tmp_path, harness.lane.position)
    wrong = query(tmp_path, "SELECT count(*) FROM events WHERE CAST(recorded_at AS DATE) <> date")
    assert wrong == [(0,)]
    assert query(tmp_path, "SELECT count(DISTINCT date) FROM events")[0][0] >= 9


async def test_nothing_private_leaves(installation: Installation, tmp_path: Path) -> None:
    """Personal data, what rules have read, and the bytes and errors of dead letters stay out of the files."""
    harness = await installation.lane()
    (customer,) = harness.customers(1)
    sink = small_sink(harness, tmp_path)
    async with harness.following(sink):
        await harness.handle(
            Request(customer, "add", {"n": 1, "private": {"mail": "canary-private"}}),
            Request(customer, "add", {"n": -987123}),  # the rejection's inputs hold the number
            Request(customer, "canary-type", {"n": 1}),
            Request(customer, "add", value=b'{"n": "canary-value"', id="broken"),
        )
        await caught_up(harness, sink)
    everything = repr(query(tmp_path, "SELECT CAST(COLUMNS(*) AS VARCHAR) FROM events"))
    assert "toy.negative" in everything
    assert "bad_json" in everything
    for canary in ("canary", "987123"):
        assert canary not in everything


async def test_buffers_are_bounded_in_rows(installation: Installation, tmp_path: Path) -> None:
    """A file is written as soon as so many rows wait, long before its time."""
    harness = await installation.lane()
    sink = Parquet(harness.lane, tmp_path, rows_max=25, wait_s=3600)
    async with harness.following(sink):
        for _ in range(10):
            await live_through(harness, 10)
            await until(lambda: sink.lag_events < 25, "full buffers are written")
    stretches = {path.name for path in tmp_path.rglob("*.parquet")}
    assert len(stretches) >= 3


async def test_buffers_are_bounded_in_bytes(installation: Installation, tmp_path: Path) -> None:
    """A few very large events are written without waiting for many rows."""
    harness = await installation.lane()
    (customer,) = harness.customers(1)
    sink = Parquet(harness.lane, tmp_path, rows_max=100_000, bytes_max=50_000, wait_s=3600)
    async with harness.following(sink):
        await harness.handle(Request(customer, "add", {"n": 1, "private": {"note": "x" * 60_000}}))
        await caught_up(harness, sink)
    assert_each_once(tmp_path, harness.lane.position)


async def test_a_former_owner_cannot_claim(installation: Installation, tmp_path: Path) -> None:
    """Whoever lost the lane is fenced at its next file instead of writing rows a second time."""
    old = await installation.lane()
    zombie = small_sink(old, tmp_path)
    old.followers.append(zombie)
    running = asyncio.create_task(zombie.run())
    await live_through(old, 30)
    await caught_up(old, zombie)
    new = await installation.lane()
    sink = small_sink(new, tmp_path)
    async with new.following(sink):
        await live_through(new, 30)
        await caught_up(new, sink)
    read_on(zombie, new.lane.position)
    with pytest.raises(Fenced):
        await asyncio.wait_for(running, 30)
    assert_each_once(tmp_path, new.lane.position)


async def test_a_late_file_of_a_former_owner_doubles_nothing(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An owner frozen between claiming and renaming wakes after others wrote on: its file replaces its equal."""
    old = await installation.lane()
    zombie = small_sink(old, tmp_path)
    held, woken = threading.Event(), threading.Event()
    replace = Path.replace

    def replace_late(path: Path, target: Path) -> Path:
        if not held.is_set():
            held.set()
            woken.wait(30)
        return replace(path, target)

    await live_through(old, 30)
    monkeypatch.setattr(Path, "replace", replace_late)
    monkeypatch.setattr(
        LaneFiles, "remove_temporary", lambda _: None
    )  # nothing to see: it froze before the file was made
    running = asyncio.create_task(zombie.run())
    await until(held.is_set, "the first owner is about to rename")
    new = await installation.lane()
    sink = small_sink(new, tmp_path, rows_max=17)
    async with new.following(sink):
        await live_through(new, 50)
        await caught_up(new, sink)
        woken.set()
        read_on(zombie, new.lane.position)
        with pytest.raises(Fenced):
            await asyncio.wait_for(running, 30)
        assert_each_once(tmp_path, new.lane.position)


def read_on(zombie: Parquet, position: int) -> None:
    """The zombie learns that the log is longer than it was."""
    zombie._lane.position = position
    zombie._feed._news.set()


async def test_trouble_with_the_folder_is_not_the_lanes(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While files can't be written the lane goes on, the lag shows it, and everything is written afterwards."""
    monkeypatch.setattr(parquet_sink, "_BACKOFF_FIRST_S", 0.01)
    folder = tmp_path / "analytics"
    folder.write_text("in the way")
    harness = await installation.lane()
    sink = small_sink(harness, folder)
    async with harness.following(sink):
        await live_through(harness, 40)
        await until(lambda: sink._failures > 2, "the sink keeps trying")
        assert sink.lag_events == harness.lane.position
        folder.unlink()
        await caught_up(harness, sink)
    assert_each_once(folder, harness.lane.position)


async def test_another_installations_folder_is_refused(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two installations never mix their rows in one folder."""
    harness = await installation.lane()
    await live_through(harness, 20)
    sink = small_sink(harness, tmp_path)
    async with harness.following(sink):
        await caught_up(harness, sink)
    written = harness.lane.position
    with installation.databases.main.transaction() as cursor:
        cursor.execute("UPDATE lane_000.subject_keys SET key = %s WHERE subject = 'lane'", (b"z" * 32,))
    other = await installation.lane()
    stranger = small_sink(other, tmp_path)
    async with other.following(stranger):
        await live_through(other, 20)
        await until(lambda: stranger._failures > 0, "the stranger is refused")
    assert_each_once(tmp_path, written)


async def test_a_lost_folder_is_written_again(installation: Installation, tmp_path: Path) -> None:
    """Pointed at an empty folder, or one that lacks the newest files, the sink starts again where that one ends."""
    harness = await installation.lane()
    sink = small_sink(harness, tmp_path)
    async with harness.following(sink):
        await live_through(harness, 60)
        await caught_up(harness, sink)
    newest = sorted({path.name for path in tmp_path.rglob("*.parquet")})[-2:]
    for path in tmp_path.rglob("*.parquet"):
        if path.name in newest:
            path.unlink()
    for folder in (tmp_path, tmp_path / "new"):
        again = small_sink(harness, folder, rows_max=33)
        async with harness.following(again):
            await live_through(harness, 10)
            await caught_up(harness, again)
        if folder == tmp_path:
            assert_each_once(folder, harness.lane.position)
    assert_each_once(tmp_path / "new", harness.lane.position)


async def test_files_ahead_of_the_log_are_set_aside(installation: Installation, tmp_path: Path) -> None:
    """After the database was set back, rows of the lost future are no longer read, and aren't destroyed either."""
    harness = await installation.lane()
    sink = small_sink(harness, tmp_path)
    async with harness.following(sink):
        await live_through(harness, 20)
        await caught_up(harness, sink)
        restored = harness.store.positions()
        end = harness.lane.position
        await live_through(harness, 40)
        await caught_up(harness, sink)
    with installation.databases.main.transaction() as cursor:
        cursor.execute("DELETE FROM lane_000.stored_events WHERE notification_id > %s", (end,))
        for name, position in restored.items():
            cursor.execute(
                "UPDATE lane_000.positions SET at = %s, detail = %s WHERE name = %s",
                (position.at, position.detail, name),
            )
    again = await installation.lane()
    sink = small_sink(again, tmp_path)
    async with again.following(sink):
        await live_through(again, 25)
        await caught_up(again, sink)
    assert_each_once(tmp_path, again.lane.position)
    assert list(tmp_path.rglob("*.superseded"))


async def test_sinks_are_off_unless_asked_for(installation: Installation, tmp_path: Path) -> None:
    """Without its setting no sink follows the lane; with it, the Parquet sink does."""
    harness = await installation.lane()
    assert sinks(harness.lane, Settings()) == ()
    assert [s.name for s in sinks(harness.lane, Settings(analytics_dir=str(tmp_path)))] == ["parquet"]
