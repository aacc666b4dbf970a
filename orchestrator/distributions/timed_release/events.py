"""What happens in a timed release. Times are ms of lane time. Holds are grants: see admissions."""

from collections.abc import Sequence
from typing import ClassVar, Final

from orchestrator.core.events import Event, Told
from orchestrator.distributions.admissions import ADMISSION_EVENTS
from orchestrator.distributions.base import Room
from orchestrator.distributions.timed_release.config import ReleaseConfig
from orchestrator.distributions.told import ParticipantCompleted, StandingTold


class ReleasePrepared(Event, frozen=True):
    """The release exists, with all its rules."""

    NAME: ClassVar[str] = "timed_release.prepared.v1"
    room: Room
    config: ReleaseConfig
    at_ms: int


class ReleaseConfigured(Event, frozen=True):
    """An operator changed the rules; `windows` of the new list are in stock."""

    NAME: ClassVar[str] = "timed_release.configured.v1"
    room: Room
    config: ReleaseConfig
    windows: int
    at_ms: int


class StockReleased(Event, frozen=True):
    """The next windows have come: `windows` of them are in stock now, `quantity` units more than before."""

    NAME: ClassVar[str] = "timed_release.stock_released.v1"
    room: Room
    windows: int
    quantity: int
    at_ms: int


class ReleaseOpened(Event, frozen=True):
    """A closed release sells again."""

    NAME: ClassVar[str] = "timed_release.opened.v1"
    room: Room
    at_ms: int


class ReleasePaused(Event, frozen=True):
    """Nobody may take units until it is resumed; holds run on."""

    NAME: ClassVar[str] = "timed_release.paused.v1"
    room: Room
    at_ms: int


class ReleaseResumed(Event, frozen=True):
    """Units can be taken again."""

    NAME: ClassVar[str] = "timed_release.resumed.v1"
    room: Room
    at_ms: int


class ReleaseClosed(Event, frozen=True):
    """Nobody may take units any more; holds stay good to their end."""

    NAME: ClassVar[str] = "timed_release.closed.v1"
    room: Room
    at_ms: int
    reason: str


class ReleaseEntered(Event, frozen=True):
    """Somebody takes part; the units follow as a grant. `again`: they had a hold, and are told of it once more."""

    NAME: ClassVar[str] = "timed_release.entered.v1"
    TELLS: ClassVar[bool] = True
    room: Room
    participant: str
    participation: int
    at_ms: int
    again: bool = False
    jti: str = ""
    expires_ms: int = 0
    quantity: int = 0

    def tells(self) -> Sequence[Told]:
        participation = f"{self.room.distribution}-{self.participation}"
        told = [
            self.room.told(
                self.participant, "entered", self.at_ms, participation=participation, phase="holding"
            )
        ]
        if self.again:
            hold = {"jti": self.jti, "expires_ms": self.expires_ms, "quantity": self.quantity}
            told.append(self.room.told(self.participant, "admitted", self.at_ms, **hold))
        return told


class ReleaseCompleted(ParticipantCompleted, frozen=True):
    """Somebody is done with a purchase."""

    NAME: ClassVar[str] = "timed_release.completed.v1"


class ReleaseTold(StandingTold, frozen=True):
    """Somebody asked how things stand."""

    NAME: ClassVar[str] = "timed_release.told.v1"


RELEASE_EVENTS: Final[tuple[type[Event], ...]] = (
    ReleasePrepared,
    ReleaseConfigured,
    StockReleased,
    ReleaseOpened,
    ReleasePaused,
    ReleaseResumed,
    ReleaseClosed,
    ReleaseEntered,
    ReleaseCompleted,
    ReleaseTold,
    *ADMISSION_EVENTS,
)
