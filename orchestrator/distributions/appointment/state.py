"""Appointments as their events made them. Mutable: only `evolve` changes them, and decisions read."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from orchestrator.core.events import Event
from orchestrator.distributions import admissions as grants
from orchestrator.distributions.admissions import Admissions
from orchestrator.distributions.appointment import events as happened
from orchestrator.distributions.appointment.config import AppointmentConfig, Slot
from orchestrator.distributions.base import Room
from orchestrator.distributions.deadlines import Deadlines
from orchestrator.distributions.turn import keep_armed

SCHEDULED, OPEN, CLOSED = "scheduled", "open", "closed"


class Places:
    """The places of one slot: held + booked + used + free = capacity, always."""

    __slots__ = ("booked", "held", "slot", "used")

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self.held = self.booked = self.used = 0

    @property
    def taken(self) -> int:
        return self.held + self.booked + self.used

    @property
    def free(self) -> int:
        return self.slot.capacity - self.taken


class AppointmentState:
    """Slots with their places, and which slot each participant holds or has booked."""

    __slots__ = (
        "admissions", "armed", "booked", "close_reason", "closed", "config", "held", "holds", "opened", "paused",
        "room", "slots", "tickets", "visited",
    )  # fmt: skip

    def __init__(self, room: Room, config: AppointmentConfig) -> None:
        self.room = room
        self.config = config
        self.opened = self.paused = self.closed = False
        self.close_reason = ""
        self.slots = {slot.id: Places(slot) for slot in config.slots}
        self.held: dict[str, tuple[str, int]] = {}  # slot and ticket by participant
        self.holds = Deadlines()
        self.booked: dict[str, str] = {}  # slot by participant, of live grants
        self.visited: set[str] = set()
        self.tickets = 0  # given out
        self.admissions = Admissions()
        self.armed: dict[str, int] = {}

    def phase(self, now_ms: int) -> str:
        """How things stand at a lane time."""
        if self.closed:
            return CLOSED
        return OPEN if self.opened or self.config.opens_ms <= now_ms else SCHEDULED

    def slot_of(self, participant: str) -> Slot | None:
        """The slot somebody holds or has booked."""
        held = self.held.get(participant)
        id = self.booked.get(participant) if held is None else held[0]
        return None if id is None else self.slots[id].slot


def evolve(state: AppointmentState | None, event: Event) -> AppointmentState | None:
    """The state after an event, changed in place."""
    if isinstance(event, happened.AppointmentsPrepared):
        return AppointmentState(event.room, event.config)
    if state is not None and not keep_armed(state.armed, event):
        state.admissions.evolve(event)
        step = _STEPS.get(type(event))
        if step is not None:
            step(state, event)
    return state


def _configured(state: AppointmentState, event: happened.AppointmentsConfigured) -> None:
    state.config, before = event.config, state.slots
    state.slots = {slot.id: before.get(slot.id) or Places(slot) for slot in event.config.slots}
    for slot in event.config.slots:
        state.slots[slot.id].slot = slot


def _opened(state: AppointmentState, _event: Event) -> None:
    state.opened, state.closed, state.close_reason = True, False, ""


def _paused(state: AppointmentState, _event: Event) -> None:
    state.paused = True


def _resumed(state: AppointmentState, _event: Event) -> None:
    state.paused = False


def _closed(state: AppointmentState, event: happened.AppointmentsClosed) -> None:
    state.closed, state.close_reason = True, event.reason


def _held(state: AppointmentState, event: happened.SlotHeld) -> None:
    if event.participant in state.held:
        _release(state, (event.participant,))
    state.held[event.participant] = (event.slot.id, event.ticket)
    state.holds.set(event.participant, event.expires_ms)
    state.slots[event.slot.id].held += 1
    state.tickets = max(state.tickets, event.ticket)


def _hold_left(state: AppointmentState, event: happened.HoldLeft) -> None:
    _release(state, (event.participant,))


def _holds_over(state: AppointmentState, event: happened.HoldsExpired | happened.HoldsDismissed) -> None:
    _release(state, event.participants)


def _booked(state: AppointmentState, event: happened.SlotBooked) -> None:
    if event.participant in state.held:
        _release(state, (event.participant,))
    if event.participant in state.booked:
        state.slots[state.booked[event.participant]].booked -= 1
    state.booked[event.participant] = event.slot.id
    state.slots[event.slot.id].booked += 1


def _given_back(state: AppointmentState, event: grants.GrantRevoked | grants.GrantReturned) -> None:
    state.slots[state.booked.pop(event.participant)].booked -= 1


def _redeemed(state: AppointmentState, event: grants.GrantRedeemed) -> None:
    _use(state, event.participant)
    state.visited.add(event.participant)


def _missed(state: AppointmentState, event: grants.GrantsExpired) -> None:
    for grant in event.grants:
        _use(state, grant.participant)


def _use(state: AppointmentState, participant: str) -> None:
    places = state.slots[state.booked.pop(participant)]
    places.booked -= 1
    places.used += 1


def _release(state: AppointmentState, participants: Sequence[str]) -> None:
    for who in participants:
        slot, _ = state.held.pop(who)
        state.slots[slot].held -= 1
        state.holds.drop(who)


_STEPS: Final[dict[type[Event], Callable[[AppointmentState, Any], None]]] = {
    happened.AppointmentsConfigured: _configured,
    happened.AppointmentsOpened: _opened,
    happened.AppointmentsPaused: _paused,
    happened.AppointmentsResumed: _resumed,
    happened.AppointmentsClosed: _closed,
    happened.SlotHeld: _held,
    happened.HoldLeft: _hold_left,
    happened.HoldsExpired: _holds_over,
    happened.HoldsDismissed: _holds_over,
    happened.SlotBooked: _booked,
    grants.GrantRevoked: _given_back,
    grants.GrantReturned: _given_back,
    grants.GrantRedeemed: _redeemed,
    grants.GrantsExpired: _missed,
}
