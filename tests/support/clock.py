"""The lanes' clock, set off by a test: days pass in seconds, on real servers."""

import pytest

from consumers.commands import lane_runner
from orchestrator.engine.store import LaneStore


class Clock:
    """PostgreSQL's clock as lanes of this process see it, set off by some time; the broker's goes on as it does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead_ms = 0
        real = LaneStore.clock_ms
        monkeypatch.setattr(LaneStore, "clock_ms", lambda store: real(store) + self.ahead_ms)
        monkeypatch.setattr(lane_runner, "_CLOCK_EVERY_S", 0.0)
