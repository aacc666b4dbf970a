"""How events change a customer's record. Events carry what they changed; no document is read."""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from orchestrator.core.events import Event
from orchestrator.customers.record.caps import Contact, with_contact, without
from orchestrator.customers.record.events import (
    BalanceTold,
    ConsentChanged,
    ContactCounted,
    ContactReleased,
    Described,
    DeviceTokenAdded,
    DeviceTokenRemoved,
    Forgotten,
    Identified,
    Suppressed,
    Unsuppressed,
)
from orchestrator.customers.record.state import TOKENS_MAX, Account, Consent, DeviceToken, RecordState


def evolve(state: RecordState | None, event: Event) -> RecordState | None:
    """The state after an event. A private field may read as empty: its customer's key was erased."""
    step = _STEPS.get(type(event))
    return state if step is None else step(state or RecordState(), event)


def _described(state: RecordState, event: Described) -> RecordState:
    return replace(state, zone=event.zone, addresses=event.addresses, tokens=event.tokens, described=True)


def _identified(state: RecordState, event: Identified) -> RecordState:
    attributes, times = _overlaid(state.attributes, state.times, event.set, event.at_ms)
    private = state.private
    if event.private:
        own, own_times = _overlaid(private.attributes, private.times, event.private, event.at_ms)
        private = replace(private, attributes=own, times=own_times)
    return replace(state, attributes=attributes, times=times, private=private)


def _overlaid(
    values: Mapping[str, Any], times: Mapping[str, int], changes: Mapping[str, Any], at_ms: int
) -> tuple[dict[str, Any], dict[str, int]]:
    merged = {**values, **changes}
    return (
        {name: value for name, value in merged.items() if value is not None},
        {**times, **dict.fromkeys(changes, at_ms)},
    )


def _consent(state: RecordState, event: ConsentChanged) -> RecordState:
    consent = Consent(event.granted, event.at_ms, event.source)
    return replace(state, consent={**state.consent, event.channel: consent})


def _suppressed(state: RecordState, event: Suppressed) -> RecordState:
    if event.all:
        return replace(state, suppressed={**state.suppressed, event.channel: event.reason})
    hashed = event.private.get("address_hash")
    if hashed is None:
        return state
    hashes = {**state.private.suppressed.get(event.channel, {}), hashed: event.reason}
    return _with_hashes(state, event.channel, hashes)


def _unsuppressed(state: RecordState, event: Unsuppressed) -> RecordState:
    hashes = state.private.suppressed.get(event.channel, {})
    if event.all:
        kept = {channel: reason for channel, reason in state.suppressed.items() if channel != event.channel}
        return _with_hashes(replace(state, suppressed=kept), event.channel, {})
    lifted = event.private.get("address_hash")
    return _with_hashes(state, event.channel, {h: reason for h, reason in hashes.items() if h != lifted})


def _with_hashes(state: RecordState, channel: str, hashes: dict[str, str]) -> RecordState:
    suppressed = {name: own for name, own in state.private.suppressed.items() if name != channel}
    if hashes:
        suppressed[channel] = hashes
    return replace(state, private=replace(state.private, suppressed=suppressed))


def _token_added(state: RecordState, event: DeviceTokenAdded) -> RecordState:
    token = event.private.get("token")
    if token is None:
        return state
    added = DeviceToken(event.platform, token)
    tokens = (*(t for t in state.private.tokens if t != added), added)[-TOKENS_MAX:]
    return replace(state, private=replace(state.private, tokens=tokens))


def _token_removed(state: RecordState, event: DeviceTokenRemoved) -> RecordState:
    removed = DeviceToken(event.platform, event.private.get("token", ""))
    tokens = tuple(t for t in state.private.tokens if t != removed)
    return replace(state, private=replace(state.private, tokens=tokens))


def _counted(state: RecordState, event: ContactCounted) -> RecordState:
    contact = Contact(event.at_ms, event.stream, event.reference)
    return replace(state, contacts=with_contact(state.contacts, event.channel, contact, event.window_ms))


def _released(state: RecordState, event: ContactReleased) -> RecordState:
    return replace(state, contacts=without(state.contacts, event.stream, event.reference))


def _balance(state: RecordState, event: BalanceTold) -> RecordState:
    account = Account(event.balance, event.currency, event.revision)
    return replace(state, accounts={**state.accounts, event.ledger: account})


def _forgotten(_state: RecordState, event: Forgotten) -> RecordState:
    return RecordState(forgotten_ms=event.at_ms)


_STEPS: dict[type[Event], Callable[[RecordState, Any], RecordState]] = {
    Described: _described,
    Identified: _identified,
    ConsentChanged: _consent,
    Suppressed: _suppressed,
    Unsuppressed: _unsuppressed,
    DeviceTokenAdded: _token_added,
    DeviceTokenRemoved: _token_removed,
    ContactCounted: _counted,
    ContactReleased: _released,
    BalanceTold: _balance,
    Forgotten: _forgotten,
}
