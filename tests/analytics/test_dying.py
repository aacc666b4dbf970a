import asyncio
import contextlib
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from orchestrator.engine.lane import Lane
from orchestrator.engine.store import LaneStore
from projections.analytics import parquet_files
from projections.analytics.parquet import Parquet
from tests.analytics.scenes import assert_each_once, caught_up, live_through, small_sink
from tests.support.lanes import Installation

REPOSITORY = Path(__file__).parents[2]


class Died(BaseException):
    """The process ended here: nobody cleans up."""


def die(*_args: object, **_options: object) -> None:
    raise Died


def half(_table: Any, file: Any, **_options: object) -> None:
    file.write(b"PAR1 and no more")
    file.flush()
    raise Died


def after(call: Callable[..., Any]) -> Callable[..., Any]:
    def and_die(*args: Any, **options: Any) -> Any:
        call(*args, **options)
        raise Died

    return and_die


class Second:
    """A function that ends the process when it is called again."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self.call = call
        self.calls = 0

    def make(self) -> Callable[..., Any]:
        self.calls = 0

        def die_at_the_second(*args: Any, **options: Any) -> Any:
            self.calls += 1
            if self.calls == 2:
                raise Died
            return self.call(*args, **options)

        return die_at_the_second


DEATHS: dict[str, tuple[Any, str, Any]] = {
    "reading the position": (LaneStore, "positions", die),
    "reading the log": (Lane, "read_log", die),
    "before the claim": (LaneStore, "move", die),
    "after the claim": (LaneStore, "move", after(LaneStore.move)),
    "making the folder": (parquet_files, "_make_folder", after(parquet_files._make_folder)),
    "in the middle of the file": (pq, "write_table", half),
    "before it is on the disk": (os, "fsync", die),
    "before it has its name": (Path, "replace", die),
    "before its name is on the disk": (parquet_files, "_sync_folder", Second(parquet_files._sync_folder)),
    "after it has its name": (Path, "replace", after(Path.replace)),
    "between two days": (Path, "replace", Second(Path.replace)),
}


@pytest.mark.parametrize("place", DEATHS)
async def test_dying_anywhere_loses_and_doubles_nothing(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Wherever the process ends, at its first start or at a later one, the next owner completes the folder."""
    for _ in range(3):  # dies with new rows, then while repairing what the death before left, then again
        harness = await installation.lane()
        await live_through(harness, 30, days=2)
        with monkeypatch.context() as dying:
            target, name, fatal = DEATHS[place]
            dying.setattr(target, name, fatal.make() if isinstance(fatal, Second) else fatal)
            dying.setattr(Path, "unlink", lambda *_a, **_o: None)  # the dead clean nothing up
            sink = small_sink(harness, tmp_path)
            with contextlib.suppress(Died):
                await asyncio.wait_for(sink.run(), 30)
    harness = await installation.lane()
    sink = small_sink(harness, tmp_path)
    async with harness.following(sink):
        await live_through(harness, 30)
        await caught_up(harness, sink)
    assert_each_once(tmp_path, harness.lane.position)


async def test_killed_processes_leave_each_row_once(installation: Installation, tmp_path: Path) -> None:
    """A process killed at any moment, again and again, leaves a folder that the next one completes."""
    chance = random.Random(20)
    first = await installation.lane()
    for _ in range(4):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.analytics.victim", installation.settings.database_url, str(tmp_path),
            cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        try:
            for _ in range(chance.randrange(5, 25)):  # it says so whenever it has committed
                assert await asyncio.wait_for(process.stdout.readline(), 60)
            await asyncio.sleep(chance.random() * 0.05)
        finally:
            os.kill(process.pid, signal.SIGKILL)
            await process.communicate()
    assert first.lane.position == 0
    harness = await installation.lane()
    assert harness.lane.position > 100
    sink = Parquet(harness.lane, tmp_path, wait_s=0.05)
    async with harness.following(sink):
        await live_through(harness, 30)
        await caught_up(harness, sink)
    assert_each_once(tmp_path, harness.lane.position)
