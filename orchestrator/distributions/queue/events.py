"""What happens in a queue. Times are ms of lane time; a ticket is a number from 1 in order of arrival."""

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from orchestrator.core.events import Event, Told
from orchestrator.distributions.admissions import ADMISSION_EVENTS
from orchestrator.distributions.base import Room
from orchestrator.distributions.queue.config import QueueConfig
from orchestrator.distributions.told import (
    ParticipantCompleted,
    ParticipantLeft,
    ParticipantsDismissed,
    StandingTold,
)


class QueuePrepared(Event, frozen=True):
    """The queue exists, with all its rules; `private` holds the secret that shuffles the pre-queue, until the opening."""

    NAME: ClassVar[str] = "queue.prepared.v1"
    room: Room
    config: QueueConfig
    at_ms: int
    private: dict[str, Any] = {}


class QueueConfigured(Event, frozen=True):
    """An operator changed the rules."""

    NAME: ClassVar[str] = "queue.configured.v1"
    room: Room
    config: QueueConfig
    at_ms: int


class QueueOpened(Event, frozen=True):
    """Admission begins, or begins again. `secret` (hex) orders the pre-queue by fairness.ranking over its tickets."""

    NAME: ClassVar[str] = "queue.opened.v1"
    room: Room
    at_ms: int
    secret: str = ""


class QueuePaused(Event, frozen=True):
    """Nobody is admitted until the queue is resumed."""

    NAME: ClassVar[str] = "queue.paused.v1"
    room: Room
    at_ms: int


class QueueResumed(Event, frozen=True):
    """Admission goes on."""

    NAME: ClassVar[str] = "queue.resumed.v1"
    room: Room
    at_ms: int


class QueueDraining(Event, frozen=True):
    """Nobody may enter any more; those in the line are served."""

    NAME: ClassVar[str] = "queue.draining.v1"
    room: Room
    at_ms: int


class QueueClosed(Event, frozen=True):
    """It is over: nobody is admitted any more, those in the line are sent away; grants stay good."""

    NAME: ClassVar[str] = "queue.closed.v1"
    room: Room
    at_ms: int
    reason: str


class QueueEntered(Event, frozen=True):
    """Somebody stands in the line."""

    NAME: ClassVar[str] = "queue.entered.v1"
    TELLS: ClassVar[bool] = True
    room: Room
    participant: str
    ticket: int
    phase: str  # pre_queue or waiting
    at_ms: int

    def tells(self) -> Sequence[Told]:
        return (entered(self.room, self.participant, self.ticket, self.phase, self.at_ms),)


class QueueEntryRepeated(Event, frozen=True):
    """Somebody who stands in the line, or was admitted, asked to enter: they are told again what they have."""

    NAME: ClassVar[str] = "queue.entry_repeated.v1"
    TELLS: ClassVar[bool] = True
    room: Room
    participant: str
    ticket: int
    phase: str  # pre_queue, waiting or admitted
    at_ms: int
    jti: str = ""
    expires_ms: int = 0

    def tells(self) -> Sequence[Told]:
        told = [entered(self.room, self.participant, self.ticket, self.phase, self.at_ms)]
        if self.jti:
            grant = {"jti": self.jti, "expires_ms": self.expires_ms, "quantity": 1}
            told.append(self.room.told(self.participant, "admitted", self.at_ms, **grant))
        return told


class QueueLeft(ParticipantLeft, frozen=True):
    """Somebody left the line, or the place inside that they had after redeeming."""

    NAME: ClassVar[str] = "queue.left.v1"
    inside: bool = False


class QueueTold(StandingTold, frozen=True):
    """Somebody asked how things stand."""

    NAME: ClassVar[str] = "queue.told.v1"


class QueueCompleted(ParticipantCompleted, frozen=True):
    """Somebody is done with what they were admitted for; `freed` is whether that frees a place inside."""

    NAME: ClassVar[str] = "queue.completed.v1"
    freed: bool = False


class QueueSlotsFreed(Event, frozen=True):
    """The time inside is over for these, who had redeemed their grants."""

    NAME: ClassVar[str] = "queue.slots_freed.v1"
    room: Room
    participants: tuple[str, ...]
    at_ms: int


class AbsenceNoted(Event, frozen=True):
    """These gave no sign of life; their places are free at `until_ms` unless they do."""

    NAME: ClassVar[str] = "queue.absence_noted.v1"
    room: Room
    participants: tuple[str, ...]
    until_ms: int
    at_ms: int


class PresenceNoted(Event, frozen=True):
    """These are back in time."""

    NAME: ClassVar[str] = "queue.presence_noted.v1"
    room: Room
    participants: tuple[str, ...]
    at_ms: int


class QueuePlacesFreed(Event, frozen=True):
    """These stayed away too long: their places are gone."""

    NAME: ClassVar[str] = "queue.places_freed.v1"
    TELLS: ClassVar[bool] = True
    room: Room
    participants: tuple[str, ...]
    at_ms: int

    def tells(self) -> Sequence[Told]:
        return [self.room.told(who, "left", self.at_ms, reason="absent") for who in self.participants]


class QueueDismissed(ParticipantsDismissed, frozen=True):
    """The queue is closed for these, who waited in it."""

    NAME: ClassVar[str] = "queue.dismissed.v1"
    reason: str = "closed"


def entered(room: Room, participant: str, ticket: int, phase: str, at_ms: int) -> Told:
    """The answer to entering."""
    participation = f"{room.distribution}-{ticket}"
    return room.told(participant, "entered", at_ms, participation=participation, ticket=ticket, phase=phase)


QUEUE_EVENTS: Final[tuple[type[Event], ...]] = (
    QueuePrepared,
    QueueConfigured,
    QueueOpened,
    QueuePaused,
    QueueResumed,
    QueueDraining,
    QueueClosed,
    QueueEntered,
    QueueEntryRepeated,
    QueueLeft,
    QueueTold,
    QueueCompleted,
    QueueSlotsFreed,
    AbsenceNoted,
    PresenceNoted,
    QueuePlacesFreed,
    QueueDismissed,
    *ADMISSION_EVENTS,
)
