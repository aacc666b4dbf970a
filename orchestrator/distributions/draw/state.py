"""A draw as its events have made it: columns by ticket, so that a million entrants stay small. Changed in place."""

from array import array
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from orchestrator.core.events import Event, TimerArmed, TimerCancelled
from orchestrator.distributions.admissions import (
    Admissions,
    Granted,
    GrantRedeemed,
    GrantReturned,
    GrantRevoked,
    GrantsExpired,
)
from orchestrator.distributions.base import Room, distribution_stream
from orchestrator.distributions.deadlines import Deadlines
from orchestrator.distributions.draw.config import DrawConfig
from orchestrator.distributions.draw.events import (
    BeaconGiven,
    DrawAbandoned,
    DrawClosed,
    DrawCommitted,
    DrawConfigured,
    DrawEnded,
    DrawEntered,
    DrawHeld,
    DrawLeft,
    DrawOpened,
    DrawPrepared,
    EntrantsDismissed,
    EntriesRanked,
    EntriesSealed,
    EntryPaused,
    EntryResumed,
    NotSelected,
    OfferDeclined,
    OffersExpired,
    PlacesDrawn,
    PlacesOffered,
    PlacesReplaced,
    Replacement,
    RootPublished,
)
from orchestrator.distributions.draw.ranks import Ranks
from orchestrator.distributions.fairness.entries import SALT_BYTES, draw_hash, entry_leaf, identity
from orchestrator.distributions.fairness.seeds import BeaconRound
from orchestrator.distributions.turn import keep_armed

STANDING, WITHDRAWN, PLACED = range(3)  # what became of an entry


class DrawState:
    """One draw. Tickets count from 1; the columns of ticket t are at t - 1.

    Its phases in their order: scheduled, open, sealing, sealed, ranking, placing, telling, settled, ended. Until it is
    ranked it may become `abandoned` instead.
    """

    def __init__(self, room: Room, config: DrawConfig) -> None:
        self.room = room
        self.config = config
        self.draw = distribution_stream(
            room.organization, room.experience, room.distribution, room.mechanism
        ).text
        self.draw_hash = draw_hash(self.draw)
        self.phase = "scheduled"
        self.paused = False
        self.armed: dict[str, int] = {}  # timers
        self.times: dict[str, int] = {}  # of steps, by the names in a proof
        # the organizer's promises
        self.commitment = self.terms = ""
        self.salt_key = b""
        self.beacon: BeaconRound | None = None
        self.beacon_value = self.secret = self.seed = self.root = ""
        # entries
        self.participants: list[str] = []
        self.tickets: dict[str, int] = {}  # the last one of each participant
        self.salts = bytearray()
        self.weights = bytearray()
        self.fates = bytearray()
        self.entered_ms = array("q")
        self.standing = 0
        # what has been done of the long steps: up to which ticket
        self.sealed_upto = self.told_upto = self.dismissed_upto = 0
        self.sealed_roots: tuple[str, ...] = ()
        self.ranks = Ranks()
        # places
        self.order = array("I")  # tickets by rank: winners, then reserves
        self.replacements: list[Replacement] = []
        self.vacancies: deque[tuple[int, str]] = deque()  # tickets that gave way, and why
        self.released = 0  # reserves who were told that no place is left
        self.offers = Deadlines()
        self.admissions = Admissions()

    @property
    def size(self) -> int:
        """Entries ever made."""
        return len(self.participants)

    @property
    def places(self) -> int:
        """How many win."""
        return min(self.config.winners, self.standing)

    @property
    def ranked(self) -> int:
        """How many ranks matter: winners and reserves."""
        return min(self.config.winners + self.config.reserves, self.standing)

    @property
    def reserves_left(self) -> int:
        """Reserves who may still get a place."""
        return max(0, len(self.order) - self.places - len(self.replacements) - self.released)

    @property
    def idle(self) -> bool:
        """Whether no winner has anything left to decide."""
        return not self.offers and not self.admissions.live

    def ticket_of(self, participant: str) -> int:
        """The ticket that stands for a participant; 0 without one."""
        ticket = self.tickets.get(participant, 0)
        return 0 if not ticket or self.fates[ticket - 1] == WITHDRAWN else ticket

    def leaf(self, ticket: int) -> bytes:
        """The leaf of an entry, as its receipt has it."""
        return entry_leaf(self.draw_hash, ticket, self.weights[ticket - 1], self.identity(ticket))

    def identity(self, ticket: int) -> bytes:
        """The salted hash that stands for the holder of a ticket."""
        return identity(self.salt(ticket), self.participants[ticket - 1])

    def salt(self, ticket: int) -> bytes:
        """The salt of an entry, which only its holder is told."""
        return bytes(self.salts[(ticket - 1) * SALT_BYTES : ticket * SALT_BYTES])

    def reserves(self, start: int, count: int) -> list[int]:
        """Tickets of reserves who have no place yet, from the `start`-th on."""
        at = self.places + len(self.replacements) + start
        return list(self.order[at : at + count])

    def vacate(self, participant: str, reason: str) -> None:
        """A place is free again."""
        self.vacancies.append((self.tickets[participant], reason))

    def advance(self) -> None:
        """Go on to the next phase as long as there is nothing left to do in this one."""
        if self.phase == "ranking" and self.ranks.upto == self.size:
            self.phase = "placing"
        if self.phase == "placing" and len(self.order) == self.ranked:
            self.phase = "telling"
        if self.phase == "telling" and self.told_upto == self.size:
            self.phase = "settled"


def evolve(state: DrawState | None, event: Event) -> DrawState | None:
    """The state after an event."""
    if isinstance(event, DrawPrepared):
        return DrawState(event.room, event.config)
    if state is not None and (fold := _FOLDS.get(type(event))) is not None:
        fold(state, event)
    return state


def _configured(state: DrawState, event: DrawConfigured) -> None:
    state.config = event.config


def _committed(state: DrawState, event: DrawCommitted) -> None:
    state.commitment, state.terms, state.beacon = event.commitment, event.terms, event.beacon
    state.salt_key = bytes.fromhex(event.private.get("salt_key", ""))
    state.times["committed_ms"] = event.at_ms


def _opened(state: DrawState, event: DrawOpened) -> None:
    state.phase = "open"
    state.times["opened_ms"] = event.at_ms


def _paused(state: DrawState, event: EntryPaused | EntryResumed) -> None:
    state.paused = isinstance(event, EntryPaused)


def _entered(state: DrawState, event: DrawEntered) -> None:
    state.participants.append(event.participant)
    state.tickets[event.participant] = event.ticket
    state.salts += bytes.fromhex(event.salt)
    state.weights.append(event.weight)
    state.fates.append(STANDING)
    state.entered_ms.append(event.at_ms)
    state.standing += 1


def _left(state: DrawState, event: DrawLeft) -> None:
    state.fates[event.ticket - 1] = WITHDRAWN
    state.standing -= 1


def _closed(state: DrawState, event: DrawClosed) -> None:
    state.phase = "sealing"
    state.times["closed_ms"] = event.at_ms


def _sealed(state: DrawState, event: EntriesSealed) -> None:
    state.sealed_upto, state.sealed_roots = event.upto, event.roots


def _published(state: DrawState, event: RootPublished) -> None:
    state.phase, state.root, state.sealed_roots = "sealed", event.root, ()
    state.times["sealed_ms"] = event.at_ms


def _beacon(state: DrawState, event: BeaconGiven) -> None:
    state.beacon_value = event.value


def _held(state: DrawState, event: DrawHeld) -> None:
    state.phase, state.secret, state.seed = "ranking", event.secret, event.seed
    state.times["drawn_ms"] = event.at_ms
    state.advance()


def _ranked(state: DrawState, event: EntriesRanked) -> None:
    tickets = [t for t in range(state.ranks.upto + 1, event.upto + 1) if state.fates[t - 1] != WITHDRAWN]
    entries = [(state.leaf(ticket), state.weights[ticket - 1], ticket) for ticket in tickets]
    state.ranks.add(bytes.fromhex(state.seed), entries, event.upto)
    state.advance()


def _drawn(state: DrawState, event: PlacesDrawn) -> None:
    state.order.extend(event.tickets)
    for ticket in event.tickets:
        state.fates[ticket - 1] = PLACED
        state.ranks.taken(ticket)
    state.advance()


def _offered(state: DrawState, event: PlacesOffered) -> None:
    for participant in event.participants:
        state.offers.set(participant, event.expires_ms)


def _unclaimed(state: DrawState, event: OffersExpired) -> None:
    for participant in event.participants:
        state.offers.drop(participant)
        state.vacate(participant, "unclaimed")


def _declined(state: DrawState, event: OfferDeclined) -> None:
    state.offers.drop(event.participant)
    state.vacate(event.participant, "declined")


def _replaced(state: DrawState, event: PlacesReplaced) -> None:
    state.replacements += event.replacements
    for _ in event.replacements:
        state.vacancies.popleft()


def _not_selected(state: DrawState, event: NotSelected) -> None:
    if event.reason == "not_drawn":
        state.told_upto = event.upto
    else:
        state.released = event.upto
    state.advance()


def _abandoned(state: DrawState, event: DrawAbandoned) -> None:  # noqa: ARG001 - the reason is for operators
    state.phase = "abandoned"


def _dismissed(state: DrawState, event: EntrantsDismissed) -> None:
    state.dismissed_upto = event.upto


def _ended(state: DrawState, event: DrawEnded) -> None:  # noqa: ARG001 - every end is alike
    state.phase = "ended"


def _granted(state: DrawState, event: Granted) -> None:
    for grant in event.grants:
        state.offers.drop(grant.participant)
    state.admissions.evolve(event)


def _grant_ended(
    state: DrawState, event: GrantRedeemed | GrantRevoked | GrantReturned | GrantsExpired
) -> None:
    state.admissions.evolve(event)
    match event:
        case GrantRevoked():
            state.vacate(event.participant, "revoked")
        case GrantReturned():
            state.vacate(event.participant, "declined")
        case GrantsExpired():
            for grant in event.grants:
                state.vacate(grant.participant, "unused")


def _armed(state: DrawState, event: Event) -> None:
    keep_armed(state.armed, event)


_FOLDS: Final[dict[type[Event], Callable[[DrawState, Any], None]]] = {
    DrawConfigured: _configured,
    DrawCommitted: _committed,
    DrawOpened: _opened,
    EntryPaused: _paused,
    EntryResumed: _paused,
    DrawEntered: _entered,
    DrawLeft: _left,
    DrawClosed: _closed,
    EntriesSealed: _sealed,
    RootPublished: _published,
    BeaconGiven: _beacon,
    DrawHeld: _held,
    EntriesRanked: _ranked,
    PlacesDrawn: _drawn,
    PlacesOffered: _offered,
    OffersExpired: _unclaimed,
    OfferDeclined: _declined,
    PlacesReplaced: _replaced,
    NotSelected: _not_selected,
    DrawAbandoned: _abandoned,
    EntrantsDismissed: _dismissed,
    DrawEnded: _ended,
    Granted: _granted,
    GrantRedeemed: _grant_ended,
    GrantRevoked: _grant_ended,
    GrantReturned: _grant_ended,
    GrantsExpired: _grant_ended,
    TimerArmed: _armed,
    TimerCancelled: _armed,
}
