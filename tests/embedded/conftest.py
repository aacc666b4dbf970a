"""Fixtures of the local servers' own tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers import make_folder, remove_folder


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A data folder that doesn't exist yet, removed at the end."""
    folder = make_folder()
    yield folder / "data"
    remove_folder(folder)
