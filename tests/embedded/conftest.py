"""Fixtures of the local servers' own tests."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.embedded.callers import processes_of
from tests.support.servers import make_folder, remove_folder


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A data folder that doesn't exist yet, removed at the end with all who still use it."""
    folder = make_folder()
    yield folder / "data"
    for pid in processes_of(folder):  # none, unless the test failed halfway
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    remove_folder(folder)
