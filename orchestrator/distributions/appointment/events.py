"""What happens with appointments. Times are ms of lane time.

A booking is a grant (`Granted`, `GrantReplaced`) and says its slot in `SlotBooked`; it ends as the grant does: returned or
revoked its place is free again, redeemed or expired the place was used.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from orchestrator.core.events import Event, Told
from orchestrator.distributions.admissions import ADMISSION_EVENTS
from orchestrator.distributions.appointment.config import AppointmentConfig, Slot
from orchestrator.distributions.base import Room
from orchestrator.distributions.told import ParticipantLeft, ParticipantsDismissed, StandingTold, TimesOver


class AppointmentsPrepared(Event, frozen=True):
    """The appointments exist, with all slots and rules."""

    NAME: ClassVar[str] = "appointment.prepared.v1"
    room: Room
    config: AppointmentConfig
    at_ms: int


class AppointmentsConfigured(Event, frozen=True):
    """An operator changed slots or rules; nobody lost a place by it."""

    NAME: ClassVar[str] = "appointment.configured.v1"
    room: Room
    config: AppointmentConfig
    at_ms: int


class AppointmentsOpened(Event, frozen=True):
    """Booking is possible from now on: the opening came, or an operator opened, or opened again, before it."""

    NAME: ClassVar[str] = "appointment.opened.v1"
    room: Room
    at_ms: int


class AppointmentsPaused(Event, frozen=True):
    """Nobody holds or books until it is resumed; cancelling and visiting go on."""

    NAME: ClassVar[str] = "appointment.paused.v1"
    room: Room
    at_ms: int


class AppointmentsResumed(Event, frozen=True):
    """Booking goes on."""

    NAME: ClassVar[str] = "appointment.resumed.v1"
    room: Room
    at_ms: int


class AppointmentsClosed(Event, frozen=True):
    """Nobody books any more, and what is only held is given back; bookings stay good."""

    NAME: ClassVar[str] = "appointment.closed.v1"
    room: Room
    at_ms: int
    reason: str


class SlotHeld(Event, frozen=True):
    """A place is held until `expires_ms`, in exchange for one held before."""

    NAME: ClassVar[str] = "appointment.slot_held.v1"
    TELLS: ClassVar[bool] = True
    room: Room
    participant: str
    ticket: int
    slot: Slot
    expires_ms: int
    at_ms: int

    def tells(self) -> Sequence[Told]:
        told = {
            "participation": f"{self.room.distribution}-{self.ticket}",
            "phase": "held",
            "expires_ms": self.expires_ms,
            **_shown(self.slot),
        }
        return (self.room.told(self.participant, "entered", self.at_ms, **told),)


class HoldLeft(ParticipantLeft, frozen=True):
    """Somebody gave back a place that was held for them."""

    NAME: ClassVar[str] = "appointment.hold_left.v1"


class HoldsExpired(TimesOver, frozen=True):
    """These didn't book in time; their places are free."""

    NAME: ClassVar[str] = "appointment.holds_expired.v1"
    WHAT: ClassVar[str] = "hold"


class HoldsDismissed(ParticipantsDismissed, frozen=True):
    """It is closed for these, for whom a place was held."""

    NAME: ClassVar[str] = "appointment.holds_dismissed.v1"


class SlotBooked(Event, frozen=True):
    """The grant before this event is for this slot, in exchange for a place held or booked before."""

    NAME: ClassVar[str] = "appointment.slot_booked.v1"
    TELLS: ClassVar[bool] = True
    room: Room
    participant: str
    slot: Slot
    at_ms: int

    def tells(self) -> Sequence[Told]:
        told = {"phase": "booked", **_shown(self.slot)}
        return (self.room.told(self.participant, "updated", self.at_ms, **told),)


class BookingRepeated(Event, frozen=True):
    """Somebody asked for what they have booked: they are told it again."""

    NAME: ClassVar[str] = "appointment.booking_repeated.v1"
    TELLS: ClassVar[bool] = True
    room: Room
    participant: str
    slot: Slot
    jti: str
    expires_ms: int
    at_ms: int

    def tells(self) -> Sequence[Told]:
        grant = {"jti": self.jti, "expires_ms": self.expires_ms, "quantity": 1}
        return (self.room.told(self.participant, "admitted", self.at_ms, **grant, **_shown(self.slot)),)


class AppointmentTold(StandingTold, frozen=True):
    """Somebody asked how things stand."""

    NAME: ClassVar[str] = "appointment.told.v1"


def _shown(slot: Slot) -> dict[str, Any]:
    return {"slot": slot.id, "starts_at_ms": slot.starts_ms, "ends_at_ms": slot.ends_ms}


APPOINTMENT_EVENTS: Final[tuple[type[Event], ...]] = (
    AppointmentsPrepared,
    AppointmentsConfigured,
    AppointmentsOpened,
    AppointmentsPaused,
    AppointmentsResumed,
    AppointmentsClosed,
    SlotHeld,
    HoldLeft,
    HoldsExpired,
    HoldsDismissed,
    SlotBooked,
    BookingRepeated,
    AppointmentTold,
    *ADMISSION_EVENTS,
)
