"""Addresses nothing may be sent to: a suppression names an address by its hash, and outlives the address."""

from collections.abc import Sequence
from typing import Final

from orchestrator.core.errors import Rejected
from orchestrator.core.events import CommandIgnored, Event
from orchestrator.customers.record.addresses import address_hash
from orchestrator.customers.record.commands import Suppress, Unsuppress
from orchestrator.customers.record.events import DeviceTokenRemoved, Suppressed, Unsuppressed
from orchestrator.customers.record.state import RecordState

HASHES_MAX: Final = 100  # of one channel


def suppress(known: RecordState, command: Suppress, at_ms: int) -> Sequence[Event]:
    """The events of a suppression; raises Rejected."""
    channel, reason = command.channel, command.reason
    if command.all:
        if known.suppressed.get(channel) == reason:
            return (CommandIgnored(reason="already_suppressed"),)
        return (Suppressed(channel, reason, at_ms, all=True),)
    if channel in known.tokens:
        return _drop_device(known, command, at_ms)
    hashed = command.address_hash or _present(known, channel)
    hashes = known.private.suppressed.get(channel, {})
    if hashes.get(hashed) == reason:
        return (CommandIgnored(reason="already_suppressed"),)
    if hashed not in hashes and len(hashes) >= HASHES_MAX:
        # To forget an old one could mean writing to somebody who complained: rather nothing by this channel.
        return (Suppressed(channel, reason, at_ms, all=True),)
    return (Suppressed(channel, reason, at_ms, private={"address_hash": hashed}),)


def unsuppress(known: RecordState, command: Unsuppress, at_ms: int) -> Sequence[Event]:
    """The events of a suppression's end; raises Rejected."""
    channel = command.channel
    hashes = known.private.suppressed.get(channel, {})
    if command.all:
        if channel not in known.suppressed and not hashes:
            return (CommandIgnored(reason="not_suppressed"),)
        return (Unsuppressed(channel, at_ms, all=True),)
    hashed = command.address_hash or _present(known, channel)
    if hashed not in hashes:
        return (CommandIgnored(reason="not_suppressed"),)
    return (Unsuppressed(channel, at_ms, private={"address_hash": hashed}),)


def _present(known: RecordState, channel: str) -> str:
    address = known.address(channel)
    if address is None:
        raise Rejected("customer.no_address", channel=channel)
    return address_hash(channel, address)


def _drop_device(known: RecordState, command: Suppress, at_ms: int) -> Sequence[Event]:
    """A dead device token is dropped: the app registers another if the device is still used."""
    if not command.address_hash:
        raise Rejected("customer.no_address", channel=command.channel)
    for device in known.devices(command.channel):
        if address_hash(command.channel, device.token) == command.address_hash:
            private = {"token": device.token}
            return (DeviceTokenRemoved(device.platform, at_ms, command.reason, private),)
    return (CommandIgnored(reason="unknown_token"),)
