"""Events to Kafka records: binary CloudEvents with JSON values; personal data stays behind."""

import base64
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from orchestrator.core.addresses import is_personal
from orchestrator.core.events import EffectRequested
from orchestrator.core.lane_events import BatchNoted, DeadLettered, Forwarded
from orchestrator.core.messages import Outcome
from orchestrator.engine.batch import outcome_of
from orchestrator.engine.envelope import Envelope, Recorded

Headers = list[tuple[str, bytes]]
SOURCE = b"journey-orchestrator"
_JSON = ("content-type", b"application/json")
_VERSION = ("ce_specversion", b"1.0")
_SOURCE = ("ce_source", SOURCE)
_OUTCOME_TYPE = ("ce_type", b"journey.outcome")
_encode = msgspec.json.Encoder().encode
_MESSAGE_MAX_BYTES = 3 << 20  # the outgoing topics take 4 MiB, headers and framing included


class Out(NamedTuple):
    """A record to send: `topic` is a setting's name, not yet a topic."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    partition: int | None = None


@lru_cache(maxsize=4096)
def instant(ms: int) -> bytes:
    """RFC 3339 in UTC with milliseconds."""
    return (
        datetime.fromtimestamp(ms / 1000, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
        .encode()
    )


def _common(event_id: bytes, event_type: tuple[str, bytes], subject: bytes, envelope: Envelope) -> Headers:
    made: Headers = [
        _VERSION, ("ce_id", event_id), _SOURCE, event_type, ("ce_subject", subject),
        ("ce_time", instant(envelope.at_ms)), _JSON,
    ]  # fmt: skip
    if envelope.traceparent:
        made.append(("traceparent", envelope.traceparent.encode()))
    if envelope.tracestate:
        made.append(("tracestate", envelope.tracestate.encode()))
    return made


@lru_cache(maxsize=1024)
def _type(name: str) -> tuple[str, bytes]:
    return ("ce_type", name.encode())


def journey_records(recorded: Recorded) -> list[Out]:
    """A journey's event for everybody, without personal data; and the outcome its command's first event tells."""
    envelope, event = recorded.envelope, recorded.envelope.data
    if getattr(event, "private", None):
        event = msgspec.structs.replace(event, private={})
    subject = envelope.stream.encode()
    key = subject[: subject.rindex(b"/")]
    event_id = b"%b/%d" % (subject, recorded.version)
    made = _common(event_id, _type(recorded.name), subject, envelope)
    if envelope.index:
        made += [("ce_causesource", envelope.source.encode()), ("ce_causeid", envelope.id.encode())]
        return [Out("events", key, _encode(event), made)]
    outcome = outcome_of(recorded.name, envelope, recorded.version)
    told = made.copy()
    told[3] = _OUTCOME_TYPE
    made += [("ce_causesource", envelope.source.encode()), ("ce_causeid", envelope.id.encode())]
    return [Out("events", key, _encode(event), made), Out("outcomes", key, _encode(outcome), told)]


def lane_record(recorded: Recorded) -> Out:
    """What a lane says about itself: rebases, pauses, what became of dead letters."""
    subject = recorded.envelope.stream.encode()
    made = _common(recorded.event_id.encode(), _type(recorded.name), subject, recorded.envelope)
    return Out("events", subject, _encode(recorded.envelope.data), made)


def noted_outcomes(recorded: Recorded) -> list[Out]:
    """Outcomes no journey's event tells: duplicates and conflicts."""
    event = recorded.envelope.data
    assert isinstance(event, BatchNoted)
    traces = event.traceparents or (None,) * len(event.outcomes)
    told = []
    for i, (outcome, trace) in enumerate(zip(event.outcomes, traces, strict=True)):
        key = outcome.stream.rsplit("/", 1)[0].encode()
        envelope = msgspec.structs.replace(recorded.envelope, traceparent=trace)
        told.append(_outcome(f"{recorded.event_id}/{i}", outcome, key, envelope))
    return told


def _outcome(event_id: str, outcome: Outcome, key: bytes, envelope: Envelope) -> Out:
    made = _common(event_id.encode(), _OUTCOME_TYPE, outcome.stream.encode(), envelope)
    return Out("outcomes", key, _encode(outcome), made)


def dead_letter_records(recorded: Recorded) -> list[Out]:
    """The message itself with Kafka Connect's error headers, and its outcome when its key could be read."""
    event = recorded.envelope.data
    assert isinstance(event, DeadLettered)
    message = event.private
    error = f"{event.error}: {message['error']}" if message.get("error") else event.error
    made: Headers = [
        *original_headers(message),
        ("__connect.errors.topic", event.topic.encode()),
        ("__connect.errors.partition", str(event.partition).encode()),
        ("__connect.errors.offset", str(event.offset).encode()),
        ("__connect.errors.stage", b"DECIDE"),
        ("__connect.errors.exception.class.name", event.reason.encode()),
        ("__connect.errors.exception.message", error.encode()),
        ("journey-dead-letter", event.id.encode()),
    ]
    topic = "raw_dead_letters" if message.get("raw") else "dead_letters"
    key = _bytes(message.get("key")) or (event.subject or "").rsplit("/", 1)[0].encode()
    if is_personal(key.decode(errors="replace")):
        key = b""
    out = [_fitting(Out(topic, _bytes(message.get("key")), _bytes(message.get("value")), made))]
    if event.source and event.command_id:
        outcome = Outcome(
            "dead_lettered", event.source, event.command_id, event.subject or "", 0, reason=event.reason,
            detail={"deadLetter": event.id},
        )  # fmt: skip
        out.append(_outcome(f"{recorded.event_id}/0", outcome, key, recorded.envelope))
    return out


def _fitting(out: Out) -> Out:
    """A message that fitted its own topic may not fit another with more headers: its bytes then stay in the log."""
    size = len(out.value or b"") + sum(len(name) + len(value) for name, value in out.headers)
    if size <= _MESSAGE_MAX_BYTES:
        return out
    kept = [h for h in out.headers if h[0].startswith("__connect.errors.") or h[0] == "journey-dead-letter"]
    return out._replace(value=None, headers=[*kept, ("journey-omitted-bytes", str(size).encode())])


def forward_record(recorded: Recorded) -> Out:
    """A stray (or retried) message on its way to the lane it belongs to."""
    event = recorded.envelope.data
    assert isinstance(event, Forwarded)
    message = event.private
    own = {"journey-hops", "journey-format", "journey-origin"}
    made: Headers = [h for h in original_headers(message) if h[0] not in own]
    made.append(("journey-hops", str(event.hops).encode()))
    made.append(("journey-origin", f"{message['topic']}/{message['partition']}/{message['offset']}".encode()))
    if message.get("raw"):
        made.append(("journey-format", b"raw"))
    return Out("commands", _bytes(message.get("key")), _bytes(message.get("value")), made, event.lane)


def effect_record(recorded: Recorded) -> Out:
    """The request for the effect runner; private values are merged in, for it alone."""
    envelope, event = recorded.envelope, recorded.envelope.data
    assert isinstance(event, EffectRequested)
    effect = f"{envelope.stream}/{event.effect}"
    value = {
        "effect": event.effect,
        "attempt": event.attempt,
        "action": event.action,
        "type": event.type,
        "params": event.params | event.private,
        "private": sorted(event.private),  # the names, so that the runner keeps their values out of its log
        "timeout_ms": event.timeout_ms,
        "stream": envelope.stream,
        "idempotency_key": effect,
        "requested_ms": envelope.at_ms,
    }
    made = _common(
        f"{effect}/{event.attempt}".encode(), _type("journey.effect"), envelope.stream.encode(), envelope
    )
    return Out("effects", envelope.owner_text.encode(), _encode(value), made)


def original_headers(message: dict[str, Any]) -> Headers:
    """The headers a kept message came with, in order."""
    return [(name, _bytes(value) or b"") for name, value in message.get("headers", ())]


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)
