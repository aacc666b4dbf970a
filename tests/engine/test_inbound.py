import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import Malformed
from orchestrator.core.messages import Command
from orchestrator.engine import inbound
from orchestrator.engine.inbound import MAX_COMMAND_BYTES
from tests.support.memory import STREAM, Message

HEADERS = {
    "ce_specversion": "1.0",
    "ce_id": "k1",
    "ce_source": "tests",
    "ce_type": "add",
    "ce_subject": STREAM.text,
    "content-type": "application/json",
}
_TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40)
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=10,
)
_MOMENT = st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def _message(headers: Mapping[str, str | bytes], value: bytes | None = b'{"n":1}') -> Message:
    made = tuple((k, v.encode() if isinstance(v, str) else v) for k, v in headers.items())
    return Message(value, made)


def _decode(message: Message, *, raw: bool = False) -> Command:
    return inbound.decode(message, raw=raw, default_organization="default")


def _event(
    id: str, source: str, type: str, moment: datetime, data: dict[str, Any], more: dict[str, str]
) -> CloudEvent:
    return CloudEvent(
        {
            "id": id,
            "source": source,
            "type": type,
            "subject": STREAM.text,
            "time": moment,
            "specversion": "1.0",
            "datacontenttype": "application/json",
            **more,
        },
        data,
    )


def _written(message: KafkaMessage) -> Message:
    key = message.key.encode() if isinstance(message.key, str) else message.key
    return Message(message.value, tuple(message.headers.items()), key)


_EXTENSIONS = st.fixed_dictionaries(
    {},
    optional={
        "organization": st.just("acme"),
        "replyto": _TEXT,
        "backfill": st.sampled_from(["true", "false"]),
        "traceparent": st.just("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        "tracestate": st.just("vendor=opaque"),
    },
)


@pytest.mark.parametrize("write", [to_binary, to_structured])
@given(_TEXT, _TEXT, _TEXT, _MOMENT, st.dictionaries(_TEXT, _JSON, max_size=4), _EXTENSIONS)
def test_what_the_cloudevents_sdk_writes_is_read(
    write: Any, id: str, source: str, type: str, moment: datetime, data: dict[str, Any], more: dict[str, str]
) -> None:
    """Producers may use the CloudEvents SDK, in binary or structured mode: every attribute arrives."""
    message = _written(
        write(_event(id, source, type, moment, data, more), JSONFormat(), key_mapper=lambda _e: "k")
    )
    command = _decode(message)
    assert (command.id, command.source, command.type) == (id, source, type)
    assert command.stream == STREAM
    assert command.owner == STREAM.owner
    assert command.data == data
    assert command.time_ms == round(moment.timestamp() * 1000)
    assert command.reply_to == more.get("replyto")
    assert command.backfill == (more.get("backfill") == "true")
    assert command.traceparent == more.get("traceparent")
    assert command.tracestate == (more.get("tracestate") if "traceparent" in more else None)


def test_a_structured_flag_may_be_a_json_boolean() -> None:
    """CloudEvents has a boolean type: `backfill` means the same as a word and as a JSON boolean."""
    body = {k.removeprefix("ce_"): v for k, v in HEADERS.items() if k.startswith("ce_")} | {
        "backfill": True,
        "data": {},
    }
    structured = {"content-type": "application/cloudevents+json; charset=utf-8"}
    assert _decode(_message(structured, orjson.dumps(body))).backfill


@pytest.mark.parametrize("write", [to_binary, to_structured])
def test_a_dead_letter_names_the_command_of_either_mode(write: Any) -> None:
    """A command that can't be decided is answered under its own key, however its attributes travelled."""
    event = _event("k9", "shop", "no-such", datetime(2026, 1, 1, tzinfo=UTC), {}, {})
    message = _written(write(event, JSONFormat(), key_mapper=lambda _e: "k"))
    assert inbound.identity_of(message, raw=False) == {
        "source": "shop", "id": "k9", "type": "no-such", "subject": STREAM.text,
    }  # fmt: skip


def _without(*names: str) -> dict[str, str]:
    return {k: v for k, v in HEADERS.items() if k not in names}


def _nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


MALFORMED: list[tuple[str, Message, str]] = [
    ("no value", _message(HEADERS, None), "no_value"),
    ("empty", _message(HEADERS, b""), "bad_json"),
    ("truncated", _message(HEADERS, b'{"n":'), "bad_json"),
    ("array", _message(HEADERS, b"[1]"), "bad_json"),
    ("string", _message(HEADERS, b'"n"'), "bad_json"),
    ("trailing", _message(HEADERS, b'{"n":1} x'), "bad_json"),
    ("NaN", _message(HEADERS, b'{"n":NaN}'), "bad_json"),
    ("infinite", _message(HEADERS, b'{"n":1e999}'), "bad_json"),
    ("invalid UTF-8", _message(HEADERS, b'{"n":"\xff\xfe"}'), "bad_json"),
    ("lone surrogate", _message(HEADERS, b'{"n":"\\ud800"}'), "bad_json"),
    ("deep", _message(HEADERS, _nested(65)), "too_deep"),
    ("very deep", _message(HEADERS, _nested(40_000)), "bad_json"),
    ("deep in lists", _message(HEADERS, b'{"a":' + b"[" * 80 + b"]" * 80 + b"}"), "too_deep"),
    ("too large", _message(HEADERS, b'{"a":"' + b"x" * MAX_COMMAND_BYTES + b'"}'), "too_large"),
    ("header not UTF-8", _message(HEADERS | {"ce_id": b"\xff"}), "malformed"),
    ("another header not UTF-8", _message(HEADERS | {"x": b"\xff"}), "malformed"),
    ("content type", _message(HEADERS | {"content-type": "text/xml"}), "content_type"),
    ("missing id", _message(_without("ce_id")), "missing_header"),
    ("missing source", _message(_without("ce_source")), "missing_header"),
    ("missing type", _message(_without("ce_type")), "missing_header"),
    ("missing subject", _message(_without("ce_subject")), "missing_header"),
    ("no headers", _message({}), "missing_header"),
    ("empty id", _message(HEADERS | {"ce_id": ""}), "malformed"),
    ("NUL in the id", _message(HEADERS | {"ce_id": "a\x00b"}), "malformed"),
    ("NUL in the type", _message(HEADERS | {"ce_type": "a\x00b"}), "malformed"),
    ("long id", _message(HEADERS | {"ce_id": "x" * 513}), "id_too_long"),
    ("long id in bytes", _message(HEADERS | {"ce_id": "ü" * 257}), "id_too_long"),
    ("long source", _message(HEADERS | {"ce_source": "x" * 513}), "id_too_long"),
    ("long type", _message(HEADERS | {"ce_type": "x" * 513}), "id_too_long"),
    ("long reply", _message(HEADERS | {"ce_replyto": "x" * 513}), "id_too_long"),
    ("version", _message(HEADERS | {"ce_specversion": "2.0"}), "malformed"),
    ("time", _message(HEADERS | {"ce_time": "yesterday"}), "malformed"),
    ("time before 1970", _message(HEADERS | {"ce_time": "1969-12-31T23:59:59Z"}), "malformed"),
    ("other organization", _message(HEADERS | {"ce_organization": "else"}), "malformed"),
    ("e-mail as customer", _message(HEADERS | {"ce_subject": "acme/c/a@b.c/toy:t"}), "malformed"),
    ("encoded e-mail", _message(HEADERS | {"ce_subject": "acme/c/a%40b.c/toy:t"}), "malformed"),
    ("other spelling", _message(HEADERS | {"ce_subject": "acme/c/cus%2d1/toy:t"}), "malformed"),
    ("long customer", _message(HEADERS | {"ce_subject": f"acme/c/{'x' * 129}/toy:t"}), "malformed"),
    (
        "structured, truncated",
        _message({"content-type": "application/cloudevents+json"}, b'{"id":'),
        "bad_json",
    ),
    (
        "structured, no data",
        _message({"content-type": "application/cloudevents+json"}, b'{"id":"1"}'),
        "bad_json",
    ),
    (
        "structured, number as id",
        _message(
            {"content-type": "application/cloudevents+json"}, b'{"id":1,"source":"s","type":"t","data":{}}'
        ),
        "missing_header",
    ),
]


@pytest.mark.parametrize(("message", "reason"), [pytest.param(m, r, id=n) for n, m, r in MALFORMED])
def test_what_is_no_command_is_refused_with_a_reason(message: Message, reason: str) -> None:
    """Whatever a producer sends by mistake becomes a named reason, never another error."""
    with pytest.raises(Malformed) as refused:
        _decode(message)
    assert refused.value.reason == reason
    assert re.search(r"\w", str(refused.value))
    inbound.identity_of(message, raw=False)


def test_the_largest_allowed_message_is_accepted() -> None:
    """256 KiB of data are a command."""
    filler = b'{"n":1,"a":"' + b"x" * (MAX_COMMAND_BYTES - 14) + b'"}'
    assert len(filler) == MAX_COMMAND_BYTES
    assert _decode(_message(HEADERS, filler)).data["n"] == 1
    assert _decode(_message(HEADERS, _nested(64))).data


def test_a_trace_context_out_of_shape_is_left_out() -> None:
    """A broken or oversized trace header costs the trace, not the command."""
    for header in ("x" * 10_000, "00-zz-yy-01", "a\x00b"):
        command = _decode(_message(HEADERS | {"traceparent": header, "tracestate": header}))
        assert (command.traceparent, command.tracestate) == (None, None)


RAW = {
    "eventId": "e1", "userId": "cus-1", "sessionId": "s1", "type": "view", "payload": {"n": 2},
    "timestamp": 1_700_000_000_123, "idempotencyKey": "i1",
}  # fmt: skip


def test_a_raw_event_becomes_a_command_of_its_customer() -> None:
    """The flat shape of the shop's topic is a command of the organization that the header names."""
    command = _decode(_message({"ce_organization": "acme"}, orjson.dumps(RAW)), raw=True)
    assert (command.source, command.id, command.type) == ("user-interactions", "i1", "view")
    assert (command.owner, command.stream, command.time_ms) == (STREAM.owner, None, 1_700_000_000_123)
    assert command.data == {"payload": {"n": 2}, "sessionId": "s1"}
    assert _decode(_message({}, orjson.dumps(RAW)), raw=True).owner.organization == "default"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"userId": None}, "bad_json"),
        ({"userId": 7}, "bad_json"),
        ({"userId": ""}, "malformed"),
        ({"userId": "a@b.c"}, "malformed"),
        ({"userId": "x" * 129}, "malformed"),
        ({"idempotencyKey": None}, "bad_json"),
        ({"idempotencyKey": ""}, "malformed"),
        ({"idempotencyKey": "x" * 600}, "id_too_long"),
        ({"payload": []}, "bad_json"),
        ({"timestamp": "2026-01-01"}, "bad_json"),
        ({"timestamp": -1}, "malformed"),
        ({"timestamp": 10**15}, "malformed"),
        ({"type": "a\x00b"}, "malformed"),
    ],
)
def test_a_broken_raw_event_is_refused_with_a_reason(change: dict[str, Any], reason: str) -> None:
    """A raw event without a customer, a key or a time in range is a dead letter, never a guess."""
    with pytest.raises(Malformed) as refused:
        _decode(_message({}, orjson.dumps(RAW | change)), raw=True)
    assert refused.value.reason == reason


@given(st.binary(max_size=60), st.lists(st.tuples(_TEXT, st.binary(max_size=20)), max_size=5), st.booleans())
def test_no_bytes_break_the_decoder(value: bytes, headers: list[tuple[str, bytes]], raw: bool) -> None:
    """Arbitrary bytes are a command or a named refusal."""
    message = Message(value, tuple(headers))
    inbound.identity_of(message, raw=raw)
    try:
        _decode(message, raw=raw)
    except Malformed as refused:
        assert refused.reason  # noqa: PT017  either way is right
