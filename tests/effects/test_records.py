"""Wire forms: what a request may look like, what answers it, what a dead letter keeps."""

from typing import Any

import orjson
import pytest
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from consumers.actions.base import Done, Failed
from consumers.effects.records import Unreadable, dead_letter, decode, result
from orchestrator.core.addresses import customer, lane_of
from tests.effects.wire import STREAM, headers, record, value

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_request_is_read_with_its_trace() -> None:
    """Everything a provider needs comes out of the record, and the trace context with it."""
    request = decode(record(value(params={"url": "u"}), [("traceparent", TRACE.encode())]), 60_000)
    assert (request.stream.text, request.effect, request.attempt) == (STREAM, "1-0", 1)
    assert (request.params, request.idempotency_key) == ({"url": "u"}, f"{STREAM}/1-0")
    assert request.trace_headers == (("traceparent", TRACE.encode()),)


def test_timeouts_are_cut_to_the_bound() -> None:
    """No definition makes the runner wait longer than its settings allow."""
    assert decode(record(value(timeout_ms=10**9)), 60_000).timeout_ms == 60_000


@pytest.mark.parametrize(
    "body",
    [
        value(attempt="one"),
        value(attempt=0),
        value(timeout_ms=0),
        value(timeout_ms="long"),
        value(params=[]),
        value(kind=""),
        value(effect="a\nb"),
        value(idempotency_key=""),
        value(idempotency_key="x\r\ny"),
        value(idempotency_key="x" * 5_000),
        {k: v for k, v in value().items() if k != "type"},
        b"{truncated",
        b"\xff\xfe",
        b"[]",
        b"[" * 100_000,
        b'{"attempt": NaN}',
        b"",
        None,
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_answered_by_its_headers(body: Any) -> None:
    """A broken request whose headers are whole gets its answer, so that its journey doesn't wait in vain."""
    with pytest.raises(Unreadable) as caught:
        decode(record(body, headers("1-0")), 60_000)
    assert caught.value.answer_to is not None
    assert caught.value.answer_to.id == f"{STREAM}/1-0/1"


def test_what_cannot_be_read_is_answered_by_its_value() -> None:
    """Without headers, the stream and effect in the JSON are enough for an answer."""
    with pytest.raises(Unreadable) as caught:
        decode(record(value(timeout_ms=-1, attempt=4)), 60_000)
    assert caught.value.answer_to is not None
    assert caught.value.answer_to.id == f"{STREAM}/1-0/4"


@pytest.mark.parametrize(
    ("body", "own"),
    [
        (b"garbage", []),
        (None, []),
        (value(stream="not/a/stream"), []),
        (value(stream="acme/c/a@b.test/lifecycle:shop"), []),
        (b"x", [("ce_subject", b"\xff"), ("ce_id", b"x/1/1")]),
        (b"x", [("ce_subject", STREAM.encode()), ("ce_id", STREAM.encode())]),
        (b"x", [("ce_subject", STREAM.encode()), ("ce_id", f"{STREAM}/e/0".encode())]),
        (b"x", [("ce_subject", STREAM.encode()), ("ce_id", f"{STREAM}/e/9999999999".encode())]),
    ],
)
def test_what_nobody_waits_for_has_no_addressee(body: Any, own: list[tuple[str, bytes]]) -> None:
    """A record that names no stream and attempt can't be answered."""
    with pytest.raises(Unreadable) as caught:
        decode(record(body, own), 60_000)
    assert caught.value.answer_to is None


def test_a_result_is_a_command_to_its_stream() -> None:
    """The answer carries the engine's idempotency key and goes to the owner's lane."""
    out = result(decode(record(value()), 1), Done({"status": 200}), at_most_once=False, now_ms=0, topic="t")
    found = dict(out.headers)
    assert (out.topic, out.key) == ("t", b"acme/c/cus-1")
    assert (found["ce_source"], found["ce_id"]) == (b"engine/effects", f"{STREAM}/1-0/1".encode())
    assert (found["ce_type"], found["ce_subject"]) == (b"effect.succeeded", STREAM.encode())
    assert found["ce_time"] == b"1970-01-01T00:00:00.000Z"
    assert orjson.loads(out.value or b"") == {"effect": "1-0", "attempt": 1, "result": {"status": 200}}


@pytest.mark.parametrize(
    ("failed", "at_most_once", "status", "retryable"),
    [
        (Failed("timeout", retryable=True, in_doubt=True), False, b"effect.failed", True),
        (Failed("timeout", retryable=True, in_doubt=True), True, b"effect.unknown", False),
        (Failed("connect_failed", retryable=True), True, b"effect.failed", True),
        (Failed("status_400"), True, b"effect.failed", False),
    ],
)
def test_doubt_is_told_only_where_a_repeat_would_harm(
    failed: Failed, *, at_most_once: bool, status: bytes, retryable: bool
) -> None:
    """A call that must not repeat and may have happened ends as unknown, never as a failure to retry."""
    out = result(decode(record(value()), 1), failed, at_most_once=at_most_once, now_ms=0, topic="t")
    assert dict(out.headers)["ce_type"] == status
    assert orjson.loads(out.value or b"")["retryable"] is retryable


@pytest.mark.parametrize("found", [{"n": 2**70}, {"x": object()}, {"x": "y" * 200_000}])
def test_a_success_is_told_even_if_its_result_cannot_be(found: dict[str, Any]) -> None:
    """A result that can't be stored is dropped, the success isn't."""
    out = result(decode(record(value()), 1), Done(found), at_most_once=False, now_ms=0, topic="t")
    assert dict(out.headers)["ce_type"] == b"effect.succeeded"
    assert "dropped" in orjson.loads(out.value or b"")["result"]


def test_a_dead_letter_keeps_the_record_and_says_where_it_was() -> None:
    """Bytes, key and headers survive, with Kafka Connect's headers beside them."""
    own = [("x", b"1"), ("__connect.errors.topic", b"forged")]
    out = dead_letter(
        record(b"\xffgarbage", own), Unreadable("malformed", "no JSON"), "journeys.dead-letters"
    )
    found = dict(out.headers)
    assert (out.topic, out.key, out.value) == ("journeys.dead-letters", b"acme/c/cus-1", b"\xffgarbage")
    assert found["x"] == b"1"
    assert found["__connect.errors.topic"] == b"journeys.effects"
    assert (found["__connect.errors.partition"], found["__connect.errors.offset"]) == (b"3", b"7")
    assert found["__connect.errors.exception.message"] == b"malformed: no JSON"


@given(
    st.text(min_size=1, max_size=40).filter(lambda t: "@" not in t and "\x00" not in t), st.integers(1, 200)
)
def test_the_producers_partitioner_is_the_lane(identity: str, lanes: int) -> None:
    """Aiokafka's default partitioner puts every owner's answers on the owner's own lane."""
    owner = customer("acme", identity).text
    assert DefaultPartitioner()(owner.encode(), list(range(lanes)), []) == lane_of(owner, lanes)
