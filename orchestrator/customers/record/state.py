"""The state of a customer's record: small, immutable by convention, rebuilt from its events.

Everything that follows from personal values stands in `private`, so that a record whose key was erased is the same
whether it comes from a snapshot or from the log.
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct, convert, to_builtins

from orchestrator.customers.record.addresses import address_hash
from orchestrator.customers.record.caps import Contact

TOKENS_MAX: Final = 20


class Consent(Struct, frozen=True, omit_defaults=True):
    """What the customer last said about a channel, and when."""

    granted: bool
    at_ms: int
    source: str = ""


class DeviceToken(Struct, frozen=True):
    """The address of one device; `platform` is fcm, apns or web."""

    platform: str
    token: str


class Account(Struct, frozen=True):
    """What a ledger said last; `revision` is the version of its event."""

    balance: int
    currency: str
    revision: int


class Private(Struct, frozen=True, omit_defaults=True):
    """The personal part."""

    attributes: dict[str, Any] = {}
    times: dict[str, int] = {}  # since when each is so, deleted ones included
    suppressed: dict[str, dict[str, str]] = {}  # channel to address hash to reason, oldest first
    tokens: tuple[DeviceToken, ...] = ()  # oldest first


class RecordState(Struct, frozen=True, omit_defaults=True):
    """What is known about one customer. The dicts are never changed in place: states share what didn't change."""

    zone: str = ""
    addresses: dict[str, str] = {}
    tokens: dict[str, list[str]] = {}
    attributes: dict[str, Any] = {}
    times: dict[str, int] = {}
    consent: dict[str, Consent] = {}
    suppressed: dict[str, str] = {}  # channels suppressed as a whole, with the reason
    contacts: dict[str, tuple[Contact, ...]] = {}  # that count, by channel, oldest first
    accounts: dict[str, Account] = {}  # by ledger
    forgotten_ms: int | None = None
    described: bool = False  # whether anything was learnt (since the customer was forgotten)
    private: Private = Private()

    def time_ms(self, name: str) -> int | None:
        """Since when an attribute is as it is; None if nothing was ever said."""
        times = [times[name] for times in (self.times, self.private.times) if name in times]
        return max(times, default=None)

    def address(self, channel: str) -> str | None:
        """The channel's present address; None without one, and for channels of device tokens."""
        name = self.addresses.get(channel, "")
        value = self.private.attributes.get(name, self.attributes.get(name))
        return value if isinstance(value, str) else None

    def devices(self, channel: str) -> list[DeviceToken]:
        """The device tokens of a channel, oldest first."""
        platforms = self.tokens.get(channel, ())
        return [token for token in self.private.tokens if token.platform in platforms]

    def suppression(self, channel: str) -> str | None:
        """Why nothing may be sent by the channel to its present address; None if it may."""
        if channel in self.suppressed:
            return self.suppressed[channel]
        hashes, address = self.private.suppressed.get(channel), self.address(channel)
        return hashes.get(address_hash(channel, address)) if hashes and address is not None else None


def dump(state: RecordState) -> dict[str, Any]:
    """JSON form; personal values only under `private`."""
    data: dict[str, Any] = to_builtins(state)
    return data


def load(data: Mapping[str, Any]) -> RecordState:
    """The state from its dump."""
    return convert(dict(data), RecordState)


def label(state: RecordState | None) -> str:
    """FORGOTTEN until something new is learnt, KNOWN from then on."""
    if state is None:
        return ""
    return "KNOWN" if state.described else "FORGOTTEN"


def view(state: RecordState) -> dict[str, Any]:
    """What others may see: values declared as not personal, consent, and which channels have an address."""
    channels = sorted((*state.addresses, *state.tokens))
    reasons = {channel: state.suppression(channel) for channel in channels}
    return {
        "attributes": state.attributes,
        "zone": state.attributes.get(state.zone),
        "consent": {channel: consent.granted for channel, consent in state.consent.items()},
        "suppressed": {channel: reason for channel, reason in reasons.items() if reason is not None},
        "reachable": [c for c in channels if state.address(c) is not None or state.devices(c)],
        "devices": len(state.private.tokens),
        "contacts": {channel: [one.at_ms for one in own] for channel, own in state.contacts.items()},
        "accounts": {ledger: one.balance for ledger, one in state.accounts.items()},
        "forgottenAt": state.forgotten_ms,
    }
