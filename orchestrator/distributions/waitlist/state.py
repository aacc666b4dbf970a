"""A waitlist as its events made it. Mutable: only `evolve` changes it, and decisions read it."""

from collections.abc import Callable
from typing import Any, Final

from orchestrator.core.events import Event
from orchestrator.distributions.base import Room
from orchestrator.distributions.deadlines import Deadlines
from orchestrator.distributions.turn import keep_armed
from orchestrator.distributions.waitlist import events as happened
from orchestrator.distributions.waitlist.config import WaitlistConfig
from orchestrator.distributions.waitlist.order import Order

SCHEDULED, OPEN, DRAINING, CLOSED = "scheduled", "open", "draining", "closed"


class WaitlistState:
    """Who waits in which order, who holds an offer, and where the promised places are.

    promised = claimed + offers that stand + free, always.
    """

    __slots__ = (
        "armed",
        "claimed",
        "close_reason",
        "closed",
        "config",
        "draining",
        "free",
        "names",
        "offers",
        "opened",
        "order",
        "paused",
        "promised",
        "room",
        "tickets",
    )  # fmt: skip

    def __init__(self, room: Room, config: WaitlistConfig) -> None:
        self.room = room
        self.config = config
        self.opened = self.paused = self.draining = self.closed = False
        self.close_reason = ""
        self.tickets: dict[str, int] = {}  # of everybody on the list
        self.names: list[str] = [""]  # by ticket; empty for who is off the list
        self.order = Order()  # of those who wait
        self.offers = Deadlines()  # of those who hold an offer
        self.promised = self.claimed = self.free = 0  # places
        self.armed: dict[str, int] = {}

    def phase(self, now_ms: int) -> str:
        """How the list stands at a lane time."""
        if self.closed:
            return CLOSED
        if self.draining:
            return DRAINING
        return OPEN if self.opened or self.config.opens_ms <= now_ms else SCHEDULED

    def first(self, limit: int) -> list[str]:
        """The first who wait, in order."""
        return [self.names[ticket] for ticket in self.order.first(limit)]


def evolve(state: WaitlistState | None, event: Event) -> WaitlistState | None:
    """The state after an event, changed in place."""
    if isinstance(event, happened.WaitlistPrepared):
        return WaitlistState(event.room, event.config)
    if state is not None and not keep_armed(state.armed, event):
        step = _STEPS.get(type(event))
        if step is not None:
            step(state, event)
    return state


def _configured(state: WaitlistState, event: happened.WaitlistConfigured) -> None:
    state.config = event.config


def _opened(state: WaitlistState, _event: Event) -> None:
    state.opened, state.draining, state.closed, state.close_reason = True, False, False, ""


def _paused(state: WaitlistState, _event: Event) -> None:
    state.paused = True


def _resumed(state: WaitlistState, _event: Event) -> None:
    state.paused = False


def _draining(state: WaitlistState, _event: Event) -> None:
    state.draining = True


def _closed(state: WaitlistState, event: happened.WaitlistClosed) -> None:
    state.closed, state.close_reason = True, event.reason


def _entered(state: WaitlistState, event: happened.WaitlistEntered) -> None:
    state.tickets[event.participant] = event.ticket
    state.names.append(event.participant)
    state.order.append(event.ticket)


def _left(state: WaitlistState, event: happened.WaitlistLeft | happened.WaitlistRemoved) -> None:
    ticket = _forget(state, event.participant)
    if state.offers.drop(event.participant):
        state.free += 1
    else:
        state.order.remove(ticket)


def _reordered(state: WaitlistState, event: happened.WaitlistReordered) -> None:
    ticket = state.tickets[event.participant]
    state.order.remove(ticket)
    state.order.insert(event.position - 1, ticket)


def _promoted(state: WaitlistState, event: happened.WaitlistPromoted) -> None:
    state.promised += event.count
    state.free += event.count


def _offered(state: WaitlistState, event: happened.WaitlistOffered) -> None:
    for who in event.participants:
        state.order.remove(state.tickets[who])
        state.offers.set(who, event.expires_ms)
    state.free -= len(event.participants)


def _expired(state: WaitlistState, event: happened.WaitlistOffersExpired) -> None:
    for who in event.participants:
        state.offers.drop(who)
        _forget(state, who)
    state.free += len(event.participants)


def _claimed(state: WaitlistState, event: happened.WaitlistClaimed) -> None:
    state.offers.drop(event.participant)
    _forget(state, event.participant)
    state.claimed += 1


def _dismissed(state: WaitlistState, event: happened.WaitlistDismissed) -> None:
    for who in event.participants:
        state.order.remove(_forget(state, who))


def _forget(state: WaitlistState, participant: str) -> int:
    ticket = state.tickets.pop(participant)
    state.names[ticket] = ""
    return ticket


_STEPS: Final[dict[type[Event], Callable[[WaitlistState, Any], None]]] = {
    happened.WaitlistConfigured: _configured,
    happened.WaitlistOpened: _opened,
    happened.WaitlistPaused: _paused,
    happened.WaitlistResumed: _resumed,
    happened.WaitlistDraining: _draining,
    happened.WaitlistClosed: _closed,
    happened.WaitlistEntered: _entered,
    happened.WaitlistLeft: _left,
    happened.WaitlistRemoved: _left,
    happened.WaitlistReordered: _reordered,
    happened.WaitlistPromoted: _promoted,
    happened.WaitlistOffered: _offered,
    happened.WaitlistOffersExpired: _expired,
    happened.WaitlistClaimed: _claimed,
    happened.WaitlistDismissed: _dismissed,
}
