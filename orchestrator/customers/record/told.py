"""Commands that other streams of the customer tell the record."""

import re
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from orchestrator.core.errors import Malformed
from orchestrator.customers import fields
from orchestrator.customers.contact import (
    ASK,
    BALANCE,
    CHANNEL,
    CLASS,
    REFERENCE_CHARS_MAX,
    RELEASE,
)

TYPES: Final = (ASK, RELEASE, BALANCE)
_LEDGER_CHARS_MAX: Final = 128
_CURRENCY_CHARS_MAX: Final = 32


class AskContact(Struct, frozen=True):
    """May the journey reach the customer? An answer after `until_ms` is one nobody waits for."""

    channel: str
    reference: str
    message_class: str = ""
    until_ms: int | None = None


class ReleaseContact(Struct, frozen=True):
    """Nothing was sent: the contact that was granted under the reference doesn't count."""

    reference: str


class TellBalance(Struct, frozen=True):
    """A ledger's balance as its event of version `revision` left it."""

    ledger: str
    balance: int
    currency: str
    revision: int


Told = AskContact | ReleaseContact | TellBalance


def parse_told(type: str, data: Mapping[str, Any]) -> Told:
    """The command of a told message of one of `TYPES`. Raises Malformed, naming the field and what it should be."""
    if type == BALANCE:
        fields.only(type, data, {"ledger", "balance", "currency", "revision"})
        return TellBalance(
            fields.text(type, data, "ledger", max_chars=_LEDGER_CHARS_MAX),
            fields.whole(type, data, "balance"),
            fields.text(type, data, "currency", max_chars=_CURRENCY_CHARS_MAX),
            fields.whole(type, data, "revision"),
        )
    reference = fields.text(type, data, "reference", max_chars=REFERENCE_CHARS_MAX)
    if type == RELEASE:
        fields.only(type, data, {"reference"})
        return ReleaseContact(reference)
    fields.only(type, data, {"channel", "class", "reference", "until_ms"})
    channel = fields.text(type, data, "channel", max_chars=32)
    message_class = fields.text(type, data, "class", max_chars=32, default="")
    if not re.fullmatch(CHANNEL, channel):
        raise Malformed(f"{type}: channel must be the name of a channel, such as email")
    if message_class and not re.fullmatch(CLASS, message_class):
        raise Malformed(f"{type}: class must be the name of a class, such as marketing")
    return AskContact(channel, reference, message_class, fields.moment_ms(type, data, "until_ms"))
