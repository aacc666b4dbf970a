"""Appointments to try things on, and their state as plain values."""

from datetime import UTC, datetime
from typing import Any

from orchestrator.distributions.appointment import APPOINTMENT
from orchestrator.distributions.appointment.state import AppointmentState
from tests.support.room import NOW_MS, RoomTest

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS


def at(hours: float) -> str:
    """So many hours from the beginning, as documents write it."""
    return datetime.fromtimestamp(NOW_MS / 1000 + hours * 3_600, UTC).isoformat()


def slot(id: str, hours: float, capacity: int = 1, length: float = 1) -> dict[str, Any]:
    return {"id": id, "starts_at": at(hours), "ends_at": at(hours + length), "capacity": capacity}


SLOTS = [slot("early", 5, 2), slot("late", 10, 1)]


class Bookings(RoomTest):
    """Two slots: `early` in five hours for two, `late` in ten for one; places are held ten minutes."""

    def __init__(self, **part: Any) -> None:
        super().__init__(APPOINTMENT, {"mechanism": "appointment", "slots": SLOTS, **part})

    def fire_due(self) -> None:
        """Everything that is due, as the engine would until nothing is."""
        for _ in range(1_000):
            armed = {} if self.state is None else dict(self.state.armed)
            due = [timer for timer, at_ms in armed.items() if at_ms <= self.now_ms]
            if not due:
                return
            for timer in due:
                self.fire(timer)
        raise AssertionError("timers never come to rest")

    def jti(self, who: str) -> str:
        return str(self.state.admissions.live[who].jti)

    def places(self, id: str) -> tuple[int, int, int, int]:
        """Held, booked, used, free."""
        places = self.state.slots[id]
        return places.held, places.booked, places.used, places.free


def plain(state: AppointmentState) -> dict[str, Any]:
    """All a state holds, comparable."""
    found = {
        n: getattr(state, n) for n in AppointmentState.__slots__ if n not in {"holds", "admissions", "slots"}
    }
    grants = state.admissions
    counts = (grants.granted, grants.redeemed, grants.expired, grants.revoked, grants.held)
    slots = {id: (p.slot, p.held, p.booked, p.used) for id, p in state.slots.items()}
    holds = {who: state.holds.get(who) for who in state.held}
    return {**found, "live": grants.live, "counts": counts, "slots": slots, "holds": holds}
