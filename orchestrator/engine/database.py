"""One PostgreSQL server's connections, opened through the event store library's datastore."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, LiteralString

from eventsourcing.persistence import DataError, PersistenceError
from eventsourcing.postgres import PostgresDatastore
from psycopg import Cursor, conninfo
from psycopg import Error as PsycopgError
from psycopg.rows import DictRow
from typing_extensions import override

from orchestrator.core.errors import ConfigurationError

__all__ = ["DataError", "Database", "PersistenceError", "parse_dsn", "refuse_database_functions"]
_SESSION_OPTIONS = (
    "-c timezone=UTC -c lock_timeout=5s -c statement_timeout=60s -c idle_in_transaction_session_timeout=60s"
    # Every query of a worker is a look-up by key; a stale estimate must not turn one into a table scan.
    " -c enable_hashjoin=off -c enable_mergejoin=off"
)
_TRUTHY = ("1", "y", "yes", "t", "true", "on")


class _Borrowing(PostgresDatastore):
    """A datastore on somebody else's pool: the library closes a pool with its datastore, even when collected."""

    @override
    def close(self) -> None:
        """The pool's owner closes it."""


class Database:
    """A pool of connections to `dsn` (any libpq URL, `sslmode` included), shared by all lanes that live there."""

    def __init__(self, dsn: str, *, pool_size: int = 4, connect_timeout_s: float = 5.0) -> None:
        refuse_database_functions(os.environ)
        self._parameters = parse_dsn(dsn)
        self._pool_size = pool_size
        self._connect_timeout_s = connect_timeout_s
        self.datastore = self._new_datastore("public")

    def lane_datastore(self, schema: str) -> PostgresDatastore:
        """A datastore that sees the lane's schema and draws from the common pool."""
        return self._new_datastore(schema, _Borrowing, self.datastore.pool)

    @contextmanager
    def transaction(self) -> Iterator[Cursor[DictRow]]:
        """A read-write transaction, committed on leaving; any error leaves its outcome unknown."""
        with self.datastore.transaction(commit=True) as cursor:
            yield cursor

    def rows(self, query: LiteralString, params: Any = None) -> list[DictRow]:
        """All rows of one read, by column name."""
        with self.datastore.cursor() as cursor:
            return cursor.execute(query, params).fetchall()

    def close(self) -> None:
        self.datastore.close()

    def _new_datastore(
        self, schema: str, make: type[PostgresDatastore] = PostgresDatastore, pool: Any = None
    ) -> PostgresDatastore:
        p = self._parameters
        datastore = make(
            dbname=p.get("dbname", ""),
            host=p.get("host", ""),
            port=p.get("port", "5432"),
            user=p.get("user", ""),
            password=p.get("password", ""),
            pool_size=1,
            max_overflow=self._pool_size,
            connect_timeout=self._connect_timeout_s,
            pre_ping=True,
            schema=schema,
        )
        if pool is not None:
            datastore.pool = pool
            return datastore
        rest = {k: v for k, v in p.items() if k not in {"dbname", "host", "port", "user", "password"}}
        options = f"{rest.pop('options', '')} {_SESSION_OPTIONS}".strip()
        assert isinstance(datastore.pool.kwargs, dict)
        datastore.pool.kwargs |= {
            "connect_timeout": max(2, int(self._connect_timeout_s)),
            "tcp_user_timeout": "15000",
            "application_name": "journey-orchestrator",
            **rest,
            "options": options,
        }
        return datastore


def parse_dsn(dsn: str) -> dict[str, Any]:
    """Libpq parameters of a URL or key=value string. Raises ConfigurationError without repeating the password."""
    try:
        parameters = conninfo.conninfo_to_dict(dsn)
    except PsycopgError as error:  # its own message would repeat parts of the address
        raise ConfigurationError(
            "DATABASE_URL is not a PostgreSQL address: write postgresql://user:password@host:port/database"
        ) from None
    if not parameters.get("dbname"):
        raise ConfigurationError(
            "DATABASE_URL names no database: write postgresql://user:password@host:port/database"
        )
    return {k: v for k, v in parameters.items() if v is not None}


def refuse_database_functions(environment: Any) -> None:
    """The library's database functions insert without our fence; starting with them on would lose events."""
    if str(environment.get("POSTGRES_ENABLE_DB_FUNCTIONS", "")).strip().lower() in _TRUTHY:
        raise ConfigurationError(
            "POSTGRES_ENABLE_DB_FUNCTIONS is on: its insert functions skip the lane's fence. Unset it and start again."
        )
