"""Commands to a customer's record, and how they are read from a message's type and data."""

import re
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from orchestrator.core.errors import Malformed
from orchestrator.customers import fields
from orchestrator.customers.contact import CHANNEL
from orchestrator.customers.record.addresses import HASH
from orchestrator.customers.record.schema import PLATFORMS
from orchestrator.customers.record.told import TYPES as TOLD_TYPES
from orchestrator.customers.record.told import parse_told

REASONS: Final = ("hard_bounce", "complaint", "stop", "manual")
TOKEN_CHARS_MAX: Final = 2_048
_SOURCE = re.compile(r"[\w .:/-]{0,100}")  # no '@': a source is a place, never a person


class Identify(Struct, frozen=True):
    """Attributes a service knows; None deletes one. `occurred_ms` is since when it is so."""

    attributes: Mapping[str, Any]
    occurred_ms: int | None = None


class HearEvent(Struct, frozen=True):
    """A raw event; the document says which attributes it tells."""

    type: str
    data: Mapping[str, Any]


class SetConsent(Struct, frozen=True):
    """The customer agreed, or no longer agrees, to be reached by a channel."""

    channel: str
    granted: bool
    source: str = ""
    occurred_ms: int | None = None


class Suppress(Struct, frozen=True):
    """Send nothing more to one address (the present one, where no hash is given), or by the channel at all."""

    channel: str
    reason: str
    address_hash: str = ""
    all: bool = False


class Unsuppress(Struct, frozen=True):
    """Lift what `Suppress` did to an address (the present one, where no hash is given), or all of a channel."""

    channel: str
    address_hash: str = ""
    all: bool = False


class AddToken(Struct, frozen=True):
    """A device can be reached by this token."""

    platform: str
    token: str


class RemoveToken(Struct, frozen=True):
    """The token reaches nobody any more."""

    platform: str
    token: str


class Forget(Struct, frozen=True):
    """Drop everything that is known."""


def parse(type: str, data: Mapping[str, Any]) -> Any:
    """The command of an addressed message. Raises Malformed, naming the field and what it should be."""
    match type:
        case "identify":
            return _identify(type, data)
        case "consent":
            fields.only(type, data, {"channel", "granted", "source", "occurred"})
            source = data.get("source") or ""
            if not isinstance(source, str) or not _SOURCE.fullmatch(source):
                raise Malformed(
                    "consent: source must be up to 100 letters, digits, blanks or any of . : / - _"
                )
            granted = fields.flag(type, data, "granted")
            return SetConsent(_channel(type, data), granted, source, fields.moment_ms(type, data, "occurred"))
        case "suppress":
            fields.only(type, data, {"channel", "reason", "address_hash", "all"})
            reason = fields.one_of(type, data, "reason", REASONS)
            return Suppress(_channel(type, data), reason, *_target(type, data))
        case "unsuppress":
            fields.only(type, data, {"channel", "address_hash", "all"})
            return Unsuppress(_channel(type, data), *_target(type, data))
        case "device_token":
            fields.only(type, data, {"platform", "token", "action"})
            platform = fields.one_of(type, data, "platform", PLATFORMS)
            token = fields.text(type, data, "token", max_chars=TOKEN_CHARS_MAX)
            adds = fields.one_of(type, data, "action", ("add", "remove")) == "add"
            return AddToken(platform, token) if adds else RemoveToken(platform, token)
        case "forget":
            fields.only(type, data, set())
            return Forget()
        case _ if type in TOLD_TYPES:
            return parse_told(type, data)
    known = "identify, consent, suppress, unsuppress, device_token, forget"
    raise Malformed(f"{type[:100]!r} is no command of a customer record; these are: {known}", "unknown_type")


def parse_raw(type: str, data: Mapping[str, Any]) -> HearEvent:
    """The command for a raw event. Raises Malformed."""
    payload = data.get("payload")
    if payload is not None and not isinstance(payload, dict):
        raise Malformed(f"event {type[:100]!r}: payload must be an object")
    return HearEvent(type, {"payload": payload or {}})


def _identify(type: str, data: Mapping[str, Any]) -> Identify:
    fields.only(type, data, {"attributes", "occurred"})
    attributes = data.get("attributes")
    if not isinstance(attributes, dict) or not attributes:
        raise Malformed("identify: attributes must be an object with at least one attribute")
    return Identify(attributes, fields.moment_ms(type, data, "occurred"))


def _channel(type: str, data: Mapping[str, Any]) -> str:
    channel = fields.text(type, data, "channel", max_chars=32)
    if not re.fullmatch(CHANNEL, channel):
        raise Malformed(f"{type}: channel must be the name of a channel, such as email")
    return channel


def _target(type: str, data: Mapping[str, Any]) -> tuple[str, bool]:
    everything = fields.flag(type, data, "all", default=False)
    hashed = fields.text(type, data, "address_hash", max_chars=64, default="")
    if hashed and not re.fullmatch(HASH, hashed):
        raise Malformed(f"{type}: address_hash must be a SHA-256 in small hexadecimal letters")
    if hashed and everything:
        raise Malformed(f"{type}: give address_hash or all, not both")
    return hashed, everything
