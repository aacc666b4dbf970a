"""One PostgreSQL server's connections, opened through the event store library's datastore."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg
from eventsourcing.persistence import DataError, InterfaceError, OperationalError, PersistenceError
from eventsourcing.postgres import PostgresDatastore
from psycopg import Cursor, conninfo
from psycopg import Error as PsycopgError
from psycopg.rows import DictRow
from typing_extensions import override

from orchestrator.core.errors import ConfigurationError

__all__ = [
    "DataError", "Database", "InterfaceError", "OperationalError", "PersistenceError", "parse_dsn",
    "refuse_database_functions",
]  # fmt: skip
_SESSION_OPTIONS = (
    "-c timezone=UTC -c lock_timeout=5s -c statement_timeout=60s"
    # Every query of a worker is a look-up by key; a stale estimate must not turn one into a table scan.
    " -c enable_hashjoin=off -c enable_mergejoin=off"
)
_IDLE_IN_TRANSACTION_S = (
    10.0  # a worker frozen between two statements holds its lanes' rows no longer than this
)
_RECONNECT_S = 5.0  # the pool's own default doubles its pauses up to minutes
_REFUSED_FOR_GOOD = (
    "password authentication failed", "no password supplied", "does not exist", "no pg_hba.conf entry", "invalid ",
    "is not permitted to log in", "permission denied for database", "SSL was required", "certificate",
)  # fmt: skip
"""Words of libpq and an English server; in another language the worker waits and logs the reason instead."""
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

    def refuse_wrong_address(self) -> None:
        """Connect once beside the pool, which keeps a refusal's reason to itself; silent while waiting may help.

        Raises ConfigurationError when the server's answer, or the address itself, rules out that waiting does.
        """
        assert isinstance(self.datastore.pool.kwargs, dict)
        try:
            psycopg.connect(**self.datastore.pool.kwargs).close()
        except psycopg.Error as error:
            reason = " ".join(str(error).split())
            if any(words in reason for words in _REFUSED_FOR_GOOD):
                raise ConfigurationError(
                    f"DATABASE_URL can't be used: {reason[:300]}. Correct its user, password, host, port,"
                    " database, sslmode and sslrootcert"
                ) from None

    def check_connections(self) -> None:
        """Drop idle connections that broke, so that the next call doesn't meet one; call it after an error."""
        self.datastore.pool.check()

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
            pre_ping=False,  # a question before every transaction; `check_connections` asks once after an error
            schema=schema,
            idle_in_transaction_session_timeout=_IDLE_IN_TRANSACTION_S,
        )
        if pool is not None:
            datastore.pool = pool
            return datastore
        rest = {k: v for k, v in p.items() if k not in {"dbname", "host", "port", "user", "password"}}
        options = f"{rest.pop('options', '')} {_SESSION_OPTIONS}".strip()
        datastore.pool.reconnect_timeout = _RECONNECT_S
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
    except PsycopgError:  # its own message would repeat parts of the address
        raise ConfigurationError(
            "DATABASE_URL is not a PostgreSQL address: write postgresql://user:password@host:port/database"
        ) from None
    if not parameters.get("dbname"):
        raise ConfigurationError(
            "DATABASE_URL names no database: write postgresql://user:password@host:port/database"
        )
    ports = str(parameters.get("port") or "5432").split(",")
    # A password's own '/' or '@' ends it early, and its rest would stand in messages as a host or a port.
    if not all(port.isdigit() for port in ports) or "@" in str(parameters.get("host") or ""):
        raise ConfigurationError(
            "DATABASE_URL has no usable host and port: write postgresql://user:password@host:port/database, with / @ : # ? %"
            " in the password percent-encoded"
        )
    return {k: v for k, v in parameters.items() if v is not None}


def refuse_database_functions(environment: Any) -> None:
    """The library's database functions insert without our fence; starting with them on would lose events."""
    if str(environment.get("POSTGRES_ENABLE_DB_FUNCTIONS", "")).strip().lower() in _TRUTHY:
        raise ConfigurationError(
            "POSTGRES_ENABLE_DB_FUNCTIONS is on: its insert functions skip the lane's fence. Unset it and start again."
        )
