"""Each thing that can be wrong is told with its place and its cure."""

import contextlib
import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from orchestrator import embedded
from orchestrator.core.errors import OrchestratorError
from orchestrator.embedded import EmbeddedError
from orchestrator.embedded.errors import from_os_error
from orchestrator.embedded.layout import Memory, open_layout, read_memory, write_memory
from orchestrator.embedded.logs import LogMark
from orchestrator.embedded.ports import choose_port, is_free
from tests.embedded.callers import REPOSITORY, listening_on, processes_of


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("layout_version", 99, "layout 99"),
        ("postgres_major", 17, "PostgreSQL 17"),
        ("kafka_version", "9.0.0", "Kafka 9.0.0"),
    ],
)
def test_data_of_another_version_is_refused(data_dir: Path, field: str, value: object, told: str) -> None:
    """A folder written by a release that this one can't read is left untouched, and both versions are named."""
    layout = open_layout(data_dir)
    memory = Memory(kafka_version="4.3.0")
    setattr(memory, field, value)
    write_memory(layout, memory)
    before = layout.memory_file.read_bytes()
    with pytest.raises(EmbeddedError) as refused:
        embedded.start(data_dir)
    for part in (str(layout.root), told, "choose another data folder"):
        assert part in str(refused.value)
    assert layout.memory_file.read_bytes() == before
    assert not processes_of(data_dir)


def test_a_cluster_of_another_version_is_refused(data_dir: Path) -> None:
    """Database files of another major version are refused with both versions, and the started Kafka is stopped."""
    layout = open_layout(data_dir)
    data = layout.postgres / "data"
    data.mkdir(mode=0o700)
    (data / "PG_VERSION").write_text("16\n")
    with pytest.raises(EmbeddedError, match=r"PostgreSQL 16; this release runs 18"):
        embedded.start(data_dir)
    assert not processes_of(data_dir)


def test_a_damaged_memory_is_named(data_dir: Path) -> None:
    """A memory file that can't be read is named, not overwritten: it holds the database's password."""
    layout = open_layout(data_dir)
    layout.memory_file.write_text('{"layout_version": 1, "cluster')
    with pytest.raises(EmbeddedError, match=r"embedded\.json is damaged"):
        read_memory(layout, "4.3.0")
    assert layout.memory_file.read_text() == '{"layout_version": 1, "cluster'


def test_an_older_kafka_is_carried_on(data_dir: Path) -> None:
    """Data of an older Kafka is taken over by a newer one."""
    layout = open_layout(data_dir)
    write_memory(layout, Memory(kafka_version="4.2.1", kafka_formatted=True))
    assert read_memory(layout, "4.3.0").kafka_formatted


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A data folder under a file, or with a path that Kafka can't take, is refused by name."""
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddedError, match=str(tmp_path / "file")):
        open_layout(tmp_path / "file" / "data")
    with pytest.raises(EmbeddedError, match="comma"):
        open_layout(tmp_path / "a,b")


def test_a_full_disk_is_told_apart(tmp_path: Path) -> None:
    """A write that fails for want of space names the place and says to make room."""
    with pytest.raises(OSError, match="space") as full, Path("/dev/full").open("w") as device:
        device.write("x" * 100_000)
    told = str(from_os_error(full.value, "writing", tmp_path))
    assert f"disk is full while writing in {tmp_path}" in told
    assert "make room" in told


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small filesystem")
def test_a_start_on_a_full_disk_says_so_and_works_once_there_is_room(data_dir: Path) -> None:
    """On a full disk neither a restart nor a first start hangs or hides why; with room again, all data is there."""
    with small_filesystem(data_dir.parent / "small") as small:
        filling = small / "filling"
        with embedded.start(small / "data") as servers:
            with psycopg.connect(servers.dsn) as connection:
                connection.execute("CREATE TABLE kept AS SELECT repeat('x', 1000) FROM generate_series(1, 9)")
            servers.postgres.kill()
            fill(filling)
            with pytest.raises(EmbeddedError, match=r"disk is full .* make room"):
                servers.postgres.start()
            with pytest.raises(EmbeddedError, match=r"disk is full .* make room"):
                embedded.start(small / "other")
            filling.unlink()
            servers.postgres.start()
            with psycopg.connect(servers.dsn) as connection:
                assert connection.execute("SELECT count(*) FROM kept").fetchone() == (9,)


@contextlib.contextmanager
def small_filesystem(place: Path) -> Iterator[Path]:
    """A filesystem of 120 MB in memory."""
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=120m,mode=0711", "tmpfs", str(place)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"this container may not mount: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def fill(file: Path) -> None:
    """Write until nothing more fits."""
    with file.open("wb", buffering=0) as out, contextlib.suppress(OSError):
        while True:
            out.write(bytes(4096))


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_forbidden_folder_is_told_apart(tmp_path: Path, number: int) -> None:
    """A write that the system forbids names the place and what right is missing."""
    told = str(from_os_error(OSError(number, os.strerror(number)), "writing", tmp_path))
    assert f"no right to write while writing in {tmp_path}" in told


def test_what_a_failed_server_said_is_quoted(tmp_path: Path) -> None:
    """The trouble of this run is quoted from the log, not that of an earlier one, and a full disk is recognised."""
    log = tmp_path / "server.log"
    log.write_text("ERROR: of an earlier run\n")
    mark = LogMark(log)
    log.open("a").write("INFO starting\nFATAL: could not write: No space left on device\nINFO over\n")
    words = mark.last_words()
    assert words.startswith("FATAL: could not write")
    assert "earlier" not in words
    assert str(log) in words
    assert "disk is full" in words


def test_ports_are_chosen_free_and_apart() -> None:
    """A chosen port is free, below the range of outgoing connections, and none of those to avoid."""
    port = choose_port()
    assert 1024 < port < 32_768
    with listening_on(f"127.0.0.1:{port}"):
        assert not is_free(port)
    assert choose_port(avoid=range(1, 25_000)) >= 25_000


@pytest.mark.parametrize("heap", ["lots", "64"])
def test_a_heap_that_cannot_be_is_refused(data_dir: Path, monkeypatch: pytest.MonkeyPatch, heap: str) -> None:
    """A heap setting that no broker could start with is refused before anything starts."""
    monkeypatch.setenv("ORCHESTRATOR_KAFKA_HEAP_MB", heap)
    with pytest.raises(EmbeddedError, match="ORCHESTRATOR_KAFKA_HEAP_MB"):
        embedded.start(data_dir)


def test_a_broker_that_dies_at_its_start_is_quoted(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A Java that can't run the broker ends the start with its own last words, and PostgreSQL is stopped again."""
    launcher = tmp_path / "bin" / "java"
    launcher.parent.mkdir()
    launcher.write_text("#!/bin/sh\necho 'Error: no such virtual machine'\nexit 3\n")
    launcher.chmod(0o755)
    (tmp_path / "release").write_text('JAVA_VERSION="21.0.1"\n')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(EmbeddedError, match="no such virtual machine"):
        embedded.start(data_dir)
    assert not processes_of(data_dir)


def test_errors_share_the_product_s_base() -> None:
    """Whoever handles the product's errors handles these."""
    assert issubclass(EmbeddedError, OrchestratorError)


def test_the_up_command_fails_in_one_line(tmp_path: Path) -> None:
    """`up` on an impossible folder prints one line of error and exits 1."""
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-m", "orchestrator.embedded", "up", "--data", str(tmp_path / "file" / "data")]
    failed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: ")
    assert failed.stderr.count("\n") == 1
