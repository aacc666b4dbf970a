"""What happens in an auction. Times are ms of lane time, amounts whole numbers of the smallest unit.

What is told to participants names amounts, never who bid them.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from orchestrator.core.events import Event, Told
from orchestrator.distributions.admissions import ADMISSION_EVENTS
from orchestrator.distributions.auction.config import AuctionConfig
from orchestrator.distributions.auction.settling import Bid
from orchestrator.distributions.base import Room
from orchestrator.distributions.told import ParticipantCompleted, ParticipantLeft, StandingTold


class AuctionPrepared(Event, frozen=True):
    """The auction exists, with all its rules."""

    NAME: ClassVar[str] = "auction.prepared.v1"
    room: Room
    config: AuctionConfig
    at_ms: int


class AuctionConfigured(Event, frozen=True):
    """An operator changed the rules."""

    NAME: ClassVar[str] = "auction.configured.v1"
    room: Room
    config: AuctionConfig
    at_ms: int


class AuctionOpened(Event, frozen=True):
    """Bids can be placed; a Dutch price begins to fall."""

    NAME: ClassVar[str] = "auction.opened.v1"
    room: Room
    at_ms: int


class AuctionPaused(Event, frozen=True):
    """No bids until it is resumed; the close stands, and a Dutch price falls on."""

    NAME: ClassVar[str] = "auction.paused.v1"
    room: Room
    at_ms: int


class AuctionResumed(Event, frozen=True):
    """Bids can be placed again."""

    NAME: ClassVar[str] = "auction.resumed.v1"
    room: Room
    at_ms: int


class AuctionClosed(Event, frozen=True):
    """No more bids. `winners` of an English auction, the best first: they follow from its bids alone."""

    NAME: ClassVar[str] = "auction.closed.v1"
    room: Room
    winners: tuple[Bid, ...]
    at_ms: int
    reason: str


class AuctionEntered(Event, frozen=True):
    """Somebody may bid. `again`: they could already, and are told once more, also of a grant they hold."""

    NAME: ClassVar[str] = "auction.entered.v1"
    TELLS: ClassVar[bool] = True
    room: Room
    participant: str
    number: int
    at_ms: int
    again: bool = False
    grant: dict[str, Any] = {}  # jti, expires_ms, quantity and price

    def tells(self) -> Sequence[Told]:
        participation = f"{self.room.distribution}-{self.number}"
        told = [
            self.room.told(
                self.participant, "entered", self.at_ms, participation=participation, phase="bidding"
            )
        ]
        if self.grant:
            told.append(self.room.told(self.participant, "admitted", self.at_ms, **self.grant))
        return told


class AuctionLeft(ParticipantLeft, frozen=True):
    """Somebody who had not bid left."""

    NAME: ClassVar[str] = "auction.left.v1"


class BidPlaced(Event, frozen=True):
    """A valid bid; `displaced` leads no more because of it, `minimum` is what a next bid has to reach."""

    NAME: ClassVar[str] = "auction.bid_placed.v1"
    TELLS: ClassVar[bool] = True
    room: Room
    bid: Bid
    leading: int  # the highest amount
    minimum: int
    closes_ms: int
    displaced: str = ""
    extended: bool = False

    def tells(self) -> Sequence[Told]:
        told: dict[str, Any] = {"phase": "open", "leading_amount": self.leading, "minimum": self.minimum}
        if self.closes_ms:
            told["closes_at_ms"] = self.closes_ms
        bidder = self.bid.participant
        own = told | {"bid": self.bid.amount, "standing": "leading"}
        found = [self.room.told(bidder, "updated", self.bid.at_ms, **own)]
        if self.displaced:
            theirs = told | {"standing": "outbid"}
            found.append(self.room.told(self.displaced, "updated", self.bid.at_ms, **theirs))
        return found


class AuctionCompleted(ParticipantCompleted, frozen=True):
    """A winner is done with paying."""

    NAME: ClassVar[str] = "auction.completed.v1"


class AuctionSettling(Event, frozen=True):
    """These come next when a winner doesn't pay."""

    NAME: ClassVar[str] = "auction.settling.v1"
    TELLS: ClassVar[bool] = True
    room: Room
    participants: tuple[str, ...]
    at_ms: int

    def tells(self) -> Sequence[Told]:
        return [self.room.told(who, "settling", self.at_ms) for who in self.participants]


class AuctionNotWon(Event, frozen=True):
    """It is over for these without a unit."""

    NAME: ClassVar[str] = "auction.not_won.v1"
    TELLS: ClassVar[bool] = True
    room: Room
    participants: tuple[str, ...]
    reason: str  # outbid, or not_won: no bid, or none that could win
    at_ms: int

    def tells(self) -> Sequence[Told]:
        return [
            self.room.told(who, "not_selected", self.at_ms, reason=self.reason) for who in self.participants
        ]


class AuctionTold(StandingTold, frozen=True):
    """Somebody asked how things stand."""

    NAME: ClassVar[str] = "auction.told.v1"


AUCTION_EVENTS: Final[tuple[type[Event], ...]] = (
    AuctionPrepared,
    AuctionConfigured,
    AuctionOpened,
    AuctionPaused,
    AuctionResumed,
    AuctionClosed,
    AuctionEntered,
    AuctionLeft,
    BidPlaced,
    AuctionCompleted,
    AuctionSettling,
    AuctionNotWon,
    AuctionTold,
    *ADMISSION_EVENTS,
)
