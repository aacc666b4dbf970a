import os
import signal
from pathlib import Path

import psycopg
import pytest

from orchestrator import embedded
from tests.embedded.callers import await_that, launch, launch_unready, running


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


def test_a_folder_in_use_is_refused(data_dir: Path) -> None:
    """Who wants the servers for himself is told who has them, and that one is left alone."""
    with embedded.start(data_dir) as servers:
        with pytest.raises(embedded.EmbeddedError, match=f"in use by process {os.getpid()}"):
            embedded.start(data_dir)
        with pytest.raises(embedded.EmbeddedError, match="in use by process"):
            embedded.shared(data_dir)
        psycopg.connect(servers.dsn).close()


def test_a_newcomer_finds_a_crashed_server_running_again(data_dir: Path) -> None:
    """A server that died by itself is started again for whoever joins next."""
    with embedded.shared(data_dir) as first:
        crashed = first.postgres.pid
        assert crashed is not None
        os.kill(crashed, signal.SIGKILL)
        await_that(lambda: first.postgres.pid is None, "the crash is noticed")
        with embedded.shared(data_dir) as second:
            psycopg.connect(second.dsn).close()
            assert second.postgres.pid not in {None, crashed}


def test_a_stopped_handle_says_so(data_dir: Path) -> None:
    """Using servers after stopping them fails with what to do, and stopping twice is harmless."""
    servers = embedded.start(data_dir)
    servers.stop()
    servers.stop()
    with pytest.raises(embedded.EmbeddedError, match="start them again"):
        servers.kafka.restart()
