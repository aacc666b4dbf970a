"""An auction as its events left it. Mutable. Always: held + sold + free units are the quantity."""

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
from orchestrator.distributions.auction import events as happened
from orchestrator.distributions.auction.config import AuctionConfig
from orchestrator.distributions.auction.settling import Standing, candidates
from orchestrator.distributions.base import Room
from orchestrator.distributions.turn import keep_armed


class Sale(Struct):
    """The numbers that decide what is possible; small enough to copy and try out."""

    config: AuctionConfig
    closes_ms: int
    phase: str = "scheduled"  # open or closed
    paused: bool = False
    opened_ms: int = 0
    extended: int = 0  # times
    bids: int = 0
    held: int = 0
    sold: int = 0

    @property
    def free(self) -> int:
        return self.config.quantity - self.held - self.sold

    @property
    def final(self) -> bool:
        """Whether nobody who was not granted a unit can still get one."""
        return self.phase == "closed" and not self.held and not self.free

    @property
    def shown(self) -> str:
        """The phase as anybody may know it."""
        if self.phase == "closed":
            return "settling" if self.held else "closed"
        return "paused" if self.paused and self.phase == "open" else self.phase

    def price_at(self, now_ms: int) -> int:
        """What a unit of a Dutch auction costs."""
        return self.config.price_at(self.opened_ms, now_ms)

    def apply(self, event: Event) -> None:
        """The numbers after an event."""
        match event:
            case happened.BidPlaced():
                self.bids += 1
                self.closes_ms = event.closes_ms
                self.extended += event.extended
            case Granted():
                self.held += len(event.grants)
            case GrantRedeemed():
                self.held -= 1
                self.sold += 1
            case GrantRevoked() | GrantReturned():
                self.held -= 1
            case GrantsExpired():
                self.held -= len(event.grants)
            case happened.AuctionOpened():
                self.phase, self.opened_ms = "open", event.at_ms
            case happened.AuctionClosed():
                self.phase = "closed"
            case happened.AuctionPaused():
                self.paused = True
            case happened.AuctionResumed():
                self.paused = False
            case happened.AuctionConfigured():
                if event.config.closes_ms != self.config.closes_ms:
                    self.closes_ms = event.config.closes_ms
                self.config = event.config


class AuctionState:
    """See the module."""

    __slots__ = (
        "admissions",
        "armed",
        "entries",
        "line",
        "losers",
        "numbers",
        "prices",
        "promoted",
        "room",
        "sale",
        "sold_to",
        "standing",
        "told_lost",
        "told_outbid",
        "told_settling",
    )

    def __init__(self, prepared: happened.AuctionPrepared) -> None:
        self.room: Room = prepared.room
        self.sale = Sale(prepared.config, prepared.config.closes_ms)
        self.standing = Standing(prepared.config.quantity)
        self.admissions = Admissions()
        self.armed: dict[str, int] = {}
        self.numbers: dict[str, int] = {}  # of everybody who entered
        self.entries = 0
        self.prices: dict[str, int] = {}  # of live grants
        self.sold_to: set[str] = set()
        # After the close: who may win, in order, and how far each telling has come.
        self.line: list[str] = []
        self.losers: list[str] = []
        self.promoted = self.told_settling = self.told_lost = self.told_outbid = 0

    def evolve(self, event: Event) -> None:
        """Take in an event."""
        if keep_armed(self.armed, event):
            return
        match event:
            case happened.AuctionEntered(again=False):
                self.numbers[event.participant] = event.number
                self.entries += 1
            case happened.AuctionLeft():
                del self.numbers[event.participant]
            case happened.BidPlaced() if self.sale.config.style == "english":
                self.standing.place(event.bid)
            case Granted():
                for grant in event.grants:
                    self.prices[grant.participant] = grant.price or 0
                if self.line:
                    self.promoted += len(event.grants)
            case GrantRedeemed():
                self.sold_to.add(event.participant)
                del self.prices[event.participant]
            case GrantRevoked() | GrantReturned():
                del self.prices[event.participant]
            case GrantsExpired():
                for grant in event.grants:
                    del self.prices[grant.participant]
            case happened.AuctionClosed():
                self._close()
            case happened.AuctionSettling():
                self.told_settling = max(self.told_settling, self.promoted) + len(event.participants)
            case happened.AuctionNotWon(reason="outbid"):
                self.told_outbid = max(self.told_outbid, self.promoted) + len(event.participants)
            case happened.AuctionNotWon():
                self.told_lost += len(event.participants)
        self.admissions.evolve(event)
        self.sale.apply(event)

    def _close(self) -> None:
        self.line = [bid.participant for bid in candidates(self.standing.best.values(), self.sale.config)]
        done = {*self.line, *self.admissions.live, *self.sold_to}
        self.losers = [participant for participant in self.numbers if participant not in done]
