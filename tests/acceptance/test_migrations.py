"""An installation of an older format: `init` brings it up to date, workers refuse it until then."""

from collections.abc import Iterator

import pytest

from orchestrator import embedded
from orchestrator.core.errors import ConfigurationError
from orchestrator.engine.migrations import FORMAT
from orchestrator.engine.store import LaneStore
from orchestrator.installation import Databases, init, lanes_of
from orchestrator.settings import Settings

LANES = 2


@pytest.fixture
def settings(servers: embedded.Servers, database: str, topic_prefix: str) -> Settings:
    return Settings(
        kafka_bootstrap_servers=servers.bootstrap,
        database_url=database,
        lanes=LANES,
        topic_prefix=topic_prefix,
    )


@pytest.fixture
def databases(settings: Settings) -> Iterator[Databases]:
    made = Databases(settings)
    yield made
    made.close()


def make_old(databases: Databases, found: int) -> None:
    """What the first format looked like, with a timer in it."""
    with databases.main.transaction() as cursor:
        cursor.execute("UPDATE orchestrator.installation SET format = %s", (found,))
        for lane in range(LANES):
            store = LaneStore(databases.main, lane)
            cursor.execute(store.statement("ALTER TABLE {lane}.timers DROP COLUMN history"))
            cursor.execute(
                store.statement(
                    "INSERT INTO {lane}.timers (stream_id, timer, armed_at, due_ms, stream)"
                    " VALUES (gen_random_uuid(), 'after', 1, 5, 'acme/c/anna/lifecycle:shop')"
                )
            )


async def test_an_older_installation_is_brought_up_to_date(settings: Settings, databases: Databases) -> None:
    """`init` changes the tables of every lane and keeps their rows; doing it again changes nothing."""
    await init(settings, databases)
    make_old(databases, 1)
    with pytest.raises(ConfigurationError, match="orchestrator init"):
        lanes_of(databases.main)
    for _ in range(2):
        await init(settings, databases)
        assert lanes_of(databases.main) == LANES
        for lane in range(LANES):
            timers = LaneStore(databases.main, lane).due_timers(10, 10, history=False)
            assert [(t.timer, t.due_ms, t.history) for t in timers] == [("after", 5, False)]


async def test_steps_cut_off_are_taken_again(settings: Settings, databases: Databases) -> None:
    """An `init` that ended after the first lane's steps is finished by the next one."""
    await init(settings, databases)
    make_old(databases, 1)
    LaneStore(databases.main, 0).migrate(1)
    await init(settings, databases)
    assert lanes_of(databases.main) == LANES
    assert len(LaneStore(databases.main, 1).due_timers(10, 10, history=False)) == 1


async def test_a_newer_installation_is_left_alone(settings: Settings, databases: Databases) -> None:
    """An older release neither works on a newer format nor changes it."""
    await init(settings, databases)
    with databases.main.transaction() as cursor:
        cursor.execute("UPDATE orchestrator.installation SET format = %s", (FORMAT + 1,))
    for attempt in (lambda: init(settings, databases), lambda: _now(databases)):
        with pytest.raises(ConfigurationError, match="upgrade"):
            await attempt()
    assert databases.main.rows("SELECT format FROM orchestrator.installation") == [{"format": FORMAT + 1}]


async def _now(databases: Databases) -> int:
    return lanes_of(databases.main)
