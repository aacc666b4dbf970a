import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.embedded.callers import await_that, launch, launch_unready, processes_of, running

ENDINGS = ("normal exit", "exception", "ctrl-c", "sigterm", "sigkill", "guard killed")


@pytest.mark.parametrize("ending", ENDINGS)
def test_no_process_outlives_its_caller(ending: str, data_dir: Path) -> None:
    """However the caller ends, and even if the guard is killed, the servers are gone soon after."""
    caller = launch(data_dir, ending={"normal exit": "exit", "exception": "error"}.get(ending, "wait"))
    group, guard = caller.process.pid, caller.pids[0]
    match ending:
        case "ctrl-c":
            os.killpg(group, signal.SIGINT)
        case "sigterm":
            os.killpg(group, signal.SIGTERM)
        case "sigkill":
            os.killpg(group, signal.SIGKILL)
        case "guard killed":
            os.kill(guard, signal.SIGKILL)
    if ending != "guard killed":
        caller.process.wait(30)
    await_that(lambda: not running(caller.pids), "guard, Kafka and PostgreSQL are gone")
    caller.process.kill()
    caller.process.communicate()
    await_that(lambda: not processes_of(data_dir), "no child of theirs is left")


def test_ctrl_c_spares_the_servers_until_the_caller_stops_them(data_dir: Path) -> None:
    """Servers aren't in the caller's process group: Ctrl-C reaches the caller, who stops them in order."""
    caller = launch(data_dir)
    assert not {os.getpgid(pid) for pid in caller.pids} & {os.getpgid(caller.process.pid), os.getpgid(0)}
    os.killpg(caller.process.pid, signal.SIGINT)
    caller.process.communicate()
    await_that(lambda: not running(caller.pids), "the servers are gone")
    assert "database system is shut down" in (data_dir / "logs" / "postgres.log").read_text()
    assert not (data_dir / "postgres" / "data" / "postmaster.pid").exists()


def test_ctrl_c_during_the_start_leaves_nothing(data_dir: Path) -> None:
    """An impatient Ctrl-C while the servers are still starting ends them too."""
    process = launch_unready(data_dir)
    await_that(lambda: bool(_servers_of(data_dir)), "a server is starting")
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    await_that(lambda: not processes_of(data_dir), "nothing is left")


def _servers_of(data_dir: Path) -> list[int]:
    own = [pid for pid in processes_of(data_dir) if psutil.pid_exists(pid)]
    return [pid for pid in own if Path(psutil.Process(pid).exe()).name in {"java", "postgres", "initdb"}]
