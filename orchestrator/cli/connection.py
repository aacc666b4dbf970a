"""Where a command finds Kafka and PostgreSQL: the environment's, or the embedded pair of a data folder."""

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from orchestrator.core.errors import ConfigurationError

if TYPE_CHECKING:
    from orchestrator.embedded import Servers
    from orchestrator.installation import Databases
    from orchestrator.settings import Settings

_BOTH = ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL")
_EMBEDDED_SESSION_MS = 10_000  # one machine: a killed worker's lanes move on sooner than over a network
_T = TypeVar("_T")


@contextmanager
def connected(
    data: Path, *, make: bool = False, tell: Callable[[str], None] | None = None
) -> "Iterator[Settings]":
    """Settings that name both servers; while inside, embedded ones run and the environment names them for children.

    `make`: start embedded servers even where the data folder has none yet. Raises ConfigurationError, EmbeddedError.
    """
    settings = load_settings()
    given = [bool(settings.kafka_bootstrap_servers), bool(settings.database_url)]
    if all(given):
        yield settings
        return
    if any(given):
        raise ConfigurationError(
            f"{_BOTH[given.index(True)]} is set, {_BOTH[given.index(False)]} is not: set both or neither"
        )
    if not make and not (data / "embedded.json").exists():
        raise ConfigurationError(
            f"KAFKA_BOOTSTRAP_SERVERS and DATABASE_URL are not set, and {data} holds no embedded servers:"
            " set both, or start some with `orchestrator up`, or name their folder with --data"
        )
    with _embedded(data, tell) as servers, _environment(_named(servers)):
        yield load_settings()


def run(data: Path, work: "Callable[[Settings, Databases], Coroutine[Any, Any, _T]]") -> _T:
    """Do some asynchronous work with connections that are closed afterwards."""
    with connected(data) as settings:
        return asyncio.run(with_databases(settings, work))


async def with_databases(
    settings: "Settings", work: "Callable[[Settings, Databases], Coroutine[Any, Any, _T]]"
) -> _T:
    """The work's result; its connections are closed however it ends."""
    from orchestrator.installation import Databases

    databases = Databases(settings)
    try:
        return await work(settings, databases)
    finally:
        databases.close()


def load_settings() -> "Settings":
    """The settings of this process; log lines below warnings stay away unless asked for."""
    from orchestrator import logs, settings

    found = settings.load()
    logs.configure(found.log_level if os.environ.get("LOG_LEVEL") else "WARNING", found.log_format)
    return found


@contextmanager
def _embedded(data: Path, tell: Callable[[str], None] | None) -> "Iterator[Servers]":
    try:
        from orchestrator import embedded
    except ImportError as error:
        raise ConfigurationError(
            f"this installation has no embedded servers ({error}): set KAFKA_BOOTSTRAP_SERVERS and DATABASE_URL"
        ) from error
    with embedded.shared(data, progress=tell) as servers:
        yield servers


def _named(servers: "Servers") -> dict[str, str]:
    return {
        "KAFKA_BOOTSTRAP_SERVERS": servers.bootstrap,
        "DATABASE_URL": servers.dsn,
        "ORCHESTRATOR_SESSION_TIMEOUT_MS": os.environ.get(
            "ORCHESTRATOR_SESSION_TIMEOUT_MS", str(_EMBEDDED_SESSION_MS)
        ),
    }


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
