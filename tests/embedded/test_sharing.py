import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from orchestrator import embedded
from tests.embedded.callers import await_that, launch, launch_unready, running
from tests.support.servers import make_folder, remove_folder


@pytest.fixture(scope="module")
def joined() -> Iterator[embedded.Servers]:
    """A pair that tests may join and leave."""
    folder = make_folder()
    with embedded.shared(folder / "data") as servers:
        yield servers
    remove_folder(folder)


def test_the_last_one_out_stops_the_servers(data_dir: Path) -> None:
    """Several processes use one pair; it runs while any of them does, and stops with the last."""
    first = launch(data_dir, how="shared", ending="stop")
    second = launch(data_dir, how="shared", ending="stop")
    assert (first.bootstrap, first.dsn, first.pids) == (second.bootstrap, second.dsn, second.pids)
    first.finish()
    assert running(second.pids) == second.pids
    psycopg.connect(second.dsn).close()
    second.finish()
    assert running(second.pids) == []


def test_sharers_survive_the_death_of_the_one_who_started(data_dir: Path) -> None:
    """The process that happened to start the servers may be killed; the others keep them."""
    first = launch(data_dir, how="shared")
    with embedded.shared(data_dir) as servers:
        os.killpg(first.process.pid, signal.SIGKILL)
        first.process.communicate()
        with psycopg.connect(servers.dsn) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert [servers.kafka.pid, servers.postgres.pid] == first.pids[1:]
    await_that(lambda: not running(first.pids), "the last one out stopped them")


def test_starters_at_the_same_time_get_the_same_pair(data_dir: Path) -> None:
    """Processes that race to start a folder's servers end up sharing one pair."""
    processes = [launch_unready(data_dir, how="shared", ending="stop") for _ in range(3)]
    lines = [process.stdout.readline() for process in processes if process.stdout is not None]
    assert len(set(lines)) == 1
    assert lines[0]
    for process in processes:
        process.communicate(timeout=60)


def test_a_folder_in_use_is_refused(joined: embedded.Servers) -> None:
    """Who wants the servers for himself is told who has them, and that one is left alone."""
    with pytest.raises(embedded.EmbeddedError, match=f"in use by process {os.getpid()}"):
        embedded.start(joined.data_dir)
    psycopg.connect(joined.dsn).close()


def test_secure_listeners_cannot_be_had_later(joined: embedded.Servers) -> None:
    """Who asks for encrypted listeners of a Kafka that runs without them is told so, not served in plain text."""
    with pytest.raises(embedded.EmbeddedError, match="runs without secure listeners"):
        embedded.shared(joined.data_dir, kafka_security=embedded.KafkaSecurity())


def test_a_newcomer_finds_a_crashed_server_running_again(joined: embedded.Servers) -> None:
    """A server that died by itself is started again for whoever joins next."""
    crashed = joined.postgres.pid
    assert crashed is not None
    os.kill(crashed, signal.SIGKILL)
    await_that(lambda: joined.postgres.pid is None, "the crash is noticed")
    with embedded.shared(joined.data_dir) as newcomer:
        psycopg.connect(newcomer.dsn).close()
        assert newcomer.postgres.pid not in {None, crashed}


def test_a_stopped_handle_says_so(joined: embedded.Servers) -> None:
    """Using servers after leaving them fails with what to do, leaving twice is harmless, and others keep theirs."""
    servers = embedded.shared(joined.data_dir)
    servers.stop()
    servers.stop()
    with pytest.raises(embedded.EmbeddedError, match="start them again"):
        servers.kafka.restart()
    assert joined.kafka.pid
