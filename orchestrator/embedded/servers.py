"""Starting, sharing and stopping the local servers, from the caller's side."""

import os
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from orchestrator.embedded.client import (
    JOIN_WITHIN_S,
    POLL_S,
    Connection,
    GuardProcess,
    connect,
    lock_is_free,
)
from orchestrator.embedded.errors import EmbeddedError, InUseError
from orchestrator.embedded.fetch import kafka_jars
from orchestrator.embedded.java import find_java
from orchestrator.embedded.kafka_security import KafkaSecurity, SecureListeners
from orchestrator.embedded.layout import Layout, open_layout

Progress = Callable[[str], None]
DEFAULT_HEAP_MB = 384
GUARD_END_WITHIN_S = 5.0
GUARD_POLL_S = 0.01
MAX_GUARDS = 5  # one, and some more if others start and stop on the same folder at the same moment
# Guards that outlive our use of them: kept, since Python warns of a child that is forgotten while it runs.
_still_running: list[GuardProcess] = []


def start(
    data_dir: Path,
    *,
    kafka_security: KafkaSecurity | None = None,
    kafka_heap_mb: int | None = None,
    progress: Progress | None = None,
) -> "Servers":
    """Start both servers for this caller alone, and return when both answer.

    `kafka_heap_mb` is the broker's heap limit in MiB (default: `ORCHESTRATOR_KAFKA_HEAP_MB`, else 384).

    Raises:
        EmbeddedError: the folder is in use or unusable, or a server can't be fetched or started.
    """
    return _open(data_dir, kafka_security, kafka_heap_mb, progress, exclusive=True)


def shared(
    data_dir: Path,
    *,
    kafka_security: KafkaSecurity | None = None,
    kafka_heap_mb: int | None = None,
    progress: Progress | None = None,
) -> "Servers":
    """Join the servers that run on `data_dir`, or start them; the last one out stops them.

    Options count for the caller who starts them; asking for `kafka_security` of servers started without is an error.

    Raises:
        EmbeddedError: as for `start`.
    """
    return _open(data_dir, kafka_security, kafka_heap_mb, progress, exclusive=False)


class ServerControl:
    """One of the servers: its process, and what a failure test does to it, always on the same port and data."""

    def __init__(self, name: str, connection: Connection) -> None:
        self._name = name
        self._connection = connection

    @property
    def pid(self) -> int | None:
        """Its process id now; None while it is down."""
        pid: int | None = self._connection.ask("state")["state"]["pids"][self._name]
        return pid

    def start(self) -> None:
        """Start it again and return when it answers; nothing to do if it runs."""
        self._connection.ask("start", self._name)

    def stop(self) -> None:
        """Stop it in order and return when it has ended; it stays down until started."""
        self._connection.ask("stop", self._name)

    def kill(self) -> None:
        """End it at once (SIGKILL), its children too; it stays down until started."""
        self._connection.ask("kill", self._name)

    def restart(self) -> None:
        self.stop()
        self.start()


class Servers:
    """Running servers. Stop them, or leave the `with` block; the end of this process, of whatever kind, does it too."""

    def __init__(
        self, layout: Layout, connection: Connection, guard: GuardProcess | None, state: dict[str, Any]
    ) -> None:
        self.data_dir: Path = layout.root
        self.bootstrap: str = state["bootstrap"]
        """Kafka's plaintext listener, `host:port`."""
        self.dsn: str = state["dsn"]
        """PostgreSQL's URL, password included: don't log it."""
        self.secure: SecureListeners | None = _secure(state)
        self.kafka = ServerControl("kafka", connection)
        self.postgres = ServerControl("postgres", connection)
        self._layout = layout
        self._connection = connection
        self._guard = guard
        self._stopped = False

    def stop(self) -> None:
        """Leave the servers; returns when they have stopped, or at once if others still use them."""
        if self._stopped:
            return
        self._stopped = True
        _leave(self._layout, self._connection, self._guard)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _open(
    data_dir: Path,
    security: KafkaSecurity | None,
    heap_mb: int | None,
    progress: Progress | None,
    *,
    exclusive: bool,
) -> Servers:
    tell: Progress = progress or (lambda _text: None)
    layout = open_layout(data_dir)
    guard: GuardProcess | None = None
    guards_started = 0
    deadline_s = time.monotonic() + JOIN_WITHIN_S
    while time.monotonic() < deadline_s and guards_started <= MAX_GUARDS:
        connection = connect(layout, exclusive=exclusive)
        if connection is not None:
            state = _await_ready(layout, connection, guard, tell)
            if state is not None:
                return _checked(Servers(layout, connection, guard, state), security)
        elif (guard is None or guard.has_ended()) and lock_is_free(layout):
            options = _options(layout, security, heap_mb, tell)
            guard = GuardProcess(layout, options)
            guards_started += 1
            deadline_s = time.monotonic() + JOIN_WITHIN_S
        time.sleep(POLL_S)
    raise EmbeddedError(
        f"the servers of {layout.root} neither answer nor end: see {layout.logs / 'guard.log'}, or end the process that holds {layout.lock_file}"
    )


def _options(
    layout: Layout, security: KafkaSecurity | None, heap_mb: int | None, tell: Progress
) -> dict[str, Any]:
    java = find_java()
    jars = kafka_jars(tell)
    return {
        "data_dir": str(layout.root),
        "java": str(java.launcher),
        "jars": [str(path) for path in jars.paths],
        "kafka_version": jars.version,
        "heap_mb": heap_mb or _heap_from_environment(),
        "security": asdict(security) if security is not None else None,
    }


def _heap_from_environment() -> int:
    text = os.environ.get("ORCHESTRATOR_KAFKA_HEAP_MB") or str(DEFAULT_HEAP_MB)
    if not text.isdigit() or int(text) < 128:
        raise EmbeddedError(f"ORCHESTRATOR_KAFKA_HEAP_MB={text} must be a number of MiB, 128 or more")
    return int(text)


def _await_ready(
    layout: Layout, connection: Connection, guard: GuardProcess | None, tell: Progress
) -> dict[str, Any] | None:
    state = None
    try:
        state = connection.await_ready(tell)
    except InUseError:
        connection.close()
        raise
    except BaseException:
        _leave(layout, connection, guard)  # Ctrl-C during the start, too, ends with nothing left behind
        raise
    if state is None:
        connection.close()
    return state


def _checked(servers: Servers, security: KafkaSecurity | None) -> Servers:
    if security is not None and servers.secure is None:
        servers.stop()
        raise EmbeddedError(
            f"the Kafka of {servers.data_dir} runs without secure listeners: stop its users, then start it with them"
        )
    return servers


def _secure(state: dict[str, Any]) -> SecureListeners | None:
    fields: dict[str, Any] | None = state["secure"]
    if fields is None:
        return None
    typed: dict[str, Any] = {
        name: Path(value) if name.endswith("_file") else value for name, value in fields.items()
    }
    return SecureListeners(**typed)


def _leave(layout: Layout, connection: Connection, guard: GuardProcess | None) -> None:
    if not connection.leave():
        if guard is not None:
            _still_running.append(guard)
        return
    # The servers have stopped; the guard's own end takes it a moment more.
    if guard is not None:
        guard.wait(GUARD_END_WITHIN_S)
    deadline_s = time.monotonic() + GUARD_END_WITHIN_S
    while not lock_is_free(layout) and time.monotonic() < deadline_s:
        time.sleep(GUARD_POLL_S)
