"""`demo` and `up` as a person runs them: on embedded servers of their own, ended by a keystroke."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.calling import PROGRAM, ROOT, environment, processes_naming
from tests.support.servers import make_folder, remove_folder

pytestmark = [pytest.mark.xdist_group("cli-whole"), pytest.mark.timeout(400)]
WITHIN_S = 240


@pytest.fixture(scope="module")
def data() -> Iterator[Path]:
    """A data folder that these tests use one after another, as a person does."""
    folder = make_folder()
    yield folder / "data"
    remove_folder(folder)


class Running:
    """The program in a session of its own, as a terminal would start it."""

    def __init__(self, data: Path, *arguments: str) -> None:
        self.folder = data
        self.log = data.parent / "stderr.log"
        self.out = data.parent / "stdout.log"
        with self.log.open("wb") as err, self.out.open("wb") as out:
            self.process = subprocess.Popen(
                [*PROGRAM, *arguments],
                env=environment(ORCHESTRATOR_DATA_DIR=str(data), ORCHESTRATOR_SNAPSHOT_QUIET_MS="200"),
                cwd=ROOT,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def wait(self) -> int:
        try:
            return self.process.wait(WITHIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def until(self, condition) -> None:
        deadline_s = time.monotonic() + WITHIN_S
        while not condition():
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < deadline_s, self.log.read_text()[-3000:]
            time.sleep(0.1)

    def report(self) -> Any:
        assert self.wait() == 0, self.log.read_text()[-3000:]
        return json.loads(self.out.read_text())


def nothing_left(data: Path) -> bool:
    """No process of the run lives, after the moment a killed guard needs."""
    deadline_s = time.monotonic() + 60
    while processes_naming(str(data)) and time.monotonic() < deadline_s:
        time.sleep(0.1)
    assert processes_naming(str(data)) == []
    return True


def test_the_demo_tells_what_became_of_every_message(data: Path) -> None:
    """Each message is accounted for, a repeated run with the same seed is duplicates only, and the data is kept."""
    first = Running(data, "demo", "--commands", "3000", "--seed", "5", "-o", "json").report()
    assert first["published"] == 3000
    assert sum(row["commands"] for row in first["outcomes"]) + first["without_outcome"] == 3000
    outcomes = {(row["outcome"], row["duplicate"]): row["commands"] for row in first["outcomes"]}
    assert outcomes[("applied", False)] > 2500
    assert 90 < sum(count for (_, duplicate), count in outcomes.items() if duplicate) < 210
    letters = {row["reason"]: row["this_run"] for row in first["dead_letters"]}
    assert sum(letters.values()) == outcomes.get(("dead_lettered", False), 0) + first["without_outcome"] > 0
    assert {row["state"] for row in first["journeys"]} >= {"BROWSING", "CONSIDERATION", "ACTIVE_SUBSCRIBER"}
    assert 0 < first["append_to_outcome_p50_ms"] <= first["append_to_outcome_p99_ms"]

    second = Running(data, "demo", "--commands", "3000", "--seed", "5", "-o", "json").report()
    again = {(row["outcome"], row["duplicate"]): row["commands"] for row in second["outcomes"]}
    assert {duplicate for (outcome, duplicate) in again if outcome != "dead_lettered"} == {True}
    assert second["journeys"] == first["journeys"]
    assert {row["reason"]: row["in_all"] for row in second["dead_letters"]} == {
        r: 2 * n for r, n in letters.items()
    }
    assert nothing_left(data)


@pytest.mark.parametrize(
    ("number", "group", "code"), [(signal.SIGINT, True, 130), (signal.SIGTERM, False, 0)]
)
def test_an_ended_up_leaves_no_process(data: Path, number: signal.Signals, group: bool, code: int) -> None:
    """Ctrl-C (which reaches the whole group) and SIGTERM end servers and workers in order."""
    running = Running(data, "up", "--processes", "2", "-o", "json")
    running.until(running.out.read_text)
    shown = json.loads(running.out.read_text())
    assert len(shown["workers"]) == 2
    assert ":***@" in shown["database"]
    (os.killpg if group else os.kill)(running.process.pid, number)
    assert running.wait() == code, running.log.read_text()[-3000:]
    assert nothing_left(data)
    assert "Traceback" not in running.log.read_text()


def test_a_killed_worker_comes_back_under_up(data: Path) -> None:
    """`up` starts a dead worker again; killed itself, nothing of it stays behind."""
    running = Running(data, "up")
    running.until(lambda: "Ready." in running.log.read_text())
    (pid,) = worker_pids(running)
    os.kill(pid, signal.SIGKILL)
    running.until(lambda: len(worker_pids(running)) == 2)
    running.process.kill()
    running.wait()
    assert nothing_left(data)


def test_an_interrupted_demo_leaves_no_process(data: Path) -> None:
    """Ctrl-C in the middle of the traffic ends everything with 130."""
    worker_log = data / "logs" / "worker.log"
    worker_log.unlink(missing_ok=True)
    running = Running(data, "demo", "--commands", "2000000")
    running.until(lambda: worker_log.exists() and "dead letter" in worker_log.read_text())
    os.killpg(running.process.pid, signal.SIGINT)
    assert running.wait() == 130, running.log.read_text()[-3000:]
    assert nothing_left(data)


def worker_pids(running: Running) -> list[int]:
    lines = running.log.read_text().splitlines()
    return [int(line.rsplit("pid ", 1)[1].rstrip(")")) for line in lines if line.startswith("worker started")]
