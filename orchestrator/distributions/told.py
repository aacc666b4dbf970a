"""Shapes of events that several mechanisms have: what happened to participants, and how they are told."""

from collections.abc import Sequence
from typing import Any, ClassVar

from orchestrator.core.events import Event, Told
from orchestrator.distributions.base import Room


class ParticipantLeft(Event, frozen=True):
    """Somebody gave up what they had here."""

    TELLS: ClassVar[bool] = True
    room: Room
    participant: str
    at_ms: int

    def tells(self) -> Sequence[Told]:
        return (self.room.told(self.participant, "left", self.at_ms, reason="left"),)


class ParticipantCompleted(Event, frozen=True):
    """Somebody is done with what they had here."""

    TELLS: ClassVar[bool] = True
    room: Room
    participant: str
    at_ms: int

    def tells(self) -> Sequence[Told]:
        return (self.room.told(self.participant, "completed", self.at_ms),)


class StandingTold(Event, frozen=True):
    """Somebody asked how things stand; `standing` is what they may know."""

    TELLS: ClassVar[bool] = True
    room: Room
    participant: str
    at_ms: int
    standing: dict[str, Any]

    def tells(self) -> Sequence[Told]:
        return (self.room.told(self.participant, "updated", self.at_ms, **self.standing),)


class TimesOver(Event, frozen=True):
    """What was kept for these participants for a while is kept no longer. `WHAT`: hold or offer."""

    TELLS: ClassVar[bool] = True
    WHAT: ClassVar[str] = ""
    room: Room
    participants: tuple[str, ...]
    at_ms: int

    def tells(self) -> Sequence[Told]:
        return [self.room.told(who, "expired", self.at_ms, what=self.WHAT) for who in self.participants]


class ParticipantsDismissed(Event, frozen=True):
    """It is over for these participants."""

    TELLS: ClassVar[bool] = True
    room: Room
    participants: tuple[str, ...]
    at_ms: int
    reason: str

    def tells(self) -> Sequence[Told]:
        return [self.room.told(who, "ended", self.at_ms, reason=self.reason) for who in self.participants]
