"""What follows from a command: pure decisions over a customer's record."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec.json import encode

from orchestrator.core.decider import EffectResult, Facts, TimerFired
from orchestrator.core.errors import Rejected
from orchestrator.core.events import CommandIgnored, Event
from orchestrator.customers.record import account, contacts, suppression
from orchestrator.customers.record.commands import (
    AddToken,
    Forget,
    HearEvent,
    Identify,
    RemoveToken,
    SetConsent,
    Suppress,
    Unsuppress,
)
from orchestrator.customers.record.events import (
    ConsentChanged,
    Described,
    DeviceTokenAdded,
    DeviceTokenRemoved,
    Forgotten,
    Identified,
)
from orchestrator.customers.record.evolve import evolve
from orchestrator.customers.record.model import Compiled
from orchestrator.customers.record.state import DeviceToken, RecordState
from orchestrator.customers.record.told import AskContact, ReleaseContact, TellBalance
from orchestrator.customers.record.values import KEPT_MAX, RECORD_BYTES_MAX, check_unknown, check_value

CLOCK_SKEW_MS: Final = 60_000
NOTHING: Final = RecordState()


def decide(state: RecordState | None, command: Any, facts: Facts) -> Sequence[Event]:
    """The events of a command; raises Rejected."""
    match command:
        case Forget():
            return (Forgotten(at_ms=min(facts.occurred_ms, facts.now_ms)),)
        case TimerFired():
            return (CommandIgnored(reason="timer_not_armed"),)
        case EffectResult():
            return (CommandIgnored(reason="no_effect"),)
        case AskContact() | ReleaseContact() | TellBalance():
            return _answer(state or NOTHING, command, facts)
    known = state or NOTHING
    at_ms = _occurred_ms(command, facts)
    if known.forgotten_ms is not None and at_ms < known.forgotten_ms:
        return (CommandIgnored(reason="older_than_forgetting"),)
    events = _decide(known, command, facts, at_ms)
    if isinstance(events[0], CommandIgnored):
        return events
    return (*_description(known, facts), *events)


def _answer(
    known: RecordState, command: AskContact | ReleaseContact | TellBalance, facts: Facts
) -> Sequence[Event]:
    """What the customer's journeys and ledgers say: it makes nobody known who wasn't."""
    match command:
        case AskContact():
            read = _read_by(known, facts.definition.compiled) if known.described else known
            return contacts.ask(read, command, facts)
        case ReleaseContact():
            return contacts.release(known, command, facts)
        case TellBalance():
            return account.keep(known, command, facts)


def _decide(known: RecordState, command: Any, facts: Facts, at_ms: int) -> Sequence[Event]:
    compiled: Compiled = facts.definition.compiled
    match command:
        case Identify():
            return _learn(known, command.attributes, facts, at_ms)
        case HearEvent():
            told = _told(compiled, command)
            if not told:
                return (CommandIgnored(reason="tells_nothing"),)
            return _learn(known, told, facts, at_ms, learnt_from=command.type)
        case SetConsent():
            return _consent(known, command, facts, at_ms)
        case Suppress():
            _require_channel(compiled, command.channel, facts)
            return suppression.suppress(_read_by(known, compiled), command, at_ms)
        case Unsuppress():
            _require_channel(compiled, command.channel, facts)
            return suppression.unsuppress(_read_by(known, compiled), command, at_ms)
        case AddToken():
            if not any(command.platform in platforms for platforms in compiled.tokens.values()):
                raise Rejected("customer.no_channel_for_platform", platform=command.platform)
            return (DeviceTokenAdded(command.platform, at_ms, private={"token": command.token}),)
        case RemoveToken():
            if DeviceToken(command.platform, command.token) not in known.private.tokens:
                return (CommandIgnored(reason="unknown_token"),)
            return (DeviceTokenRemoved(command.platform, at_ms, private={"token": command.token}),)
    raise TypeError(f"{type(command).__name__} is no command of a customer record")


def _occurred_ms(command: Any, facts: Facts) -> int:
    """When it occurred. A clock far ahead would keep later writers out, so it is held near the lane's."""
    said = getattr(command, "occurred_ms", None)
    return (
        facts.occurred_ms if said is None else min(said, max(facts.now_ms, facts.occurred_ms) + CLOCK_SKEW_MS)
    )


def _read_by(known: RecordState, compiled: Compiled) -> RecordState:
    """The record as the newest document has it read, whether or not the log says so already."""
    described = Described(0, compiled.zone, compiled.addresses, compiled.tokens)
    return evolve(known, described) or NOTHING


def _description(known: RecordState, facts: Facts) -> Sequence[Event]:
    compiled: Compiled = facts.definition.compiled
    if known.described and (known.zone, known.addresses, known.tokens) == (
        compiled.zone,
        compiled.addresses,
        compiled.tokens,
    ):
        return ()
    return (Described(facts.definition.version, compiled.zone, compiled.addresses, compiled.tokens),)


def _learn(
    known: RecordState, told: Mapping[str, Any], facts: Facts, at_ms: int, *, learnt_from: str = ""
) -> Sequence[Event]:
    """Each attribute is taken unless it is known from a later time: its last writer wins, whoever arrives last."""
    compiled: Compiled = facts.definition.compiled
    public: dict[str, Any] = {}
    private: dict[str, Any] = {}
    stale: list[str] = []
    for name, value in told.items():
        since_ms = known.time_ms(name)
        if name not in compiled.attributes and (value is not None or since_ms is None):
            check_unknown(compiled, name)
        if value is not None:
            check_value(compiled, name, value)
        if since_ms is not None and at_ms < since_ms:
            if name in compiled.attributes:
                stale.append(name)
        elif compiled.is_personal(name):
            private[name] = value
            if name in known.attributes:  # the document has made it personal since
                public[name] = None
        else:
            public[name] = value
            if name in known.private.attributes:
                private[name] = None
    if not public and not private:
        return (CommandIgnored(reason="older_than_stored"),)
    version = facts.definition.version
    event = Identified(at_ms, version, public, tuple(stale), learnt_from, private)
    _check_size(compiled, evolve(known, event) or NOTHING)
    return (event,)


def _check_size(compiled: Compiled, after: RecordState) -> None:
    kept = [name for name in after.private.times if name not in compiled.attributes]
    if len(kept) > KEPT_MAX:
        raise Rejected("customer.too_many_attributes", undeclared_max=KEPT_MAX)
    if len(encode((after.attributes, after.private.attributes))) > RECORD_BYTES_MAX:
        raise Rejected("customer.too_large", bytes_max=RECORD_BYTES_MAX)


def _told(compiled: Compiled, command: HearEvent) -> dict[str, Any]:
    """What a raw event tells by the document; what it lacks, or holds as null, it doesn't tell."""
    told: dict[str, Any] = {}
    for name, path in compiled.events.get(command.type, {}).items():
        value: Any = command.data
        for step in path:
            value = value.get(step) if isinstance(value, dict) else None
        if value is not None:
            told[name] = value
    return told


def _consent(known: RecordState, command: SetConsent, facts: Facts, at_ms: int) -> Sequence[Event]:
    _require_channel(facts.definition.compiled, command.channel, facts)
    stored = known.consent.get(command.channel)
    if stored is not None:
        withdrawn_then = not stored.granted and command.granted and at_ms == stored.at_ms
        if at_ms < stored.at_ms or withdrawn_then:  # of two at once, the no counts
            return (CommandIgnored(reason="older_than_stored"),)
    return (ConsentChanged(command.channel, command.granted, at_ms, command.source),)


def _require_channel(compiled: Compiled, channel: str, facts: Facts) -> None:
    if channel not in compiled.channels:
        raise Rejected(
            "customer.unknown_channel",
            channel=channel,
            channels=sorted(compiled.channels),
            definition_version=facts.definition.version,
        )
