"""What a template becomes: compiled once per version, rendered to one message per customer."""

from collections.abc import Mapping
from typing import Any, Protocol

from msgspec import Struct


class Text(Protocol):
    """One compiled Liquid source."""

    @property
    def reads(self) -> tuple[str, ...]:
        """The variables it reads from outside, as paths (`customer.first_name`), sorted."""

    def render(self, variables: Mapping[str, Any]) -> str:
        """Its text. Raises RenderFailed."""


class Compiled(Struct, frozen=True):
    """A template ready to render. `parts` are named as in the document: `subject`, `html`, `data/offer_id`."""

    id: str
    channel: str  # email | sms | push
    parts: dict[str, Text]
    sender: str = ""  # of an email: "Name <address>"; "" means the settings' own
    reply_to: str = ""
    list_unsubscribe: bool = False

    @property
    def reads(self) -> tuple[str, ...]:
        """The variables that any part reads, sorted; for checks of what a definition provides."""
        return tuple(sorted({path for part in self.parts.values() for path in part.reads}))


class EmailMessage(Struct, frozen=True):
    """An email as it will be sent. At least one of `html` and `text` is set; no header holds a line break."""

    subject: str
    html: str | None = None
    text: str | None = None
    sender: str = ""
    reply_to: str = ""
    list_unsubscribe: bool = False


class SmsMessage(Struct, frozen=True):
    """A text message."""

    text: str


class PushMessage(Struct, frozen=True):
    """A notification; `data` reaches the app, not the customer's eyes."""

    title: str
    body: str
    data: dict[str, str] = {}


Message = EmailMessage | SmsMessage | PushMessage
