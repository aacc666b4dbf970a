import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from orchestrator.core.errors import ConfigurationError
from orchestrator.supervisor import Child, Supervisor
from tests.cli.calling import ROOT

WITHIN_S = 30
CHILD = "tests.cli.child"


def child(tmp_path: Path, *behaviour: str) -> Child:
    """A process that writes its pid to `lives` each time it starts, then does as told."""
    return Child("child", (CHILD, str(tmp_path / "lives"), *behaviour))


def lives(tmp_path: Path) -> list[int]:
    path = tmp_path / "lives"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


async def until(condition) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not condition():
            await asyncio.sleep(0.02)


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.fixture
def told() -> list[str]:
    return []


async def test_a_killed_child_is_started_again(tmp_path, told) -> None:
    """A worker that is killed comes back as another process, with waits that grow."""
    supervisor = Supervisor([child(tmp_path, "stay")], tell=told.append, backoff_first_s=0.05)
    running = asyncio.create_task(supervisor.run())
    for count in (1, 2, 3):
        await until(lambda count=count: len(lives(tmp_path)) == count)
        os.kill(lives(tmp_path)[-1], signal.SIGKILL)
    await until(lambda: len(lives(tmp_path)) == 4)
    supervisor.stop()
    await asyncio.wait_for(running, WITHIN_S)
    again = [line for line in told if "again in" in line]
    assert [line.rsplit("in ", 1)[1] for line in again] == ["0.05 s", "0.1 s", "0.2 s"]
    assert "SIGKILL" in again[0]
    assert all(gone(pid) for pid in lives(tmp_path))


async def test_a_configuration_error_is_not_repeated(tmp_path, told) -> None:
    """A child that ends with 78 ends everything: starting it again would say the same, and its neighbour stops too."""
    children = [child(tmp_path, "exit", "78"), Child("other", (CHILD, str(tmp_path / "other"), "stay"))]
    supervisor = Supervisor(children, tell=told.append, backoff_first_s=0.05)
    with pytest.raises(ConfigurationError, match="child"):
        await asyncio.wait_for(supervisor.run(), WITHIN_S)
    assert len(lives(tmp_path)) == 1
    assert supervisor.pids == {}


async def test_a_child_that_is_done_is_not_started_again(tmp_path, told) -> None:
    """Ending with 0 is no accident."""
    await asyncio.wait_for(Supervisor([child(tmp_path, "exit", "0")], tell=told.append).run(), WITHIN_S)
    assert len(lives(tmp_path)) == 1


async def test_a_child_that_ignores_the_request_is_killed(tmp_path, told, monkeypatch) -> None:
    """Stopping ends within a bound, even with a child that hangs."""
    monkeypatch.setattr("orchestrator.supervisor._STOP_WITHIN_S", 0.3)
    supervisor = Supervisor([child(tmp_path, "ignore")], tell=told.append)
    running = asyncio.create_task(supervisor.run())
    await until(lambda: len(lives(tmp_path)) == 1)
    supervisor.stop()
    await asyncio.wait_for(running, WITHIN_S)
    assert gone(lives(tmp_path)[0])


async def test_cancelling_leaves_no_child(tmp_path, told) -> None:
    """However supervision ends, its children have ended before."""
    supervisor = Supervisor([child(tmp_path, "stay")], tell=told.append)
    running = asyncio.create_task(supervisor.run())
    await until(lambda: len(lives(tmp_path)) == 1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert gone(lives(tmp_path)[0])


def test_children_end_with_a_killed_parent(tmp_path) -> None:
    """A supervisor that is killed can't stop its children: they notice and stop by themselves."""
    program = (
        "import asyncio; from orchestrator.supervisor import Child, Supervisor;"
        f"asyncio.run(Supervisor([Child('c', ({CHILD!r}, {str(tmp_path / 'lives')!r}, 'stay'))], tell=print).run())"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        deadline_s = time.monotonic() + WITHIN_S
        while not lives(tmp_path) and time.monotonic() < deadline_s:
            time.sleep(0.02)
        (pid,) = lives(tmp_path)
    finally:
        parent.kill()
        parent.wait()
    try:
        while not gone(pid) and time.monotonic() < deadline_s:
            time.sleep(0.02)
        assert gone(pid)
    finally:
        if not gone(pid):  # failing, too, the test leaves nothing behind
            os.kill(pid, signal.SIGKILL)
