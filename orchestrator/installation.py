"""Making and checking an installation: shared tables, lanes, topics; the number of lanes is fixed at birth."""

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from orchestrator import kafka_topics
from orchestrator.core.errors import ConfigurationError
from orchestrator.engine.database import Database, PersistenceError
from orchestrator.engine.migrations import FORMAT
from orchestrator.engine.positions import IN, OUT
from orchestrator.engine.schema import SHARED_TABLES
from orchestrator.engine.store import LaneStore
from orchestrator.settings import Settings

FOLLOWERS = ("publisher", "exactly_once", "journeys", "dead_letters", "flow_analytics", "parquet")
_SUSPECT = "suspect"
_SETTLE_TRIES, _SETTLE_WAIT_S = 25, 0.2


class Databases:
    """The database servers of an installation: the main one, and where single lanes live elsewhere."""

    def __init__(self, settings: Settings, *, pool_size: int = 4) -> None:
        if not settings.database_url:
            raise ConfigurationError(
                "DATABASE_URL is not set: write postgresql://user:password@host:port/database"
            )
        self.main = Database(settings.database_url, pool_size=pool_size)
        self._by_dsn = {settings.database_url: self.main}
        self._lanes: dict[int, Database] = {}
        for lanes, dsn in settings.lane_databases.items():
            database = self._by_dsn.get(dsn) or Database(dsn, pool_size=pool_size)
            self._by_dsn[dsn] = database
            for lane in _lane_range(lanes):
                self._lanes[lane] = database

    def of_lane(self, lane: int) -> Database:
        return self._lanes.get(lane, self.main)

    def close(self) -> None:
        for database in self._by_dsn.values():
            database.close()


async def init(settings: Settings, databases: Databases) -> Mapping[str, Sequence[str]]:
    """Make what is missing and leave what exists. Raises ConfigurationError when lanes differ."""
    lanes, found = _make_shared(databases.main, settings.lanes)
    _refuse_newer(found)
    if lanes != settings.lanes:
        raise ConfigurationError(
            f"this database was made with {lanes} lanes, the setting says {settings.lanes}: lanes are fixed at init."
            f" Set ORCHESTRATOR_LANES={lanes}, or use a new database"
        )
    made = await kafka_topics.create(settings, lanes)
    await _settled(settings, lanes)
    topics = (settings.topic("commands"), settings.topic("raw"))
    starts = await kafka_topics.log_starts(settings, topics, lanes)
    with ThreadPoolExecutor(max_workers=2) as pool:
        futures = []
        for lane in range(lanes):
            positions = [(IN + topic, starts[(topic, lane)] - 1) for topic in topics]
            positions += [(OUT + name, 0) for name in FOLLOWERS]
            positions.append((_SUSPECT, 0))
            store = LaneStore(databases.of_lane(lane), lane)
            futures.append(pool.submit(_make_lane, store, found, positions))
        for future in futures:
            future.result()
    if found < FORMAT:  # after the last lane: an init that is cut off does the rest the next time
        with databases.main.transaction() as cursor:
            cursor.execute(
                "UPDATE orchestrator.installation SET format = %s WHERE format = %s", (FORMAT, found)
            )
    return {"topics": made, "lanes": [f"lane_{n:03d}" for n in range(lanes)]}


def _make_lane(store: LaneStore, found: int, positions: Sequence[tuple[str, int]]) -> None:
    if found < FORMAT:
        store.migrate(found)
    store.create(positions, os.urandom(32))


async def _settled(settings: Settings, lanes: int) -> None:
    """A new topic is known to every broker only a moment later."""
    for _ in range(_SETTLE_TRIES):
        try:
            await kafka_topics.check(settings, lanes)
        except ConfigurationError:
            await asyncio.sleep(_SETTLE_WAIT_S)
        else:
            return
    await kafka_topics.check(settings, lanes)


def lanes_of(database: Database) -> int:
    """The installation's number of lanes. Raises ConfigurationError when there is none, or we are refused."""
    with _refusals_told(database):
        there = database.rows("SELECT to_regclass('orchestrator.installation') IS NOT NULL AS there")
        rows = (
            database.rows("SELECT lanes, format FROM orchestrator.installation") if there[0]["there"] else []
        )
    if not rows:
        raise ConfigurationError("this database holds no installation: run `orchestrator init`")
    found = int(rows[0]["format"])
    _refuse_newer(found)
    if found < FORMAT:
        raise ConfigurationError(
            f"this database has format {found}, this release works with {FORMAT}: stop the older workers, then run"
            " `orchestrator init`, which brings the tables up to date"
        )
    return int(rows[0]["lanes"])


def _refuse_newer(found: int) -> None:
    if found > FORMAT:
        raise ConfigurationError(
            f"this database has format {found}, this release knows {FORMAT}: upgrade this worker"
        )


@contextmanager
def _refusals_told(database: Database) -> Iterator[None]:
    """The pool knows only that it got no connection; raises ConfigurationError when asking again can't help."""
    try:
        yield
    except PersistenceError:
        database.refuse_wrong_address()
        raise


def _make_shared(database: Database, lanes: int) -> tuple[int, int]:
    """The number of lanes and the format that are there, perhaps made just now."""
    with _refusals_told(database), database.transaction() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(7423001)")
        for statement in SHARED_TABLES.split(";"):
            if statement.strip():
                cursor.execute(statement.strip())
        cursor.execute(
            "INSERT INTO orchestrator.installation (lanes, format) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            (lanes, FORMAT),
        )
        row = cursor.execute("SELECT lanes, format FROM orchestrator.installation").fetchone()
    assert row is not None
    return int(row["lanes"]), int(row["format"])


def _lane_range(text: str) -> range:
    first, _, last = text.partition("-")
    try:
        return range(int(first), int(last or first) + 1)
    except ValueError as error:
        shown = f"{text[:20]!r}" if "@" not in text else "an address"  # it would hold a password
        raise ConfigurationError(
            f"ORCHESTRATOR_LANE_DATABASES: {shown} stands where a lane number or a range like 0-3 belongs"
        ) from error
