"""A waitlist to try things on, and its state as plain values."""

from typing import Any

from orchestrator.distributions.waitlist import WAITLIST
from orchestrator.distributions.waitlist.state import WaitlistState
from tests.support.room import RoomTest

MINUTE_MS = 60_000


class List(RoomTest):
    """A waitlist whose offers stand half an hour."""

    def __init__(self, **part: Any) -> None:
        super().__init__(WAITLIST, {"mechanism": "waitlist", "offer": {"valid": "30m"}, **part})

    def fire_due(self) -> None:
        """Everything that is due, as the engine would until nothing is."""
        for _ in range(1_000):
            if self.state is None or not any(self.fire(timer) for timer in list(self.state.armed)):
                due = [at for at in (self.state.armed if self.state else {}).values() if at <= self.now_ms]
                if not due:
                    return
        raise AssertionError("timers never come to rest")

    @property
    def waiting(self) -> list[str]:
        return self.state.first(10_000)

    @property
    def offered(self) -> dict[str, int]:
        return {who: self.state.offers.get(who) for who in self.state.tickets if who in self.state.offers}


def plain(state: WaitlistState) -> dict[str, Any]:
    """All a state holds, comparable."""
    found = {n: getattr(state, n) for n in WaitlistState.__slots__ if n not in {"order", "offers"}}
    offers = {who: state.offers.get(who) for who in state.tickets}
    return {**found, "order": list(state.order), "offers": offers}
