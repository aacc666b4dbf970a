"""What happens to a customer's record. Whatever tells about the person stands in `private`."""

from typing import Any, ClassVar

from msgspec import field

from orchestrator.core.events import Event


class Described(Event, frozen=True):
    """How this record is to be read from here on: a document's zone and channels, whenever they change.

    The record takes them from here and never from a document, so that a replay needs none.
    """

    NAME: ClassVar[str] = "customer.described.v1"
    definition_version: int
    zone: str = ""  # the attribute that holds the time zone
    addresses: dict[str, str] = {}  # channel to attribute
    tokens: dict[str, list[str]] = {}  # channel to platforms


class Identified(Event, frozen=True):
    """Attributes became known, or were deleted (null). `private` holds the personal ones by name."""

    NAME: ClassVar[str] = "customer.identified.v1"
    at_ms: int  # since when it is so
    definition_version: int
    set: dict[str, Any] = {}
    stale: tuple[str, ...] = ()  # declared attributes that are known from a later time, and stayed
    learnt_from: str = ""  # the raw event type, if one told it
    private: dict[str, Any] = {}


class ConsentChanged(Event, frozen=True):
    """The customer agreed (or not) to be reached by the channel."""

    NAME: ClassVar[str] = "customer.consent_changed.v1"
    channel: str
    granted: bool
    at_ms: int
    source: str = ""


class Suppressed(Event, frozen=True):
    """Nothing is sent any more: by the channel at all, or to the address whose hash is in `private`."""

    NAME: ClassVar[str] = "customer.suppressed.v1"
    channel: str
    reason: str
    at_ms: int
    all: bool = False
    private: dict[str, Any] = {}


class Unsuppressed(Event, frozen=True):
    """An address may be used again, or (`all`) the channel with each of its addresses."""

    NAME: ClassVar[str] = "customer.unsuppressed.v1"
    channel: str
    at_ms: int
    all: bool = False
    private: dict[str, Any] = {}


class DeviceTokenAdded(Event, frozen=True):
    """A device can be reached; too many of them, and the oldest is dropped."""

    NAME: ClassVar[str] = "customer.device_token_added.v1"
    platform: str
    at_ms: int
    private: dict[str, Any] = {}


class DeviceTokenRemoved(Event, frozen=True):
    """A token is gone; `reason` says so if it was a suppression that named it."""

    NAME: ClassVar[str] = "customer.device_token_removed.v1"
    platform: str
    at_ms: int
    reason: str = ""
    private: dict[str, Any] = {}


class ContactCounted(Event, frozen=True):
    """A journey may reach the customer once, and it counts; the permission is told right after this event.

    `stream` asked for it under `reference`. Older contacts by the channel than `window_ms` count no more.
    """

    NAME: ClassVar[str] = "customer.contact_counted.v1"
    channel: str
    at_ms: int
    stream: str
    reference: str
    window_ms: int
    definition_version: int
    message_class: str = field(name="class", default="")


class ContactRefused(Event, frozen=True):
    """A journey may not reach the customer: no_record, suppressed, no_consent, late, or the cap that was used up."""

    NAME: ClassVar[str] = "customer.contact_refused.v1"
    channel: str
    reason: str
    at_ms: int
    stream: str
    reference: str
    definition_version: int
    message_class: str = field(name="class", default="")
    cap: dict[str, Any] = {}  # channel, per and limit of the one that frees last
    counted: int = 0  # contacts it counts now
    free_at_ms: int | None = None


class ContactReleased(Event, frozen=True):
    """Nothing was sent: the contact doesn't count any more."""

    NAME: ClassVar[str] = "customer.contact_released.v1"
    channel: str
    at_ms: int
    stream: str
    reference: str


class BalanceTold(Event, frozen=True):
    """A ledger's balance, as its event of version `revision` left it."""

    NAME: ClassVar[str] = "customer.balance_told.v1"
    ledger: str
    balance: int
    currency: str
    revision: int
    at_ms: int


class Forgotten(Event, frozen=True):
    """Nothing is known any more but that it was forgotten, and when that was asked for."""

    NAME: ClassVar[str] = "customer.forgotten.v1"
    at_ms: int


EVENTS: tuple[type[Event], ...] = (
    Described,
    Identified,
    ConsentChanged,
    Suppressed,
    Unsuppressed,
    DeviceTokenAdded,
    DeviceTokenRemoved,
    ContactCounted,
    ContactRefused,
    ContactReleased,
    BalanceTold,
    Forgotten,
)
