"""What happens to a points ledger. Each transaction says its change and the balance after it.

`points` is signed: negative when points leave. The balance is the sum of all `points`. `transaction` is unique in the
ledger (`t` and the event's version). `at_ms` is lane time.
"""

from typing import ClassVar

from orchestrator.core.events import Event


class AccountOpened(Event, frozen=True):
    """The account exists from here on; its currency stays, whatever later documents say."""

    NAME: ClassVar[str] = "points.account_opened.v1"
    currency: str
    definition_version: int
    at_ms: int


class Awarded(Event, frozen=True):
    """Points came in; what of them is neither spent nor taken back ends at `expires_ms`."""

    NAME: ClassVar[str] = "points.awarded.v1"
    transaction: str
    points: int
    balance: int
    at_ms: int
    definition_version: int
    reason: str
    reference: str = ""
    expires_ms: int | None = None


class Redeemed(Event, frozen=True):
    """Points were spent, those first that would expire first."""

    NAME: ClassVar[str] = "points.redeemed.v1"
    transaction: str
    points: int
    balance: int
    at_ms: int
    definition_version: int
    reason: str
    reference: str = ""


class Reversed(Event, frozen=True):
    """An award was taken back, from its own points first; or spent points came back, to expire like new ones."""

    NAME: ClassVar[str] = "points.reversed.v1"
    transaction: str
    reverses: str
    points: int
    balance: int
    at_ms: int
    definition_version: int
    reason: str = ""
    expires_ms: int | None = None  # of the award taken back, or of the points that came back


class Expired(Event, frozen=True):
    """Points that nobody spent in time are gone."""

    NAME: ClassVar[str] = "points.expired.v1"
    transaction: str
    points: int
    balance: int
    at_ms: int
    expires_ms: int


EVENTS: tuple[type[Event], ...] = (AccountOpened, Awarded, Redeemed, Reversed, Expired)
