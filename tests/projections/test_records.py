import base64
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.addresses import lane_stream
from orchestrator.core.events import CommandIgnored, CommandRejected, EffectRequested, Event, JourneyStarted
from orchestrator.core.lane_events import BatchNoted, DeadLetterDiscarded, DeadLettered, Forwarded, Rebased
from orchestrator.core.messages import Outcome
from orchestrator.engine.envelope import Envelope, Recorded
from projections.publisher import render
from projections.records import Out, effect_record
from tests.support.memory import NOW_MS, STREAM
from tests.support.toy import Added

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
LANE = lane_stream(3)
LANES = 8
CANARY = "canary@example.org"


def _recorded(event: Event, *, stream: str = STREAM.text, version: int = 7, **envelope: Any) -> Recorded:
    made = Envelope(stream, "tests", "k1", "digest", NOW_MS, event, "add", **envelope)
    return Recorded(99, STREAM.id, version, event.NAME, made, b"")


def _headers(out: Out) -> dict[str, str]:
    assert len({name for name, _ in out.headers}) == len(out.headers)
    return {name: value.decode() for name, value in out.headers}


def _value(out: Out) -> Any:
    assert out.value is not None
    return orjson.loads(out.value)


def _by_topic(outs: Sequence[Out]) -> dict[str, Out]:
    assert len({o.topic for o in outs}) == len(outs)
    return {o.topic: o for o in outs}


def test_a_decision_becomes_events_and_one_outcome() -> None:
    """Each event of a command is published; its first one also tells the outcome, with the version after all."""
    first = _by_topic(render(_recorded(Added(3), count=2, traceparent=TRACE, tracestate="a=b"), LANES))
    second = _by_topic(render(_recorded(Added(4), version=8, index=1, count=2), LANES))
    assert set(first) == {"events", "outcomes"}
    assert set(second) == {"events"}
    assert _value(first["outcomes"]) == {
        "outcome": "applied", "source": "tests", "id": "k1", "stream": STREAM.text, "revision": 8,
    }  # fmt: skip
    assert _headers(first["events"]) == {
        "ce_specversion": "1.0",
        "ce_id": f"{STREAM.text}/7",
        "ce_source": "journey-orchestrator",
        "ce_type": "toy.added.v1",
        "ce_subject": STREAM.text,
        "ce_time": "2023-11-14T22:13:20.000Z",
        "content-type": "application/json",
        "traceparent": TRACE,
        "tracestate": "a=b",
        "ce_causesource": "tests",
        "ce_causeid": "k1",
    }
    assert _headers(first["outcomes"])["ce_type"] == "journey.outcome"
    assert _headers(first["outcomes"])["traceparent"] == TRACE
    assert _headers(second["events"])["ce_id"] == f"{STREAM.text}/8"
    assert {o.key for o in (*first.values(), *second.values())} == {STREAM.owner.text.encode()}


@pytest.mark.parametrize(
    ("event", "outcome", "reason"),
    [
        (CommandRejected("toy.negative", {"n": -1}), "rejected", "toy.negative"),
        (CommandIgnored("terminal_state"), "ignored", "terminal_state"),
    ],
)
def test_a_refusal_tells_its_reason(event: Event, outcome: str, reason: str) -> None:
    """A command that a rule refused, or that had nothing to do, is answered with the rule."""
    told = _value(_by_topic(render(_recorded(event), LANES))["outcomes"])
    assert (told["outcome"], told["reason"], told["revision"]) == (outcome, reason, 7)


_PRIVATE = st.dictionaries(st.text(max_size=5), st.just(CANARY) | st.lists(st.just(CANARY)), min_size=1)


@given(_PRIVATE)
def test_private_fields_leave_only_towards_the_effect_runner(private: dict[str, Any]) -> None:
    """What a field called private holds is in no event, outcome or key; the runner gets what the provider needs."""
    effect = EffectRequested("e1", "mail", "webhook", {"url": "u"}, private=private)
    for event in (Added(1, private), JourneyStarted(1, NOW_MS, {}, private), effect):
        for out in render(_recorded(event), LANES):
            assert CANARY.encode() not in (out.value or b"")
            assert CANARY.encode() not in (out.key or b"")
            assert not any(CANARY.encode() in value for _, value in out.headers)
    assert _value(effect_record(_recorded(effect)))["params"] == {"url": "u"} | private


def test_an_effect_is_named_once_and_for_all() -> None:
    """The provider's idempotency key stays the same over attempts; the message's id tells attempts apart."""
    first = effect_record(
        _recorded(EffectRequested("e1", "ask", "log", {"a": 2**70}, timeout_ms=5), traceparent=TRACE)
    )
    again = effect_record(_recorded(EffectRequested("e1", "ask", "log", {}, attempt=2)))
    assert _value(first) | {"params": None} == {
        "effect": "e1", "attempt": 1, "action": "ask", "type": "log", "params": None, "timeout_ms": 5,
        "stream": STREAM.text, "idempotency_key": f"{STREAM.text}/e1", "requested_ms": NOW_MS, "private": [],
    }  # fmt: skip
    assert _headers(first)["ce_id"] == f"{STREAM.text}/e1/1"
    assert _headers(first)["traceparent"] == TRACE
    assert _headers(again)["ce_id"] == f"{STREAM.text}/e1/2"
    assert _value(again)["idempotency_key"] == _value(first)["idempotency_key"]


def test_noted_outcomes_have_ids_of_their_own() -> None:
    """Every told duplicate is a message of its own, with its own id, its own stream and its own trace."""
    one = Outcome("applied", "tests", "k1", STREAM.text, 2, duplicate=True)
    other = Outcome("rejected", "tests", "k2", STREAM.text + ":run", 3, reason="idempotency_conflict")
    outs = render(_recorded(BatchNoted((one, other), (None, TRACE)), stream=LANE.text, version=5), LANES)
    assert [_headers(o)["ce_id"] for o in outs] == [f"{LANE.text}/5/0", f"{LANE.text}/5/1"]
    assert [o.key for o in outs] == [STREAM.owner.text.encode()] * 2
    assert [_headers(o).get("traceparent") for o in outs] == [None, TRACE]
    assert _value(outs[0])["duplicate"] is True
    assert "duplicate" not in _value(outs[1])


def _kept(**more: Any) -> dict[str, Any]:
    def text(data: bytes) -> str:
        return base64.b64encode(data).decode()

    headers = [["ce_id", text(b"k1")], ["odd", text(b"\xff\x00")], ["journey-hops", text(b"1")]]
    return {
        "topic": "journeys.commands", "partition": 3, "offset": 17, "timestamp_ms": NOW_MS, "raw": False,
        "key": text(b"key\xff"), "value": text(b"{broken"), "headers": headers, **more,
    }  # fmt: skip


def _letter(**more: Any) -> DeadLettered:
    return DeadLettered(
        "dl-1",
        "journeys.commands",
        3,
        17,
        "bad_json",
        "not a JSON object",
        "tests",
        "k1",
        "add",
        STREAM.text,
        _kept(**more),
    )


def test_a_dead_letter_is_the_message_itself_and_why() -> None:
    """A dead letter has the message's key, bytes and headers, and says in Kafka Connect's words what was wrong."""
    outs = _by_topic(render(_recorded(_letter(), stream=LANE.text, version=5, traceparent=TRACE), LANES))
    letter = outs["dead_letters"]
    assert (letter.key, letter.value) == (b"key\xff", b"{broken")
    assert letter.headers[:2] == [("ce_id", b"k1"), ("odd", b"\xff\x00")]
    errors = {n: v.decode() for n, v in letter.headers if n.startswith("__connect.errors.")}
    assert errors == {
        "__connect.errors.topic": "journeys.commands",
        "__connect.errors.partition": "3",
        "__connect.errors.offset": "17",
        "__connect.errors.stage": "DECIDE",
        "__connect.errors.exception.class.name": "bad_json",
        "__connect.errors.exception.message": "not a JSON object",
    }
    assert _value(outs["outcomes"]) == {
        "outcome": "dead_lettered", "source": "tests", "id": "k1", "stream": STREAM.text, "revision": 0,
        "reason": "bad_json", "detail": {"deadLetter": "dl-1"},
    }  # fmt: skip
    assert _headers(outs["outcomes"])["traceparent"] == TRACE


def test_a_raw_events_dead_letter_has_its_own_topic() -> None:
    """Shops look for their events where the seed's dead letters go."""
    assert set(_by_topic(render(_recorded(_letter(raw=True), stream=LANE.text), LANES))) == {
        "raw_dead_letters",
        "outcomes",
    }


def test_a_message_too_large_for_the_dead_letter_topic_stays_in_the_log() -> None:
    """A message that fills its own topic's limit must not stop the publisher: its record says what was left out."""
    for change in (
        {"value": base64.b64encode(bytes(4 << 20)).decode()},
        {"headers": [["h", "A" * (5 << 20)]]},
    ):
        letter = _by_topic(render(_recorded(_letter(**change), stream=LANE.text), LANES))["dead_letters"]
        assert letter.value is None
        assert sum(len(n) + len(v) for n, v in letter.headers) < 4096
        assert int(_headers(letter)["journey-omitted-bytes"]) > 3 << 20
        assert _headers(letter)["__connect.errors.exception.class.name"] == "bad_json"


def test_a_forward_goes_to_its_lane_once_more_marked() -> None:
    """A stray is sent on as it came, with the hop counted anew and its first place named."""
    [out] = render(_recorded(Forwarded(1, 1, "tests", _kept()), stream=LANE.text), LANES)
    assert (out.topic, out.partition, out.key, out.value) == ("commands", 1, b"key\xff", b"{broken")
    assert out.headers == [
        ("ce_id", b"k1"), ("odd", b"\xff\x00"), ("journey-hops", b"1"), ("journey-origin", b"journeys.commands/3/17"),
    ]  # fmt: skip
    [raw] = render(_recorded(Forwarded(1, 0, "tests", _kept(raw=True)), stream=LANE.text), LANES)
    assert ("journey-format", b"raw") in raw.headers


@pytest.mark.parametrize("event", [Rebased("t", 5, -1, "why"), DeadLetterDiscarded("dl-1", "why")])
def test_what_a_lane_says_of_itself_is_an_event_without_an_outcome(event: Event) -> None:
    """Rebases and decisions of operators are published, and are nobody's outcome."""
    [out] = render(_recorded(event, stream=LANE.text), LANES)
    assert (out.topic, out.key) == ("events", LANE.text.encode())
    assert _value(out)["reason"] == "why"
