"""What every provider's adapter shares: what came in, what it may use, and what it makes of it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from consumers.actions.address_book import AddressBook
from consumers.actions.delivery_settings import DeliverySettings
from consumers.actions.links import InvalidToken
from consumers.actions.references import REPORT, Reference, read_reference
from consumers.callbacks.reports import Report
from consumers.callbacks.settings import CallbackSettings

FORWARD_MS = 300_000  # how far ahead of ours a provider's clock may be
RETRIED_FOR_MS = 26 * 3_600_000  # the longest that one of them goes on trying, and some


class Received(Struct, frozen=True):
    """One POST: path and query as they came, headers by small names, the whole body."""

    target: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    now_ms: int


class Heard(Struct, frozen=True):
    """The reports in a callback, how many were about nobody we know, and the answer the provider expects."""

    reports: Sequence[Report] = ()
    unmatched: int = 0
    body: bytes = b""
    content_type: str = "text/plain"


class Tools(Struct, frozen=True):
    """What adapters may use. `fetch` gets a public https address: raises OSError or TimeoutError."""

    settings: CallbackSettings
    delivery: DeliverySettings
    fetch: Callable[[str], Awaitable[bytes]]
    addresses: AddressBook | None = None

    def reference(self, token: str) -> Reference | None:
        """The message behind a token that a provider gave back, folded or not; None if none of ours."""
        try:
            return read_reference("".join(token.split()), REPORT, self.delivery.links.keys)
        except InvalidToken:
            return None


class Adapter(Protocol):
    """One provider. Its callbacks come to `/callbacks/<name>`."""

    @property
    def name(self) -> str:
        """The last segment of its path, and its label in metrics."""

    def configured(self, tools: Tools) -> bool:
        """Whether its callbacks can be verified; without that there is no such page."""

    async def read(self, received: Received, tools: Tools) -> Heard:
        """Verifies, then reads. Raises TurnedAway."""


def near(time_ms: int, now_ms: int) -> int:
    """A provider's time, never in our future."""
    return max(0, min(time_ms, now_ms))


def is_recent(time_ms: int, now_ms: int) -> bool:
    """Whether a signed time fits a callback that is, or was just now, on its way."""
    return now_ms - RETRIED_FOR_MS <= time_ms <= now_ms + FORWARD_MS
