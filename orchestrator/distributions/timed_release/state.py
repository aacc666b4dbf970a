"""A timed release as its events left it. Mutable. Always: held + sold + free = stock."""

from typing import Final

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
from orchestrator.distributions.timed_release import events as happened
from orchestrator.distributions.timed_release.config import ReleaseConfig
from orchestrator.distributions.turn import keep_armed

_PHASES: Final = {
    happened.ReleaseOpened: "open",
    happened.ReleaseClosed: "closed",
}


class Stock(Struct):
    """The numbers that decide who gets units; small enough to copy and try out."""

    config: ReleaseConfig
    phase: str = "open"  # or closed
    paused: bool = False
    windows: int = 0  # in stock
    stock: int = 0
    held: int = 0
    sold: int = 0

    @property
    def free(self) -> int:
        return self.stock - self.held - self.sold

    @property
    def next_ms(self) -> int | None:
        """When the next window comes."""
        windows = self.config.windows
        return windows[self.windows].at_ms if self.windows < len(windows) else None

    @property
    def shown(self) -> str:
        """The phase as anybody may know it."""
        if self.phase == "closed":
            return "closed"
        if not self.windows:
            return "scheduled"
        if not self.free and not self.held and self.next_ms is None:
            return "sold_out"
        return "paused" if self.paused else "open"

    def apply(self, event: Event, admissions: Admissions) -> None:
        """The numbers after an event; `admissions` as they were before it."""
        match event:
            case Granted():
                self.held += sum(grant.quantity for grant in event.grants)
            case GrantRedeemed():
                quantity = admissions.live[event.participant].quantity
                self.held -= quantity
                self.sold += quantity
            case GrantRevoked() | GrantReturned():
                self.held -= admissions.live[event.participant].quantity
            case GrantsExpired():
                self.held -= sum(grant.quantity for grant in event.grants)
            case happened.StockReleased():
                self.windows = event.windows
                self.stock += event.quantity
            case happened.ReleaseConfigured():
                self.config, self.windows = event.config, event.windows
                self.stock = event.config.stock(event.windows)
            case happened.ReleasePaused():
                self.paused = True
            case happened.ReleaseResumed():
                self.paused = False
            case happened.ReleaseOpened() | happened.ReleaseClosed():
                self.phase = _PHASES[type(event)]


class ReleaseState:
    """See the module."""

    __slots__ = ("admissions", "armed", "bought", "entries", "participations", "room", "stock")

    def __init__(self, prepared: happened.ReleasePrepared) -> None:
        self.room: Room = prepared.room
        self.stock = Stock(prepared.config)
        self.admissions = Admissions()
        self.armed: dict[str, int] = {}
        self.bought: dict[str, int] = {}  # units, by participant
        self.participations: dict[str, int] = {}  # of those who hold
        self.entries = 0

    def evolve(self, event: Event) -> None:
        """Take in an event."""
        if keep_armed(self.armed, event):
            return
        self.stock.apply(event, self.admissions)
        match event:
            case happened.ReleaseEntered(again=False):
                self.entries += 1
                self.participations[event.participant] = event.participation
            case GrantRedeemed(participant=participant):
                quantity = self.admissions.live[participant].quantity
                self.bought[participant] = self.bought.get(participant, 0) + quantity
                del self.participations[participant]
            case GrantRevoked() | GrantReturned():
                del self.participations[event.participant]
            case GrantsExpired():
                for grant in event.grants:
                    del self.participations[grant.participant]
        self.admissions.evolve(event)
