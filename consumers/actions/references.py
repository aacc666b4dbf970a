"""References to messages: sealed tokens in links, pixels and headers that come back with a provider's report."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from consumers.actions.base import EffectRequest
from consumers.actions.links import (
    OWNERS,
    InvalidToken,
    Subscription,
    make_token,
    read_token,
    seal,
    unseal,
)
from orchestrator.core.addresses import Owner, Stream
from orchestrator.core.errors import Malformed
from orchestrator.customers.record import address_hash

URL_CHARS_MAX: Final = 2_000
HEADER_TOKEN_CHARS_MAX: Final = 700  # with its URL it must fit one line of a mail's head
REFERENCE_HEADER: Final = "X-Message-Reference"
OPEN: Final = b"open.v1"
CLICK: Final = b"click.v1"
REPORT: Final = b"report.v1"
UNSUBSCRIBE: Final = b"unsubscribe.v2"


class Reference(Struct, frozen=True):
    """One message: the effect that sent it, its node or action, channel, template, and the hash of its address."""

    stream: Stream
    effect: str
    action: str
    channel: str
    template: str = ""
    address_hash: str = ""  # as the customer's record knows it; "" where there is no single address

    @property
    def owner(self) -> Owner:
        return self.stream.owner

    @property
    def message(self) -> str:
        """The message's id: its effect's, which all attempts share."""
        return f"{self.stream.text}/{self.effect}"


def reference_of(request: EffectRequest, channel: str, template: str, address: str) -> Reference:
    """The reference of the message that an effect sends to `address`."""
    hashed = address_hash(channel, address) if address else ""
    return Reference(request.stream, request.effect, request.action, channel, template, hashed)


def make_reference(reference: Reference, purpose: bytes, keys: str) -> str:
    """A token for this purpose alone: OPEN, REPORT or UNSUBSCRIBE."""
    return seal(purpose, _fields(reference), keys)


def read_reference(token: str, purpose: bytes, keys: str) -> Reference:
    """The message a token is about. Raises InvalidToken."""
    return _reference(unseal(purpose, token, keys))


def make_click(reference: Reference, url: str, keys: str) -> str:
    """The token of a link in a message; the address it leads to is sealed in it, so that nobody can choose another."""
    return seal(CLICK, (*_fields(reference), url), keys)


def read_click(token: str, keys: str) -> tuple[Reference, str]:
    """The message and the address of a link. Raises InvalidToken."""
    *fields, url = unseal(CLICK, token, keys)
    if not leads_somewhere(url):
        raise InvalidToken("not a web address")
    return _reference(fields), url


def make_unsubscribe(reference: Reference, keys: str) -> str:
    """The token of an unsubscribe link: with the message, or where that would be too long, the customer alone."""
    token = make_reference(reference, UNSUBSCRIBE, keys)
    if len(token) <= HEADER_TOKEN_CHARS_MAX:
        return token
    return make_token(Subscription(reference.owner, reference.channel, reference.template), keys)


def read_unsubscribe(token: str, keys: str) -> Reference | Subscription:
    """What an unsubscribe link ends. Raises InvalidToken."""
    try:
        return read_reference(token, UNSUBSCRIBE, keys)
    except InvalidToken:
        return read_token(token, keys)


def leads_somewhere(url: str) -> bool:
    """Whether a link may be followed through us: a web address without control characters, not too long."""
    if len(url) > URL_CHARS_MAX or not url.isprintable():
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


def _fields(reference: Reference) -> tuple[str, ...]:
    stream, owner = reference.stream, reference.stream.owner
    packed = urlsafe_b64encode(bytes.fromhex(reference.address_hash)).rstrip(b"=").decode()
    return (
        *(owner.organization, owner.scope, owner.id, stream.kind, stream.definition, stream.run),
        *(reference.effect, reference.action, reference.channel, reference.template, packed),
    )


def _reference(fields: list[str]) -> Reference:
    try:
        organization, scope, identity, kind, definition, run, effect, action, channel, template, packed = (
            fields
        )
        stream = Stream(OWNERS[scope](organization, identity), kind, definition, run)
        hashed = urlsafe_b64decode(packed + "=" * (-len(packed) % 4)).hex()
    except (KeyError, ValueError, Base64Error, Malformed):
        raise InvalidToken("not a message") from None
    return Reference(stream, effect, action, channel, template, hashed)
