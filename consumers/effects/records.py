"""The wire forms: effect requests in, result commands and dead letters out. Pure."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec
import orjson
from aiokafka import ConsumerRecord
from msgspec import Struct

from consumers.actions.base import Done, EffectRequest, Failed, Headers, rfc3339
from consumers.actions.refusals import Undeliverable
from orchestrator.core.addresses import Stream, parse_stream
from orchestrator.core.errors import Malformed

SOURCE = "engine/effects"
MAX_KEY_CHARACTERS = 4_096
MAX_DETAIL_CHARACTERS = 500
MAX_RESULT_BYTES = 128 * 1024
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_TRACESTATE = re.compile(r"[\x20-\x7e]{1,512}")


class Out(Struct, frozen=True):
    """A record to be produced."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers


class Unreadable(Exception):
    """An effect record that can't be performed. `answer_to` is set if its attempt can still be answered."""

    def __init__(self, reason: str, message: str, answer_to: EffectRequest | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.answer_to = answer_to


class _Wire(Struct, frozen=True):
    effect: str
    attempt: int
    type: str
    stream: str
    idempotency_key: str
    timeout_ms: int
    action: str = ""
    params: dict[str, Any] = {}
    private: list[str] | None = None


_decoder = msgspec.json.Decoder(_Wire)


def decode(record: ConsumerRecord, max_timeout_ms: int) -> EffectRequest:
    """The request in a record of the effects topic, its timeout cut to `max_timeout_ms`. Raises Unreadable."""
    headers = {name: value for name, value in record.headers if value is not None}
    try:
        wire = _decoder.decode(record.value or b"")
        stream = parse_stream(wire.stream)
        _check(wire)
    except (msgspec.MsgspecError, Malformed, UnicodeDecodeError, RecursionError) as error:
        # Messages of msgspec name places and types; Malformed quotes the address, which is opaque by contract.
        raise Unreadable(
            "malformed", str(error)[:MAX_DETAIL_CHARACTERS], _addressee(record.value, headers)
        ) from error
    return EffectRequest(
        stream=stream,
        effect=wire.effect,
        attempt=wire.attempt,
        action=wire.action,
        type=wire.type,
        params=wire.params,
        timeout_ms=min(wire.timeout_ms, max_timeout_ms),
        idempotency_key=wire.idempotency_key,
        private=None if wire.private is None else frozenset(wire.private),
        traceparent=_header(headers, "traceparent", _TRACEPARENT),
        tracestate=_header(headers, "tracestate", _TRACESTATE),
    )


def result(
    request: EffectRequest, ending: Done | Failed, *, at_most_once: bool, now_ms: int, topic: str
) -> Out:
    """The command that tells the journey how its effect ended; `(source, id)` makes repeats harmless."""
    data: dict[str, Any] = {"effect": request.effect, "attempt": request.attempt}
    match ending:
        case Done(result=found):
            status = "succeeded"
            data |= {"result": found}
        case Failed() as failed:
            # A call that is never repeated and may have happened: neither yes nor no.
            status = "unknown" if at_most_once and failed.in_doubt else "failed"
            data |= {
                "error": failed.error,
                "detail": failed.detail[:MAX_DETAIL_CHARACTERS],
                "retryable": failed.retryable and status == "failed",
                "retry_after_ms": failed.retry_after_ms,
            }
            if isinstance(failed, Undeliverable):
                data["result"] = failed.result
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", request.id.encode()),
        ("ce_source", SOURCE.encode()),
        ("ce_type", f"effect.{status}".encode()),
        ("ce_subject", request.stream.text.encode()),
        ("ce_time", rfc3339(now_ms).encode()),
        ("content-type", b"application/json"),
        *request.trace_headers,
    ]
    return Out(topic, request.stream.owner.text.encode(), _encoded(data), headers)


def dead_letter(record: ConsumerRecord, error: Unreadable, topic: str) -> Out:
    """The record's own bytes and headers, with Kafka Connect's headers saying where it was and why it is here."""
    added: list[tuple[str, str]] = [
        ("topic", record.topic),
        ("partition", str(record.partition)),
        ("offset", str(record.offset)),
        ("connector.name", "effects"),
        ("task.id", str(record.partition)),
        ("stage", "VALUE_CONVERTER"),
        ("class.name", f"{__name__}.decode"),
        ("exception.class.name", type(error).__name__),
        ("exception.message", f"{error.reason}: {error}"),
    ]
    own: Sequence[tuple[str, bytes]] = [h for h in record.headers if not h[0].startswith("__connect.errors.")]
    headers = [*own, *((f"__connect.errors.{name}", text.encode(errors="replace")) for name, text in added)]
    return Out(topic, record.key or b"", record.value, headers)


def _encoded(data: dict[str, Any]) -> bytes:
    try:
        value = orjson.dumps(data)
        if len(value) <= MAX_RESULT_BYTES:
            return value
    except (orjson.JSONEncodeError, TypeError):
        pass
    # The effect happened: that must be told even if what the provider said about it can't be.
    return orjson.dumps(data | {"result": {"dropped": "too long or not JSON"}})


def _check(wire: _Wire) -> None:
    if not wire.effect or not wire.type or not wire.idempotency_key:
        raise Malformed("effect, type and idempotency_key must not be empty")
    if len(wire.idempotency_key) > MAX_KEY_CHARACTERS or _CONTROLS.search(wire.idempotency_key + wire.effect):
        raise Malformed("effect or idempotency_key is too long or holds control characters")
    if wire.attempt < 1 or wire.timeout_ms < 1:
        raise Malformed("attempt and timeout_ms must be above 0")


def _addressee(value: bytes | None, headers: dict[str, bytes]) -> EffectRequest | None:
    """Whom an unreadable request can still be answered to: by its JSON, else by its CloudEvents headers."""
    return _from_value(value) or _from_headers(headers)


def _from_value(value: bytes | None) -> EffectRequest | None:
    try:
        match msgspec.json.decode(value or b""):
            case {"stream": str(text), "effect": str(effect), "attempt": int(attempt)} if not isinstance(
                attempt, bool
            ):
                return _answerable(parse_stream(text), effect, attempt)
    except (msgspec.MsgspecError, Malformed, UnicodeDecodeError, RecursionError):
        pass
    return None


def _from_headers(headers: dict[str, bytes]) -> EffectRequest | None:
    try:
        text = headers.get("ce_subject", b"").decode()
        own = headers.get("ce_id", b"").decode().removeprefix(f"{text}/")
        effect, _, attempt = own.rpartition("/")
        return _answerable(parse_stream(text), effect, int(attempt))
    except (Malformed, UnicodeDecodeError, ValueError):
        return None


def _answerable(stream: Stream, effect: str, attempt: int) -> EffectRequest | None:
    if not effect or _CONTROLS.search(effect) or not 1 <= attempt < 2**31:
        return None
    return EffectRequest(
        stream=stream,
        effect=effect,
        attempt=attempt,
        action="",
        type="",
        params={},
        timeout_ms=1,
        idempotency_key="",
    )


def _header(headers: dict[str, bytes], name: str, shape: re.Pattern[str]) -> str:
    text = headers.get(name, b"").decode("ascii", errors="replace")
    return text if shape.fullmatch(text) else ""
