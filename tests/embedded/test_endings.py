import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.embedded.callers import await_that, launch, launch_unready, processes_of, running

ENDINGS = (
    "normal exit",
    "ctrl-c",
    "sigkill",
    "guard killed",
    # The same way out as a normal exit and as SIGKILL, so `make test` leaves these starts to `make test-long`.
    pytest.param("exception", marks=pytest.mark.long),
    pytest.param("sigterm", marks=pytest.mark.long),
)


@pytest.mark.parametrize("ending", ENDINGS)
def test_no_process_outlives_its_caller(ending: str, data_dir: Path) -> None:
    """However the caller ends, and even if the guard is killed, the servers are gone soon after."""
    caller = launch(data_dir, ending={"normal exit": "exit", "exception": "error"}.get(ending, "wait"))
    group, guard = caller.process.pid, caller.pids[0]
    match ending:
        case "ctrl-c":
            assert group not in {os.getpgid(pid) for pid in caller.pids}  # Ctrl-C reaches the caller alone
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
    # Each way out is orderly for the database: no recovery awaits the next start.
    await_that(lambda: not (data_dir / "postgres" / "data" / "postmaster.pid").exists(), "an orderly end")
    assert "database system is shut down" in (data_dir / "logs" / "postgres.log").read_text()


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
