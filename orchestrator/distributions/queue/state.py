"""A queue as its events left it. Mutable: up to millions wait, and each costs about a hundred bytes.

A ticket is a number from 1 in order of arrival; its place in the line is the same order counted from 0, but for
those of the pre-queue, whose places were drawn at the opening.
"""

from collections.abc import Iterator
from itertools import compress
from typing import Any, Final

from msgspec import Struct

from orchestrator.core.events import Event
from orchestrator.distributions.admissions import (
    Admissions,
    Granted,
    GrantRedeemed,
    GrantReturned,
    GrantRevoked,
    GrantsExpired,
)
from orchestrator.distributions.base import Room
from orchestrator.distributions.deadlines import Deadlines
from orchestrator.distributions.queue import events as happened
from orchestrator.distributions.queue.flow import Flow
from orchestrator.distributions.queue.line import Line
from orchestrator.distributions.queue.pace import Pace, eta
from orchestrator.distributions.queue.shuffle import Drawn, Lot, seed_of
from orchestrator.distributions.turn import keep_armed

BLOCKS_SHOWN_MAX: Final = 256


class Position(Struct, frozen=True):
    """Where somebody stands. None is what nobody can tell yet: before the opening, or before anybody was admitted."""

    ticket: int
    ahead: int | None
    eta_low_ms: int | None
    eta_high_ms: int | None


class QueueState:
    """See the module."""

    __slots__ = (
        "_lot",
        "_names",
        "_pre",
        "_waiting",
        "absences",
        "admissions",
        "armed",
        "at_ms",
        "drawn",
        "flow",
        "line",
        "pace",
        "revealed",
        "room",
        "secret",
        "slots",
        "tickets",
    )

    def __init__(self, prepared: happened.QueuePrepared) -> None:
        self.room: Room = prepared.room
        self.flow = Flow(prepared.config, "scheduled", prepared.at_ms)
        self.at_ms = prepared.at_ms
        self.secret: str = prepared.private.get("secret", "")
        self.revealed = ""  # the secret, once everybody may know it
        self.line = Line()
        self.tickets: dict[str, int] = {}  # of those waiting, inside, or served
        self.admissions = Admissions()
        self.slots = Deadlines()  # of those inside after redeeming
        self.absences = Deadlines()  # of those waiting who gave no sign of life
        self.armed: dict[str, int] = {}
        self.pace = Pace()
        self._names: list[str] = []  # by ticket - 1; "" once the ticket is void
        # A secret that only the operator knows leaves the whole ranking to the opening.
        ahead = self.secret and prepared.config.pre_queue
        self._lot: Lot | None = Lot(seed_of(self.secret)) if ahead else None
        self.drawn: Drawn | None = None  # the places of the pre-queue, once it is over
        self._pre = 0  # tickets of the pre-queue
        self._waiting = bytearray()  # by ticket - 1: 1 for who stands in the line

    @property
    def issued(self) -> int:
        """How many tickets there are."""
        return len(self._names)

    def place(self, ticket: int) -> int:
        """Where in the line a valid ticket stands, from 0."""
        return self.drawn.place(ticket) if self.drawn is not None and ticket <= self._pre else ticket - 1

    def waits(self, participant: str) -> bool:
        ticket = self.tickets.get(participant)
        return ticket is not None and self._waiting[ticket - 1] == 1

    def next(self, limit: int) -> Iterator[str]:
        """The participants at the head of the line."""
        names, drawn = self._names, self.drawn.tickets if self.drawn is not None else ()
        for place in self.line.next(limit):
            yield names[drawn[place] - 1 if place < len(drawn) else place]

    def awaited(self) -> list[str]:
        """Everybody who waits and isn't noted as absent; quick, since it is asked every few seconds."""
        found = list(compress(self._names, self._waiting))
        absences = self.absences
        return [who for who in found if who not in absences] if len(absences) else found

    def position(self, participant: str, now_ms: int | None = None) -> Position | None:
        """Where a participant who waits stands; None for anybody else. O(log n)."""
        ticket = self.tickets.get(participant)
        if ticket is None:
            return None
        place, flow = self.place(ticket), self.flow
        if not self.line.waits(place):
            return None
        if flow.config.pre_queue and not flow.shuffled:
            return Position(ticket, None, None, None)
        ahead = self.line.ahead(place)
        if flow.paused or flow.phase not in {"open", "draining"}:
            return Position(ticket, ahead, None, None)
        recent = self.pace.recent(self.at_ms if now_ms is None else now_ms)
        return Position(ticket, ahead, *eta(ahead, *recent, flow.config.rate_per_minute))

    def now_serving(self) -> dict[str, Any]:
        """What lets everybody find their own position from their ticket: the same for all, see docs/distributions.md.

        It depends on the events alone, so that it changes when something happened and not before.
        """
        head, width = self.line.first, 1
        while len(self.line) - head > BLOCKS_SHOWN_MAX * width:
            width *= 2
        first = head - head % width
        admitted, over_ms = self.pace.recent(self.at_ms)
        return {
            "organization": self.room.organization,
            "experience": self.room.experience,
            "distribution": self.room.distribution,
            "as_of_ms": self.at_ms,
            "tickets": self.issued,
            "shuffled": self._pre,
            "waiting": self.flow.waiting,
            "width": width,
            "first": first,
            "head": head,
            "blocks": self.line.counts(width, first),
            "keys": self._keys(head, first, width),
            "seed": seed_of(self.revealed).hex() if self.revealed else "",
            "pace": {"admitted": admitted, "over_ms": over_ms},
        }

    def evolve(self, event: Event) -> None:
        """Take in an event."""
        if keep_armed(self.armed, event):
            return
        match event:
            case happened.QueueEntered(participant=participant):
                self._names.append(participant)
                self.tickets[participant] = event.ticket
                self._waiting.append(1)
                self.line.append()
                if self._lot is not None:
                    self._lot.add(event.ticket)
            case Granted():
                for grant in event.grants:
                    self._leave_line(self.tickets[grant.participant])
                    self.absences.drop(grant.participant)
                self.pace.note(event.at_ms, len(event.grants))
            case GrantRedeemed(participant=participant) if self.flow.config.slot == "until_expired":
                self.slots.set(participant, self.admissions.live[participant].expires_ms)
            case GrantRevoked() | GrantReturned():
                self._forget(event.participant)
            case GrantsExpired():
                for grant in event.grants:
                    self._forget(grant.participant)
            case happened.QueuePlacesFreed() | happened.QueueDismissed():
                for participant in event.participants:
                    self._forget(participant)
            case happened.QueueLeft(participant=participant) if not event.inside:
                self._forget(participant)
            case (
                happened.QueueLeft(participant=participant) | happened.QueueCompleted(participant=participant)
            ):
                self.slots.drop(participant)
            case happened.QueueSlotsFreed():
                for participant in event.participants:
                    self.slots.drop(participant)
            case happened.AbsenceNoted():
                for participant in event.participants:
                    self.absences.set(participant, event.until_ms)
            case happened.PresenceNoted():
                for participant in event.participants:
                    self.absences.drop(participant)
            case happened.QueueOpened() if event.secret and not self.flow.shuffled:
                self._shuffle(event.secret)
        self.admissions.evolve(event)
        self.flow.apply(event)
        self.at_ms = max(self.at_ms, getattr(event, "at_ms", 0))

    def _keys(self, head: int, first: int, width: int) -> list[str]:
        """The keys of the ranking where blocks begin, the first block at its first place that is waited in."""
        drawn = self.drawn
        if drawn is None or head >= len(drawn.tickets):
            return []
        return [drawn.key_at(at) for at in (head, *range(first + width, len(drawn.tickets), width))]

    def _forget(self, participant: str) -> None:
        ticket = self.tickets.pop(participant)
        self._names[ticket - 1] = ""
        if self._lot is not None:
            self._lot.drop(ticket)
        self._leave_line(ticket)
        self.absences.drop(participant)

    def _leave_line(self, ticket: int) -> None:
        if self._waiting[ticket - 1]:
            self._waiting[ticket - 1] = 0
            self.line.leave(self.place(ticket))

    def _shuffle(self, secret: str) -> None:
        self.revealed, self.secret = secret, ""
        self._pre = len(self.line)
        lot = self._lot or Lot(seed_of(secret), (at + 1 for at in range(self._pre) if self._waiting[at]))
        self._lot, self.drawn = None, lot.drawn()
        # Whoever left has a place too, behind all others, so that later tickets keep their numbers as places.
        ranked = len(self.drawn.tickets)
        self.line = Line(b"\x01" * ranked + b"\x00" * (self._pre - ranked))
