"""The record as flows read it."""

from collections.abc import Mapping
from typing import Any

from orchestrator.core.decider import Definition
from orchestrator.customers.record.account import shown_account
from orchestrator.customers.record.model import Compiled
from orchestrator.customers.record.state import RecordState
from orchestrator.customers.record.values import is_zone


def shown(state: RecordState | None, definition: Definition | None = None) -> Mapping[str, Any]:
    """What becomes `facts.record`; empty without a record, or with a forgotten one, but for the customer's account.

    `definition` is the newest one of the record: caps count from its publishing on, not from the customer's next command.

    `attributes`: values by name that aren't personal; `private`: the personal ones. `zone`: the name of a time zone that
    exists, or None. `consent`: channel to true or false, missing where the customer never said. `suppressed`: channel to reason,
    only those to which nothing may be sent. `addresses` (personal): channel to the address, or to a list of
    `{"platform", "token"}`, the newest device first; channels without one are missing. `account`: what the ledgers told,
    missing if none did. `contact`: how to ask for a contact, see `_contact`.
    """
    if state is None:
        return {}
    account = {"account": shown_account(state.accounts)} if state.accounts else {}
    if not state.described:
        return account
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
        **({} if definition is None else {"contact": _contact(definition)}),
        **account,
    }


def _contact(definition: Definition) -> Mapping[str, Any]:
    """`record`: the id of the record to ask; `capped`: the channels with a cap, so that nobody else needs to ask.

    `exempt` and `unasked`: the classes of messages that need not ask, and that need no consent.
    """
    compiled: Compiled = definition.compiled
    return {
        "record": definition.id,
        "capped": compiled.capped,
        "exempt": [name for name, rules in compiled.classes.items() if rules.exempt],
        "unasked": [name for name, rules in compiled.classes.items() if not rules.consent],
    }
