"""The real Kafka and PostgreSQL for tests: one pair for the whole run, and private pairs for failure tests.

`pytest_plugins = ["tests.support.servers"]` in the top conftest makes these fixtures known:

- `servers`: the run's own pair, shared by all of pytest-xdist's workers (`bootstrap`, `dsn`, `secure`); no test may
  stop or kill them;
- `database`: the URL of a fresh, empty database, dropped after the test; `make_database` for other scopes;
- `topic_prefix`: a unique prefix; topics named so are deleted after the test;
- `private_servers`: a pair of this test's own, to stop, kill and restart; `start_private` for options.
"""

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from psycopg import sql

from orchestrator import embedded
from orchestrator.embedded.client import lock_is_free
from orchestrator.embedded.layout import Layout

RUN_FOLDER = "ORCHESTRATOR_TEST_RUN_FOLDER"
END_WITHIN_S = 60.0

StartPrivate = Callable[..., embedded.Servers]
MakeDatabase = Callable[[], str]


def pytest_configure(config: pytest.Config) -> None:
    """The process that starts the run makes its folder; the workers it starts inherit the name."""
    if not _is_worker(config):
        os.environ[RUN_FOLDER] = str(make_folder())


def pytest_unconfigure(config: pytest.Config) -> None:
    folder = os.environ.get(RUN_FOLDER)
    if not _is_worker(config) and folder is not None:
        del os.environ[RUN_FOLDER]
        remove_folder(Path(folder))


@pytest.fixture(scope="session")
def servers() -> Iterator[embedded.Servers]:
    """The pair of the whole run, with secure listeners; the last worker out stops it."""
    folder = Path(os.environ[RUN_FOLDER]) / "shared"
    with embedded.shared(folder, kafka_security=embedded.KafkaSecurity()) as running:
        yield running


@pytest.fixture(scope="session")
def make_database(servers: embedded.Servers) -> Iterator[MakeDatabase]:
    """A function that creates an empty database and returns its URL; dropped at the end of the session."""
    made: list[str] = []

    def make() -> str:
        name = f"test_{secrets.token_hex(6)}"
        with psycopg.connect(servers.dsn, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        made.append(name)
        return urlsplit(servers.dsn)._replace(path=f"/{name}").geturl()

    yield make
    with psycopg.connect(servers.dsn, autocommit=True) as connection:
        for name in made:
            drop_database(connection, name)


@pytest.fixture
def database(servers: embedded.Servers, make_database: MakeDatabase) -> Iterator[str]:
    """The URL of an empty database of this test's own."""
    url = make_database()
    yield url
    with psycopg.connect(servers.dsn, autocommit=True) as connection:
        drop_database(connection, urlsplit(url).path[1:])


@pytest.fixture
def topic_prefix(servers: embedded.Servers) -> Iterator[str]:
    """A prefix that no other test has; the topics that carry it are deleted afterwards."""
    prefix = f"t{secrets.token_hex(5)}."
    yield prefix
    delete_topics(servers.bootstrap, prefix)


@pytest.fixture
def start_private() -> Iterator[StartPrivate]:
    """A function that starts a pair of this test's own (`embedded.start`'s options; `data_dir` is made if not given)."""
    with private_pairs() as start:
        yield start


@pytest.fixture
def private_servers(start_private: StartPrivate) -> embedded.Servers:
    """A running pair of this test's own, to stop, kill and restart."""
    return start_private()


@contextmanager
def private_pairs() -> Iterator[StartPrivate]:
    """The same for fixtures of other scopes: pairs started inside are stopped and their folders removed at the end."""
    started: list[embedded.Servers] = []
    folders: list[Path] = []

    def start(data_dir: Path | None = None, **options: Any) -> embedded.Servers:
        if data_dir is None:
            folders.append(make_folder())
            data_dir = folders[-1] / "data"
        running = embedded.start(data_dir, **options)
        started.append(running)
        return running

    try:
        yield start
    finally:
        for running in started:
            running.stop()
        for folder in folders:
            remove_folder(folder)


def make_folder() -> Path:
    """A temporary folder that the database's user can pass when the tests run as root."""
    folder = Path(tempfile.mkdtemp(prefix="orchestrator-tests-"))
    folder.chmod(0o711)
    return folder


def remove_folder(folder: Path) -> None:
    """Remove a folder once the guards of the data folders in it have ended."""
    deadline_s = time.monotonic() + END_WITHIN_S
    for lock in folder.glob("*/guard.lock"):
        while not lock_is_free(Layout(lock.parent)) and time.monotonic() < deadline_s:
            time.sleep(0.05)
    shutil.rmtree(folder, ignore_errors=True)


def drop_database(connection: psycopg.Connection, name: str) -> None:
    """Drop a database, whoever is still connected to it."""
    connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def delete_topics(bootstrap: str, prefix: str) -> None:
    """Delete the topics whose names start with `prefix`."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    names = [name for name in admin.list_topics(timeout=30).topics if name.startswith(prefix)]
    if not names:
        return
    for deleted in admin.delete_topics(names, operation_timeout=30).values():
        try:
            deleted.result(timeout=30)
        except KafkaException as error:
            if error.args[0].name() != "UNKNOWN_TOPIC_OR_PART":  # the test deleted it itself
                raise


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")
