"""A lane's history and what the Parquet folder says of it."""

from pathlib import Path
from typing import Any

import duckdb

from projections.analytics.parquet import Parquet
from tests.support.lanes import DAY_MS, LaneHarness, Request, until


async def live_through(harness: LaneHarness, commands: int, *, days: int = 1, batch: int = 10) -> None:
    """So many commands in batches, spread over `days`: counters, rejections, duplicates, a dead letter now and then."""
    customers = harness.customers(7)
    step_ms = max(1, days * DAY_MS // max(1, commands))
    for start in range(0, commands, batch):
        requests = []
        for n in range(start, min(start + batch, commands)):
            at_ms = harness.now_ms + step_ms * (n - start + 1)
            data: dict[str, Any] = {"n": -1} if n % 11 == 3 else {"n": n}
            if n % 13 == 5:
                data = {"what": "no number"}
            requests.append(Request(customers[n % 7], "add", data, at_ms=at_ms))
        await harness.handle(*requests)


async def caught_up(harness: LaneHarness, *sinks: Parquet) -> None:
    """Wait until the sinks have written everything."""
    await until(lambda: all(s.lag_events == 0 for s in sinks), "the sink has written the whole log")


def small_sink(harness: LaneHarness, folder: Path, rows_max: int = 20) -> Parquet:
    """A sink that writes often."""
    return Parquet(harness.lane, folder, rows_max=rows_max, wait_s=0.05)


def query(folder: Path, sql: str) -> list[Any]:
    """Rows of `sql`, in which `events` is the folder."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(
            f"CREATE VIEW events AS SELECT * FROM read_parquet('{folder}/**/*.parquet', hive_partitioning = true)"
        )
        return connection.execute(sql).fetchall()


def assert_each_once(folder: Path, last: int, lane: int = 0) -> None:
    """Every position from 1 to `last` is there once, and nothing half done lies about."""
    found = query(folder, f"SELECT position FROM events WHERE lane = {lane} ORDER BY position")
    assert [row[0] for row in found] == list(range(1, last + 1))
    assert list(folder.rglob("*.tmp")) == []
