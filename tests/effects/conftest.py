"""Topics of one test on the run's Kafka."""

import pytest

from orchestrator.embedded import Servers
from tests.effects.bus import Bus


@pytest.fixture
async def bus(servers: Servers, topic_prefix: str) -> Bus:
    made = Bus(topic_prefix, servers.bootstrap)
    await made.make()
    return made
