"""What happens on a waitlist. Times are ms of lane time; a ticket is a number from 1 in order of joining.

A place is promised (`WaitlistPromoted`), offered to one after the other, and claimed once.
"""

from collections.abc import Sequence
from typing import ClassVar, Final

from orchestrator.core.events import Event, Told
from orchestrator.distributions.base import Room
from orchestrator.distributions.told import (
    ParticipantCompleted,
    ParticipantLeft,
    ParticipantsDismissed,
    StandingTold,
    TimesOver,
)
from orchestrator.distributions.waitlist.config import WaitlistConfig


class WaitlistPrepared(Event, frozen=True):
    """The waitlist exists, with all its rules."""

    NAME: ClassVar[str] = "waitlist.prepared.v1"
    room: Room
    config: WaitlistConfig
    at_ms: int


class WaitlistConfigured(Event, frozen=True):
    """An operator changed the rules; offers that stand keep their end."""

    NAME: ClassVar[str] = "waitlist.configured.v1"
    room: Room
    config: WaitlistConfig
    at_ms: int


class WaitlistOpened(Event, frozen=True):
    """Joining is possible from now on: the opening came, or an operator opened, or opened again, before it."""

    NAME: ClassVar[str] = "waitlist.opened.v1"
    room: Room
    at_ms: int


class WaitlistPaused(Event, frozen=True):
    """No place is offered until the waitlist is resumed; offers that stand go on."""

    NAME: ClassVar[str] = "waitlist.paused.v1"
    room: Room
    at_ms: int


class WaitlistResumed(Event, frozen=True):
    """Offering goes on."""

    NAME: ClassVar[str] = "waitlist.resumed.v1"
    room: Room
    at_ms: int


class WaitlistDraining(Event, frozen=True):
    """Nobody may join any more; those who wait still get offers."""

    NAME: ClassVar[str] = "waitlist.draining.v1"
    room: Room
    at_ms: int


class WaitlistClosed(Event, frozen=True):
    """It is over: those who wait are sent away; offers that stand may still be claimed."""

    NAME: ClassVar[str] = "waitlist.closed.v1"
    room: Room
    at_ms: int
    reason: str


class WaitlistEntered(Event, frozen=True):
    """Somebody waits, behind all others."""

    NAME: ClassVar[str] = "waitlist.entered.v1"
    TELLS: ClassVar[bool] = True
    room: Room
    participant: str
    ticket: int
    at_ms: int

    def tells(self) -> Sequence[Told]:
        return (_entered(self.room, self.participant, self.ticket, "waiting", self.at_ms),)


class WaitlistEntryRepeated(Event, frozen=True):
    """Somebody on the list asked to join: they are told again what they have. `expires_ms`: of their offer, or 0."""

    NAME: ClassVar[str] = "waitlist.entry_repeated.v1"
    TELLS: ClassVar[bool] = True
    room: Room
    participant: str
    ticket: int
    at_ms: int
    expires_ms: int = 0

    def tells(self) -> Sequence[Told]:
        phase = "offered" if self.expires_ms else "waiting"
        told = [_entered(self.room, self.participant, self.ticket, phase, self.at_ms)]
        if self.expires_ms:
            told.append(_offered(self.room, self.participant, self.expires_ms, self.at_ms))
        return told


class WaitlistLeft(ParticipantLeft, frozen=True):
    """Somebody left; a place they were offered is free for the next."""

    NAME: ClassVar[str] = "waitlist.left.v1"


class WaitlistRemoved(Event, frozen=True):
    """An operator took somebody off the list; `reason` is for operators."""

    NAME: ClassVar[str] = "waitlist.removed.v1"
    TELLS: ClassVar[bool] = True
    room: Room
    participant: str
    at_ms: int
    reason: str

    def tells(self) -> Sequence[Told]:
        return (self.room.told(self.participant, "ended", self.at_ms, reason="removed"),)


class WaitlistReordered(Event, frozen=True):
    """An operator moved somebody from one position to another (from 1); `reason` is for operators."""

    NAME: ClassVar[str] = "waitlist.reordered.v1"
    TELLS: ClassVar[bool] = True
    room: Room
    participant: str
    was: int
    position: int
    at_ms: int
    reason: str

    def tells(self) -> Sequence[Told]:
        told = {"phase": "waiting", "ahead": self.position - 1}
        return (self.room.told(self.participant, "updated", self.at_ms, **told),)


class WaitlistPromoted(Event, frozen=True):
    """So many more places are there to be offered."""

    NAME: ClassVar[str] = "waitlist.promoted.v1"
    room: Room
    count: int
    at_ms: int


class WaitlistOffered(Event, frozen=True):
    """These, the first in order, are each offered a place until `expires_ms`."""

    NAME: ClassVar[str] = "waitlist.offered.v1"
    TELLS: ClassVar[bool] = True
    room: Room
    participants: tuple[str, ...]
    expires_ms: int
    at_ms: int

    def tells(self) -> Sequence[Told]:
        return [_offered(self.room, who, self.expires_ms, self.at_ms) for who in self.participants]


class WaitlistOffersExpired(TimesOver, frozen=True):
    """These didn't claim in time: they are off the list, their places are free for the next."""

    NAME: ClassVar[str] = "waitlist.offers_expired.v1"
    WHAT: ClassVar[str] = "offer"


class WaitlistClaimed(ParticipantCompleted, frozen=True):
    """Somebody took the place offered to them, and is off the list."""

    NAME: ClassVar[str] = "waitlist.claimed.v1"


class WaitlistTold(StandingTold, frozen=True):
    """Somebody asked how things stand."""

    NAME: ClassVar[str] = "waitlist.told.v1"


class WaitlistDismissed(ParticipantsDismissed, frozen=True):
    """The waitlist is closed for these, who waited on it."""

    NAME: ClassVar[str] = "waitlist.dismissed.v1"


def _entered(room: Room, participant: str, ticket: int, phase: str, at_ms: int) -> Told:
    participation = f"{room.distribution}-{ticket}"
    return room.told(participant, "entered", at_ms, participation=participation, ticket=ticket, phase=phase)


def _offered(room: Room, participant: str, expires_ms: int, at_ms: int) -> Told:
    return room.told(participant, "offered", at_ms, expires_ms=expires_ms)


WAITLIST_EVENTS: Final[tuple[type[Event], ...]] = (
    WaitlistPrepared,
    WaitlistConfigured,
    WaitlistOpened,
    WaitlistPaused,
    WaitlistResumed,
    WaitlistDraining,
    WaitlistClosed,
    WaitlistEntered,
    WaitlistEntryRepeated,
    WaitlistLeft,
    WaitlistRemoved,
    WaitlistReordered,
    WaitlistPromoted,
    WaitlistOffered,
    WaitlistOffersExpired,
    WaitlistClaimed,
    WaitlistTold,
    WaitlistDismissed,
)
