"""What waiting can't cure ends the worker at once: exit code 78 and a message that names the cure."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from confluent_kafka.admin import NewPartitions  # type: ignore[attr-defined]

from orchestrator import embedded
from tests.support.faults import admin_client
from tests.support.scene import LANES, Scene, scene
from tests.support.worker_process import EXIT_CONFIGURATION


@pytest.fixture
def installation(
    servers: embedded.Servers, database: str, topic_prefix: str, tmp_path: Path
) -> Iterator[Scene]:
    with scene(servers, tmp_path, dsn=database, topic_prefix=topic_prefix) as made:
        yield made


def refused(installation: Scene, **environment: str) -> str:
    """The last words of a worker that ends with 78."""
    worker = installation.worker("refused", **environment).start()
    assert worker.wait() == EXIT_CONFIGURATION, worker.log()
    password = urlsplit(installation.dsn).password
    assert password
    assert password not in worker.log()
    return worker.log().splitlines()[-1]


def test_an_address_that_is_none_is_refused(installation: Scene) -> None:
    """A DSN that can't be read is answered with how one is written."""
    for wrong in ("nonsense", "postgresql://user@host:5432", "postgresql://host:port/db"):
        assert "postgresql://user:password@host:port/database" in refused(installation, DATABASE_URL=wrong)


def test_a_wrong_password_user_or_database_is_refused(installation: Scene) -> None:
    """Credentials that PostgreSQL refuses are named, and the given password is not repeated."""
    parts = urlsplit(installation.dsn)
    where = f"{parts.hostname}:{parts.port}"
    wrong_password = f"postgresql://{parts.username}:canary-3141@{where}{parts.path}"
    said = refused(installation, DATABASE_URL=wrong_password)
    assert "DATABASE_URL" in said
    assert "password authentication failed" in said
    assert "canary-3141" not in said
    said = refused(installation, DATABASE_URL=parts._replace(path="/nowhere").geturl())
    assert "DATABASE_URL" in said
    assert 'database "nowhere" does not exist' in said


def test_a_database_without_an_installation_is_refused(installation: Scene) -> None:
    """A database that `init` has not seen is answered with that command."""
    with psycopg.connect(installation.dsn, autocommit=True) as connection:
        connection.execute("DROP TABLE orchestrator.installation")
    assert "orchestrator init" in refused(installation)


def test_another_number_of_lanes_is_refused(installation: Scene) -> None:
    """Partitions added to the topic, which would send keys to other lanes, keep the worker from starting."""
    topic = f"{installation.topic_prefix}journeys.commands"
    admin = admin_client(installation.servers.bootstrap)
    admin.create_partitions([NewPartitions(topic, LANES + 2)])[topic].result(timeout=30)
    said = refused(installation)
    assert f"{topic} has {LANES + 2} partitions" in said
    assert f"{LANES} lanes" in said


def test_the_librarys_database_functions_are_refused(installation: Scene) -> None:
    """With functions that insert without the fence switched on, nothing starts."""
    said = refused(installation, POSTGRES_ENABLE_DB_FUNCTIONS="y")
    assert "POSTGRES_ENABLE_DB_FUNCTIONS" in said
    assert "Unset it" in said
