"""What a data folder keeps from one start to the next, and what may have happened to it in between."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg

from orchestrator import embedded
from orchestrator.embedded.layout import Layout, Memory
from orchestrator.embedded.postgres import PostgresSpec
from tests.embedded.callers import launch, processes_of


def test_data_and_ports_are_kept(data_dir: Path) -> None:
    """A second start finds the first one's data on the same ports."""
    with embedded.start(data_dir) as first, psycopg.connect(first.dsn) as connection:
        connection.execute("CREATE TABLE kept (word text)")
    with embedded.start(data_dir) as second:
        assert (second.bootstrap, second.dsn) == (first.bootstrap, first.dsn)
        with psycopg.connect(second.dsn) as connection:
            assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
    assert not processes_of(data_dir)


def test_a_taken_port_is_replaced(data_dir: Path) -> None:
    """Another program on a remembered port costs the server its port, not its start."""
    with embedded.start(data_dir) as first:
        pass
    with listening_on(first.bootstrap), embedded.start(data_dir) as second:
        assert second.bootstrap != first.bootstrap
        assert second.dsn == first.dsn


def test_leftovers_are_stopped_and_strangers_spared(data_dir: Path) -> None:
    """After a crash, a server still running on the folder is ended; a stranger that got its process id isn't."""
    with embedded.start(data_dir) as servers:
        memory = Memory(**json.loads((servers.data_dir / "embedded.json").read_text()))
    layout = Layout(servers.data_dir)
    leftover = leave_a_database_running(layout, memory)
    stranger = subprocess.Popen([sys.executable, "-c", "input()", str(layout.kafka)], stdin=subprocess.PIPE)
    try:
        told: list[str] = []
        with embedded.start(data_dir, progress=told.append) as again:
            assert "stopped PostgreSQL 18, left by an earlier run" in told
            assert leftover.wait(30) == 0
            assert stranger.poll() is None
            psycopg.connect(again.dsn).close()
        pid_file = layout.postgres / "data" / "postmaster.pid"
        pid_file.write_text(f"{stranger.pid}\n{layout.postgres / 'data'}\n1\n1\n\n127.0.0.1\n1 1\nready\n")
        if os.geteuid() == 0:
            os.chown(pid_file, pid_file.parent.stat().st_uid, -1)
        with embedded.start(data_dir) as again:
            psycopg.connect(again.dsn).close()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.communicate()


def test_a_killed_guard_leaves_a_folder_that_starts_again(data_dir: Path) -> None:
    """Data committed before the guard was killed is there, whatever it left behind."""
    caller = launch(data_dir)
    with psycopg.connect(caller.dsn) as connection:
        connection.execute("CREATE TABLE kept (word text)")
    psutil.Process(caller.pids[0]).kill()
    caller.process.kill()
    caller.process.communicate()
    with embedded.start(data_dir) as servers, psycopg.connect(servers.dsn) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)


@contextmanager
def listening_on(address: str) -> Iterator[None]:
    """A foreign program on a port."""
    host, _, port = address.partition(":")
    with socket.create_server((host, int(port))):
        yield


def leave_a_database_running(layout: Layout, memory: Memory) -> subprocess.Popen[bytes]:
    """The folder as a killed guard leaves it where the kernel can't end the servers with it."""
    import asyncio

    layout.guard_file.write_text('{"pid": 1, "port": 1, "token": "gone"}')
    spec = PostgresSpec(layout, memory)
    asyncio.run(spec.prepare())
    process = spec.spawn()
    deadline_s = time.monotonic() + 30
    while not asyncio.run(spec.is_ready()):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    return process
