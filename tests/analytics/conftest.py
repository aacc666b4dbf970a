"""Fixtures of the sinks' tests."""

from collections.abc import Iterator

import pytest

from tests.support.lanes import Installation


@pytest.fixture
def installation(database: str) -> Iterator[Installation]:
    made = Installation(database)
    yield made
    made.close()
