"""A draw to try things on: with its secret, its beacon, and steps that go as far as there is work."""

import secrets
from typing import Any

from orchestrator.core.events import Told
from orchestrator.distributions.draw import DRAW
from orchestrator.distributions.draw.proof import proof_of
from orchestrator.distributions.fairness import seeds
from orchestrator.distributions.fairness.checking import Report, check
from tests.support.room import NOW_MS, RoomTest

HOUR_MS = 3_600_000
BEACON = {
    "source": "example beacon",
    "round": 7,
    "at": "2023-11-15T00:00:00Z",
}  # after NOW_MS, within two hours
BEACON_MS = 1_700_006_400_000
VALUE = "ab" * 32


class Drawing(RoomTest):
    """`opened()`, `enter(...)`, `drawn()`: a draw as far as a test needs it."""

    def __init__(self, **part: Any) -> None:
        super().__init__(DRAW, {"winners": 2, "reserves": 2, "weight_max": 10, **part})
        self.secret = secrets.token_bytes(32)
        self.told: list[Told] = []

    def _decide(self, command: Any, source: str, command_id: str) -> list[Told]:
        told = super()._decide(command, source, command_id)
        self.told += told
        return told

    def commit(self, **more: Any) -> None:
        commitment = seeds.commitment(self.secret).hex()
        self.operate("commit", commitment=commitment, salt_key=secrets.token_hex(32), **more)

    def opened(self, *, beacon: dict[str, Any] | None = BEACON) -> "Drawing":
        self.commit(**({"beacon": beacon} if beacon else {}))
        self.operate("open")
        return self

    def enter(self, *names: str, **weights: int) -> "Drawing":
        for name in names:
            self.ask(name, "enter")
        for name, weight in weights.items():
            self.ask(name, "enter", attributes={"weight": weight})
        return self

    def tick(self, times: int = 1_000) -> list[Told]:
        """Fire the tick as often as there is work."""
        told: list[Told] = []
        for _ in range(times):
            if self.kind.deadline_ms(self.state, "tick") is None:
                break
            told += self.fire("tick")
        return told

    def sealed(self) -> "Drawing":
        self.operate("close")
        self.tick()
        return self

    def held(self) -> "Drawing":
        """Close, seal, beacon, draw; the ticks are left to do."""
        return self.sealed().revealed()

    def revealed(self) -> "Drawing":
        """Beacon and secret, for entries that are sealed."""
        if self.state.beacon is not None and not self.state.beacon_value:
            self.now_ms = max(self.now_ms, self.state.beacon.at_ms)
            self.operate("beacon", round=self.state.beacon.round, value=VALUE)
        self.operate("draw", secret=self.secret.hex())
        return self

    def drawn(self) -> list[Told]:
        """Everyone has been told; what they were told."""
        self.held()
        return self.tick()

    def later(self, ms: int) -> "Drawing":
        self.now_ms += ms
        return self

    def verified(self) -> Report:
        """The check of the proof that it exports now."""
        tickets = range(1, self.state.size + 1)
        report = check(proof_of(self.state, tickets))
        assert report.passed, report.findings
        return report


def who(told: list[Told], word: str) -> set[str]:
    """Who was told this."""
    return {t.stream.split("/")[2] for t in told if t.type == f"distribution.{word}"}


assert NOW_MS < BEACON_MS < NOW_MS + 2 * HOUR_MS
