"""Commands that the log itself sends: what one stream tells another, and answers to who asked for one.

They go out at least once, like outcomes; the receiver's own stream remembers their keys, so each is decided once.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec

from orchestrator.core.addresses import Stream, lane_of, parse_stream
from orchestrator.core.errors import Malformed
from orchestrator.core.events import SHARED_EVENTS, CommandIgnored, CommandRejected, Told
from orchestrator.core.lane_events import DeadLettered
from orchestrator.core.messages import TELLING_SOURCE
from orchestrator.engine.envelope import Envelope, Recorded
from orchestrator.engine.frame import EFFECT_SOURCE
from projections.records import Headers, Out, instant, original_headers

_SHARED: Final = frozenset(event.NAME for event in SHARED_EVENTS)
_ATTEMPT = re.compile(r"[1-9][0-9]{0,8}")
_encode = msgspec.json.Encoder().encode


def reply_address(stream: Stream, effect: str, attempt: int) -> str:
    """The `ce_replyto` by which an effect's command is answered to the journey that asked for the effect."""
    return f"{stream.text}?effect={effect}&attempt={attempt}"


def told_records(recorded: Recorded, lanes: int) -> list[Out]:
    """What the event tells other streams, in its order."""
    envelope = recorded.envelope
    return [
        _command(told, TELLING_SOURCE, f"{recorded.event_id}/{index}", envelope, lanes)
        for index, told in enumerate(envelope.data.tells())
    ]


def replies(events: Sequence[Recorded], lanes: int) -> list[Out]:
    """Answers to the commands whose last event is among these; their other events are looked for here, too."""
    told: list[Out] = []
    for at, recorded in enumerate(events):
        envelope = recorded.envelope
        if isinstance(envelope.data, DeadLettered):
            told += _dead_letter_reply(recorded, lanes)
        elif envelope.reply_to is not None and envelope.index == envelope.count - 1:
            own = events[max(0, at - envelope.index) : at + 1]
            told += _reply(
                envelope.reply_to, envelope, _ending([r for r in own if _same(r, recorded)]), lanes
            )
    return told


def _same(one: Recorded, other: Recorded) -> bool:
    return one.envelope.stream == other.envelope.stream and one.envelope.id == other.envelope.id


def _ending(events: Sequence[Recorded]) -> tuple[str, dict[str, Any]]:
    """The answer's type and data by what a command's events say."""
    last = events[-1]
    result: dict[str, Any] = {}
    outcome = "applied"
    for recorded in events:
        event = recorded.envelope.data
        if isinstance(event, CommandRejected):
            return "effect.failed", {"error": event.rule, "detail": "the command was rejected"}
        if isinstance(event, CommandIgnored):
            outcome = "ignored"
        if recorded.name not in _SHARED:
            fields = msgspec.to_builtins(event)
            fields.pop("private", None)
            result |= fields
    result |= {"stream": last.envelope.stream, "revision": last.version, "outcome": outcome}
    return "effect.succeeded", {"result": result}


def _dead_letter_reply(recorded: Recorded, lanes: int) -> list[Out]:
    event = recorded.envelope.data
    for name, value in original_headers(event.private):
        if name == "ce_replyto":
            failed = {"error": event.reason, "detail": "the command was dead-lettered"}
            address = value.decode(errors="replace")
            return _reply(address, recorded.envelope, ("effect.failed", failed), lanes)
    return []


def _reply(address: str, envelope: Envelope, ending: tuple[str, dict[str, Any]], lanes: int) -> list[Out]:
    """One command, or none where the address is no stream's effect: others may use `ce_replyto` as they like."""
    text, _, query = address.partition("?")
    asked: Mapping[str, list[str]] = parse_qs(query)
    effect, attempt = asked.get("effect", [""])[0], asked.get("attempt", [""])[0]
    if not effect or not _ATTEMPT.fullmatch(attempt):
        return []
    try:
        stream = parse_stream(text)
    except Malformed:
        return []
    kind, data = ending
    told = Told(stream.text, kind, {"effect": effect, "attempt": int(attempt), **data})
    return [_command(told, EFFECT_SOURCE, f"{stream.text}/{effect}/{attempt}", envelope, lanes)]


def _command(told: Told, source: str, command_id: str, cause: Envelope, lanes: int) -> Out:
    owner = told.stream.rpartition("/")[0]
    made: Headers = [
        ("ce_specversion", b"1.0"), ("ce_id", command_id.encode()), ("ce_source", source.encode()),
        ("ce_type", told.type.encode()), ("ce_subject", told.stream.encode()), ("ce_time", instant(cause.at_ms)),
        ("content-type", b"application/json"), *_trace(cause),
    ]  # fmt: skip
    if cause.backfill:
        made.append(("ce_backfill", b"true"))
    return Out("commands", owner.encode(), _encode(told.data), made, lane_of(owner, lanes))


def _trace(cause: Envelope) -> Iterable[tuple[str, bytes]]:
    pairs = (("traceparent", cause.traceparent), ("tracestate", cause.tracestate))
    return ((name, value.encode()) for name, value in pairs if value)
