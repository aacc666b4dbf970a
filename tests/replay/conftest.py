"""Fixtures of the replay's tests: one history, copied for whoever damages it."""

import asyncio
import secrets
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from orchestrator.embedded import Servers
from tests.replay.scenes import make_history
from tests.support.servers import drop_database


@pytest.fixture(scope="session")
def history(make_database: Callable[[], str]) -> str:
    """The URL of a database with a history, never changed: copies are."""
    dsn = make_database()
    asyncio.run(make_history(dsn))
    return dsn


@pytest.fixture
def copied(servers: Servers, history: str) -> Iterator[str]:
    """The URL of this test's own copy of the history."""
    name, template = f"test_{secrets.token_hex(6)}", urlsplit(history).path[1:]
    with psycopg.connect(servers.dsn, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        )
        yield urlsplit(servers.dsn)._replace(path=f"/{name}").geturl()
        drop_database(connection, name)
