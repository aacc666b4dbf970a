"""Kafka records to commands: CloudEvents in binary or structured mode, and the flat raw events of a shop."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec

from orchestrator.core.addresses import customer, is_personal, parse_owner, parse_stream
from orchestrator.core.errors import Malformed
from orchestrator.core.messages import Command

MAX_COMMAND_BYTES = 256 * 1024
RAW_SOURCE = "user-interactions"
FORMAT_HEADER = "journey-format"  # "raw" on a forwarded raw event
HOPS_HEADER = "journey-hops"
ORIGIN_HEADER = "journey-origin"
_ID_MAX_BYTES = 512
_MAX_DEPTH = 64
_JSON_TYPES = ("application/json", "application/cloudevents+json", "")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}").fullmatch
_TRACESTATE = re.compile(r"[ -~]{1,512}").fullmatch
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


class Record(Protocol):
    """The fields of a consumed Kafka record that are read here."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


class RawEvent(msgspec.Struct, gc=False, rename="camel"):
    """Flat JSON of `user-interactions`, one object per customer action, names in camelCase; `timestamp` in ms."""

    user_id: str
    type: str
    idempotency_key: str
    payload: dict[str, Any] = {}
    timestamp: int | None = None
    session_id: str = ""
    event_id: str = ""


_decode_raw = msgspec.json.Decoder(RawEvent).decode


def headers_of(record: Record) -> dict[str, str]:
    """Headers as text, the last of each name winning. Raises Malformed for bytes that aren't UTF-8."""
    try:
        return {name: value.decode() for name, value in record.headers}
    except (UnicodeDecodeError, AttributeError) as error:
        raise Malformed("a header is not UTF-8 text") from error


def decode(record: Record, *, raw: bool, default_organization: str) -> Command:
    """The command of a record. Raises Malformed naming the first thing wrong."""
    value = record.value
    if value is None:
        raise Malformed("the record has no value", reason="no_value")
    if len(value) > MAX_COMMAND_BYTES:
        raise Malformed(f"{len(value)} bytes, more than {MAX_COMMAND_BYTES}: send a reference", "too_large")
    headers = headers_of(record)
    if raw or headers.get(FORMAT_HEADER) == "raw":
        return _raw_command(value, headers, default_organization)
    content_type = headers.get("content-type", "")
    if content_type != "application/json":  # the usual case needs no closer look
        content_type = content_type.partition(";")[0].strip().lower()
        if content_type not in _JSON_TYPES:
            raise Malformed(f"content-type {content_type[:100]!r} is not application/json", "content_type")
        if content_type == "application/cloudevents+json":
            body = _json(value)
            return _command(_attributes(body), body.get("data"), value)
    return _command(headers, _json(value), value)


def _attributes(body: Mapping[str, Any]) -> dict[str, str]:
    """The attributes of a structured CloudEvent as binary mode names them; only words and booleans are any."""
    words = {True: "true", False: "false"}
    return {
        f"ce_{k}": words[v] if isinstance(v, bool) else v
        for k, v in body.items()
        if isinstance(v, str | bool) and k != "data"
    }


def _trace(headers: Mapping[str, str]) -> tuple[str | None, str | None]:
    """W3C trace context, as headers of their own or as CloudEvents extensions; what is out of shape is left out."""
    parent = headers.get("traceparent") or headers.get("ce_traceparent")
    if parent is None or not _TRACEPARENT(parent):
        return None, None
    state = headers.get("tracestate") or headers.get("ce_tracestate")
    return parent, state if state and _TRACESTATE(state) else None


def _raw_command(value: bytes, headers: Mapping[str, str], default_organization: str) -> Command:
    try:
        event = _decode_raw(value)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Malformed(f"not a raw event: {error}", reason="bad_json") from error
    data = {"payload": event.payload, "sessionId": event.session_id}
    _check_depth(data, value)
    owner = customer(headers.get("ce_organization", default_organization), event.user_id)
    traceparent, tracestate = _trace(headers)
    return Command(
        source=RAW_SOURCE,
        id=_identifier("idempotencyKey", event.idempotency_key),
        type=_identifier("type", event.type),
        owner=owner,
        stream=None,
        data=data,
        time_ms=_instant(event.timestamp),
        backfill=headers.get("ce_backfill") == "true",
        traceparent=traceparent,
        tracestate=tracestate,
    )


def _command(headers: Mapping[str, str], data: Any, value: bytes) -> Command:
    if not isinstance(data, dict):
        raise Malformed("data is not a JSON object", reason="bad_json")
    _check_depth(data, value)
    get = headers.get
    try:
        source, command_id, command_type = headers["ce_source"], headers["ce_id"], headers["ce_type"]
        subject = headers["ce_subject"]
    except KeyError as missing:
        raise Malformed(f"header {missing} is missing", reason="missing_header") from None
    if get("ce_specversion", "1.0") != "1.0":
        raise Malformed("ce_specversion is not 1.0")
    if subject.count("/") == 2:
        stream, owner = None, parse_owner(subject)
    else:
        stream = parse_stream(subject)
        owner = stream.owner
    if get("ce_organization", owner.organization) != owner.organization:
        raise Malformed("ce_organization is not the organization of ce_subject")
    reply_to = get("ce_replyto")
    return Command(
        _identifier("ce_source", source),
        _identifier("ce_id", command_id),
        _identifier("ce_type", command_type),
        owner,
        stream,
        data,
        _rfc3339(get("ce_time")),
        None if reply_to is None else _identifier("ce_replyto", reply_to),
        get("ce_backfill") == "true",
        *_trace(headers),
    )


def _identifier(name: str, value: str) -> str:
    if not value:
        raise Malformed(f"{name} is empty")
    if "\x00" in value:
        raise Malformed(f"{name} contains a NUL character")
    if len(value) * 4 > _ID_MAX_BYTES and len(value.encode(errors="replace")) > _ID_MAX_BYTES:
        raise Malformed(f"{name} is longer than {_ID_MAX_BYTES} bytes", reason="id_too_long")
    return value


def _json(value: bytes) -> dict[str, Any]:
    try:
        return _decode_object(value)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Malformed(f"not a JSON object: {error}", reason="bad_json") from error


def _check_depth(data: dict[str, Any], value: bytes) -> None:
    if value.count(b"{") + value.count(b"[") <= _MAX_DEPTH:  # too few brackets to be deep
        return
    level: list[Any] = [data]
    for _ in range(_MAX_DEPTH):
        level = [
            inner
            for value in level
            for inner in (value.values() if isinstance(value, dict) else value)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise Malformed(f"data is nested deeper than {_MAX_DEPTH} levels", reason="too_deep")


def _instant(value: int | None) -> int | None:
    if value is not None and not 0 <= value < 253_402_300_800_000:
        raise Malformed("timestamp is not in milliseconds between 1970 and 9999")
    return value


def _rfc3339(value: str | None) -> int | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise Malformed("ce_time is not RFC 3339") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return _instant(round(moment.timestamp() * 1000))


def trace_of(record: Record) -> tuple[str | None, str | None]:
    """The trace context of a record that may be broken: traceparent and tracestate."""
    try:
        headers = headers_of(record)
        if headers.get("content-type", "").lower().startswith("application/cloudevents+json"):
            headers |= _attributes(_json(record.value or b""))
    except Malformed:
        return None, None
    return _trace(headers)


def identity_of(record: Record, *, raw: bool) -> dict[str, str | None]:
    """What can be read of a broken message: source, id, type and subject for its dead letter and outcome."""
    found: dict[str, str | None] = dict.fromkeys(("source", "id", "type", "subject"))
    try:
        headers = headers_of(record)
        if raw or headers.get(FORMAT_HEADER) == "raw":
            event = _decode_raw(record.value or b"")
            found |= {"source": RAW_SOURCE, "id": event.idempotency_key, "type": event.type}
        else:
            if headers.get("content-type", "").lower().startswith("application/cloudevents+json"):
                headers = _attributes(_json(record.value or b""))
            found |= {name: headers.get(f"ce_{name}") for name in found}
    except (Malformed, msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        pass
    if found["subject"] is not None and is_personal(found["subject"]):
        found["subject"] = None  # it stays with the message's bytes, which are sealed
    return {
        name: value if value is None else value[:_ID_MAX_BYTES].replace("\x00", "�")
        for name, value in found.items()
    }
