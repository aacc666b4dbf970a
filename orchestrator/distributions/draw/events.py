"""What happens in a draw. Times are ms of lane time, hashes hex; a ticket is a number from 1 in order of arrival."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar, Final

from msgspec import Struct

from orchestrator.core.events import Event, Told
from orchestrator.distributions.admissions import ADMISSION_EVENTS
from orchestrator.distributions.base import Room, distribution_stream
from orchestrator.distributions.draw.config import DrawConfig
from orchestrator.distributions.fairness.entries import draw_hash, entry_leaf, identity
from orchestrator.distributions.fairness.seeds import BeaconRound
from orchestrator.distributions.told import ParticipantLeft, StandingTold, TimesOver


class DrawPrepared(Event, frozen=True):
    """The draw exists, with all its rules."""

    NAME: ClassVar[str] = "draw.prepared.v1"
    room: Room
    config: DrawConfig
    at_ms: int


class DrawConfigured(Event, frozen=True):
    """An operator changed the rules."""

    NAME: ClassVar[str] = "draw.configured.v1"
    room: Room
    config: DrawConfig
    at_ms: int


class DrawCommitted(Event, frozen=True):
    """The organizer is bound: to a secret by its hash, to a beacon's round, to the numbers; `terms` is their digest.

    `private` holds the key of the salts, without which nobody finds a participant among the entries.
    """

    NAME: ClassVar[str] = "draw.committed.v1"
    room: Room
    commitment: str
    terms: str
    at_ms: int
    beacon: BeaconRound | None = None
    private: dict[str, Any] = {}


class DrawOpened(Event, frozen=True):
    """Entries are taken."""

    NAME: ClassVar[str] = "draw.opened.v1"
    room: Room
    at_ms: int


class EntryPaused(Event, frozen=True):
    """Nobody may enter until it is resumed."""

    NAME: ClassVar[str] = "draw.entry_paused.v1"
    room: Room
    at_ms: int


class EntryResumed(Event, frozen=True):
    """Entries are taken again."""

    NAME: ClassVar[str] = "draw.entry_resumed.v1"
    room: Room
    at_ms: int


class DrawEntered(Event, frozen=True):
    """Somebody is in. What is told is all that a receipt of the entry states, and the salt that opens its leaf."""

    NAME: ClassVar[str] = "draw.entered.v1"
    TELLS: ClassVar[bool] = True
    room: Room
    participant: str
    ticket: int
    weight: int
    salt: str
    terms: str
    at_ms: int

    def tells(self) -> Sequence[Told]:
        return (
            self.room.told(
                self.participant,
                "entered",
                self.at_ms,
                participation=f"{self.room.distribution}-{self.ticket}",
                ticket=self.ticket,
                phase="open",
                receipt=receipt_of(self),
            ),
        )


class DrawLeft(Event, frozen=True):
    """Somebody withdrew before the close."""

    NAME: ClassVar[str] = "draw.left.v1"
    TELLS: ClassVar[bool] = True
    room: Room
    participant: str
    ticket: int
    at_ms: int

    def tells(self) -> Sequence[Told]:
        return (self.room.told(self.participant, "left", self.at_ms, reason="left"),)


class DrawTold(StandingTold, frozen=True):
    """Somebody asked how things stand."""

    NAME: ClassVar[str] = "draw.told.v1"


class DrawClosed(Event, frozen=True):
    """Nobody enters or leaves any more; the entries are being sealed."""

    NAME: ClassVar[str] = "draw.closed.v1"
    room: Room
    at_ms: int


class EntriesSealed(Event, frozen=True):
    """The tree of entries has grown to ticket `upto`: `roots` are those of its full subtrees; these are in it."""

    NAME: ClassVar[str] = "draw.entries_sealed.v1"
    TELLS: ClassVar[bool] = True
    room: Room
    upto: int
    roots: tuple[str, ...]
    participants: tuple[str, ...]
    at_ms: int

    def tells(self) -> Sequence[Told]:
        return [self.room.told(who, "settling", self.at_ms) for who in self.participants]


class RootPublished(Event, frozen=True):
    """The entries are fixed: nothing in them can be changed without changing `root`."""

    NAME: ClassVar[str] = "draw.root_published.v1"
    room: Room
    root: str
    at_ms: int


class BeaconGiven(Event, frozen=True):
    """The named round was published with this value."""

    NAME: ClassVar[str] = "draw.beacon_given.v1"
    room: Room
    value: str
    at_ms: int


class DrawHeld(Event, frozen=True):
    """The secret is revealed, and with it the seed: the ranking is decided from here on."""

    NAME: ClassVar[str] = "draw.held.v1"
    room: Room
    secret: str
    seed: str
    at_ms: int


class EntriesRanked(Event, frozen=True):
    """The balls of the entries up to ticket `upto` are out of the drum."""

    NAME: ClassVar[str] = "draw.entries_ranked.v1"
    room: Room
    upto: int
    at_ms: int


class PlacesDrawn(Event, frozen=True):
    """These tickets come next in the ranking; the first of them has rank `first`."""

    NAME: ClassVar[str] = "draw.places_drawn.v1"
    room: Room
    first: int
    tickets: tuple[int, ...]
    at_ms: int


class PlacesOffered(Event, frozen=True):
    """These may claim a place until `expires_ms`."""

    NAME: ClassVar[str] = "draw.places_offered.v1"
    TELLS: ClassVar[bool] = True
    room: Room
    participants: tuple[str, ...]
    expires_ms: int
    at_ms: int

    def tells(self) -> Sequence[Told]:
        return [
            self.room.told(who, "offered", self.at_ms, expires_ms=self.expires_ms)
            for who in self.participants
        ]


class OffersExpired(TimesOver, frozen=True):
    """These did not claim in time: their places go to reserves."""

    NAME: ClassVar[str] = "draw.offers_expired.v1"
    WHAT: ClassVar[str] = "offer"


class OfferDeclined(ParticipantLeft, frozen=True):
    """A winner doesn't want the place."""

    NAME: ClassVar[str] = "draw.offer_declined.v1"


class Replacement(Struct, frozen=True, array_like=True):
    """The next of the ranking instead of somebody who gave way, and why."""

    ticket: int
    replaces: int
    reason: str


class PlacesReplaced(Event, frozen=True):
    """Places that were not taken go to the next of the ranking."""

    NAME: ClassVar[str] = "draw.places_replaced.v1"
    room: Room
    replacements: tuple[Replacement, ...]
    at_ms: int


class NotSelected(Event, frozen=True):
    """Chance was against these. `upto`: everyone up to this ticket (or rank, for reserves) has been told."""

    NAME: ClassVar[str] = "draw.not_selected.v1"
    TELLS: ClassVar[bool] = True
    room: Room
    participants: tuple[str, ...]
    upto: int
    reason: str  # not_drawn, or no_place_left for reserves
    at_ms: int

    def tells(self) -> Sequence[Told]:
        return [
            self.room.told(who, "not_selected", self.at_ms, reason=self.reason) for who in self.participants
        ]


class DrawAbandoned(Event, frozen=True):
    """The draw will not be held."""

    NAME: ClassVar[str] = "draw.abandoned.v1"
    room: Room
    reason: str  # for operators
    at_ms: int


class EntrantsDismissed(Event, frozen=True):
    """These, up to ticket `upto`, have heard that there is no draw."""

    NAME: ClassVar[str] = "draw.entrants_dismissed.v1"
    TELLS: ClassVar[bool] = True
    room: Room
    participants: tuple[str, ...]
    upto: int
    at_ms: int

    def tells(self) -> Sequence[Told]:
        return [self.room.told(who, "ended", self.at_ms, reason="abandoned") for who in self.participants]


class DrawEnded(Event, frozen=True):
    """Nothing is left to do: `settled`, or `abandoned`."""

    NAME: ClassVar[str] = "draw.ended.v1"
    room: Room
    reason: str
    at_ms: int


def receipt_of(entered: DrawEntered) -> dict[str, Any]:
    """What a receipt states, and the salt beside it."""
    salt = bytes.fromhex(entered.salt)
    draw, hashed = _draw(entered.room)
    leaf = entry_leaf(hashed, entered.ticket, entered.weight, identity(salt, entered.participant))
    return {
        "draw": draw,
        "ticket": entered.ticket,
        "weight": entered.weight,
        "leaf": leaf.hex(),
        "entered_ms": entered.at_ms,
        "terms": entered.terms,
        "salt": entered.salt,
    }


@lru_cache(maxsize=256)
def _draw(room: Room) -> tuple[str, bytes]:
    text = distribution_stream(room.organization, room.experience, room.distribution, room.mechanism).text
    return text, draw_hash(text)


DRAW_EVENTS: Final[tuple[type[Event], ...]] = (
    DrawPrepared,
    DrawConfigured,
    DrawCommitted,
    DrawOpened,
    EntryPaused,
    EntryResumed,
    DrawEntered,
    DrawLeft,
    DrawTold,
    DrawClosed,
    EntriesSealed,
    RootPublished,
    BeaconGiven,
    DrawHeld,
    EntriesRanked,
    PlacesDrawn,
    PlacesOffered,
    OffersExpired,
    OfferDeclined,
    PlacesReplaced,
    NotSelected,
    DrawAbandoned,
    EntrantsDismissed,
    DrawEnded,
    *ADMISSION_EVENTS,
)
