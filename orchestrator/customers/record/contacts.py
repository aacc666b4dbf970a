"""May a journey reach the customer? Decided in the record's one stream, so that no two journeys take the same place."""

from collections.abc import Sequence
from typing import Any

from orchestrator.core.decider import Facts
from orchestrator.core.errors import Rejected
from orchestrator.core.events import CommandIgnored, CommandSent, Event
from orchestrator.customers.contact import GRANTED, REFUSED, is_stream_of
from orchestrator.customers.record.caps import Over, caps_of, channel_of, over
from orchestrator.customers.record.events import ContactCounted, ContactRefused, ContactReleased
from orchestrator.customers.record.model import Compiled, MessageClass
from orchestrator.customers.record.state import RecordState
from orchestrator.customers.record.told import AskContact, ReleaseContact


def ask(known: RecordState, command: AskContact, facts: Facts) -> Sequence[Event]:
    """The answer, and the contact if it counts; raises Rejected for askers that can't be answered."""
    asker = teller(facts)
    if channel_of(known.contacts, asker, command.reference) is not None:
        return (CommandIgnored(reason="already_counted"),)
    compiled: Compiled = facts.definition.compiled
    rules = compiled.classes.get(command.message_class, MessageClass())
    caps = () if rules.exempt else caps_of(compiled.caps, command.channel)
    reason = _refusal(known, command, rules, facts.now_ms)
    passed = None if reason else over(caps, known.contacts, facts.now_ms)
    if passed is not None:
        reason = "cap"
    if reason:
        return _refused(command, facts, asker, reason, passed)
    answer = CommandSent(asker, GRANTED, {"reference": command.reference, "counted": bool(caps)})
    if not caps:
        return (answer,)
    counted = ContactCounted(
        channel=command.channel,
        at_ms=facts.now_ms,
        stream=asker,
        reference=command.reference,
        window_ms=max(cap.per_ms for cap in caps),
        definition_version=facts.definition.version,
        message_class=command.message_class,
    )
    return (counted, answer)


def release(known: RecordState, command: ReleaseContact, facts: Facts) -> Sequence[Event]:
    """A contact that didn't happen doesn't count; raises Rejected. Only who asked for it can give it back."""
    asker = teller(facts)
    channel = channel_of(known.contacts, asker, command.reference)
    if channel is None:
        return (CommandIgnored(reason="not_counted"),)
    return (ContactReleased(channel, facts.now_ms, asker, command.reference),)


def teller(facts: Facts) -> str:
    """The stream of the customer's that told the command. Raises Rejected when none of them did."""
    stream = facts.teller
    if not is_stream_of(facts.stream.owner, stream):
        raise Rejected("customer.not_told_by_a_journey")
    return stream


def _refused(
    command: AskContact, facts: Facts, asker: str, reason: str, passed: Over | None
) -> Sequence[Event]:
    data: dict[str, Any] = {"reference": command.reference, "reason": reason}
    cap: dict[str, Any] = {}
    counted, free_at_ms = 0, None
    if passed is not None:
        cap = {"channel": passed.cap.channel, "per": passed.cap.per, "limit": passed.cap.limit}
        counted, free_at_ms = passed.counted, passed.free_at_ms
        data["free_at_ms"] = free_at_ms
    refused = ContactRefused(
        channel=command.channel,
        reason=reason,
        at_ms=facts.now_ms,
        stream=asker,
        reference=command.reference,
        definition_version=facts.definition.version,
        message_class=command.message_class,
        cap=cap,
        counted=counted,
        free_at_ms=free_at_ms,
    )
    return (refused, CommandSent(asker, REFUSED, data))


def _refusal(known: RecordState, command: AskContact, rules: MessageClass, now_ms: int) -> str:
    """Why the customer can't be reached at all, caps apart; empty if they can."""
    if command.until_ms is not None and now_ms > command.until_ms:
        return "late"
    if not known.described:
        return "no_record"
    if known.suppression(command.channel) is not None:
        return "suppressed"
    consent = known.consent.get(command.channel)
    if rules.consent and (consent is None or not consent.granted):
        return "no_consent"
    return ""
