"""An installation of the test's own, in this process."""

from collections.abc import AsyncIterator

import pytest

from orchestrator import embedded
from tests.support.world import World, world


@pytest.fixture
async def one(servers: embedded.Servers, database: str, topic_prefix: str) -> AsyncIterator[World]:
    """Two lanes and the toy's definition; the worker is the test's to start."""
    async with world(servers.bootstrap, database, topic_prefix) as made:
        made.publish()
        yield made
