"""Processes that use the local servers and end in every way a process can end."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

REPOSITORY = Path(__file__).resolve().parents[2]
WITHIN_S = 60.0
PROGRAM = """
import json, sys, time
from pathlib import Path
from orchestrator import embedded

data_dir, how, ending = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
servers = getattr(embedded, how)(data_dir)
guard = json.loads((servers.data_dir / "guard.json").read_text())["pid"]
pids = [guard, servers.kafka.pid, servers.postgres.pid]
print(json.dumps({"bootstrap": servers.bootstrap, "dsn": servers.dsn, "pids": pids}), flush=True)
if ending == "error":
    raise ValueError("as planned")
if ending == "wait":
    while True:
        time.sleep(1)
if ending == "stop":
    sys.stdin.read()
    servers.stop()
"""


@dataclass
class Caller:
    """A process that holds servers; `pids` are those of the guard, Kafka and PostgreSQL."""

    process: subprocess.Popen[str]
    bootstrap: str
    dsn: str
    pids: list[int]

    def finish(self) -> None:
        """Let a caller that waits for the end of its input stop in order."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(WITHIN_S)


def launch(data_dir: Path, *, how: str = "start", ending: str = "wait") -> Caller:
    """Start a caller in its own process group (as a shell does) and wait until it has its servers."""
    process = launch_unready(data_dir, how=how, ending=ending)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, f"the caller ended with {process.wait(WITHIN_S)} before it had its servers"
    return Caller(process, **json.loads(line))


def launch_unready(data_dir: Path, *, how: str = "start", ending: str = "wait") -> subprocess.Popen[str]:
    """Start a caller without waiting for its servers."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(data_dir), how, ending],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(REPOSITORY), os.environ.get("PYTHONPATH", ""))),
        },
        process_group=0,
    )


@contextmanager
def listening_on(address: str) -> Iterator[None]:
    """A foreign program on a port."""
    host, _, port = address.partition(":")
    with socket.create_server((host, int(port))):
        yield


def running(pids: Iterable[int]) -> list[int]:
    """Those of `pids` that still run (a zombie doesn't)."""
    alive = []
    for pid in pids:
        try:
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                alive.append(pid)
        except psutil.NoSuchProcess:
            continue
    return alive


def processes_of(data_dir: Path) -> list[int]:
    """Every process that has something to do with a data folder, by its command line or working folder."""
    found = []
    for process in psutil.process_iter():
        try:
            places = [*process.cmdline(), process.cwd()]
            if any(str(data_dir) in place for place in places) and process.pid != os.getpid():
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def await_that(condition: Callable[[], bool], what: str) -> None:
    """Wait, for a bounded time, until `condition` holds."""
    deadline_s = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {WITHIN_S:.0f} s: {what}"
        time.sleep(0.05)
