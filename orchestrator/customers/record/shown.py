"""The record as flows read it."""

from collections.abc import Mapping
from typing import Any

from orchestrator.customers.record.state import RecordState
from orchestrator.customers.record.values import is_zone


def shown(state: RecordState | None) -> Mapping[str, Any]:
    """What becomes `facts.record`; empty without a record, or with a forgotten one.

    `attributes`: values by name that aren't personal; `private`: the personal ones. `zone`: the name of a time zone that
    exists, or None. `consent`: channel to true or false, missing where the customer never said. `suppressed`: channel to reason,
    only those to which nothing may be sent. `addresses` (personal): channel to the address, or to a list of
    `{"platform", "token"}`, the newest device first; channels without one are missing.
    """
    if state is None or not state.described:
        return {}
    channels = (*state.addresses, *state.tokens)
    addresses: dict[str, Any] = {}
    for channel in channels:
        address, devices = state.address(channel), state.devices(channel)
        if address is not None:
            addresses[channel] = address
        elif devices:
            addresses[channel] = [{"platform": d.platform, "token": d.token} for d in reversed(devices)]
    zone = state.private.attributes.get(state.zone, state.attributes.get(state.zone))
    suppressed = {channel: state.suppression(channel) for channel in channels}
    return {
        "attributes": state.attributes,
        "private": state.private.attributes,
        "zone": zone if isinstance(zone, str) and is_zone(zone) else None,
        "consent": {channel: consent.granted for channel, consent in state.consent.items()},
        "suppressed": {channel: reason for channel, reason in suppressed.items() if reason is not None},
        "addresses": addresses,
    }
