import math
from typing import Any

import orjson
import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.addresses import Stream, customer, lane_stream
from orchestrator.core.events import SHARED_EVENTS, EffectRequested, Event, JourneyStarted
from orchestrator.core.lane_events import LANE_EVENTS, DeadLettered
from orchestrator.engine.codec import SEALED_MARK, Codec, UnknownEvent
from orchestrator.engine.envelope import Envelope
from orchestrator.engine.frame import Snapshot
from tests.support.memory import NOW_MS, STREAM
from tests.support.toy import TOY, Added

CODEC = Codec(TOY.events)


def key_of(subject: str) -> bytes:
    return subject.encode().ljust(32, b".")[:32]


def _erased(subject: str) -> bytes:
    raise KeyError(subject)


_WORD = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)
_NUMBER = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
_JSON = st.recursive(
    st.none() | st.booleans() | _NUMBER | _WORD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORD, inner, max_size=3),
    max_leaves=8,
)
_DICT = st.dictionaries(_WORD, _JSON, max_size=4)
_EVENT: st.SearchStrategy[Event] = st.one_of(
    st.builds(Added, n=st.integers(-(2**63), 2**63 - 1), private=_DICT),
    st.builds(
        JourneyStarted,
        definition_version=st.integers(1, 99),
        at_ms=st.integers(0, NOW_MS),
        context=_DICT,
        private=_DICT,
    ),
    st.builds(EffectRequested, effect=_WORD, action=_WORD, type=_WORD, params=_DICT, private=_DICT),
)
_ENVELOPE = st.builds(
    Envelope, st.just(STREAM.text), _WORD, _WORD, _WORD, st.integers(0, 2**53), _EVENT, type=_WORD,
    index=st.integers(0, 9), count=st.integers(1, 9), occurred_ms=st.none() | st.integers(0, 2**53),
    reply_to=st.none() | _WORD, traceparent=st.none() | _WORD, tracestate=st.none() | _WORD,
)  # fmt: skip


def _sealed(event: Any, stream: str = STREAM.text) -> Envelope:
    return Envelope(stream, "tests", "k1", "d", NOW_MS, event, "add")


@given(_ENVELOPE)
def test_an_event_reads_back_as_it_was_written(envelope: Envelope) -> None:
    """Nothing of an event or its envelope changes on its way through the log, private fields included."""
    stored = CODEC.encode(envelope, key_of)
    assert CODEC.decode(envelope.data.NAME, stored, key_of) == envelope
    assert CODEC.subject_of(stored) == STREAM.owner.text
    assert (SEALED_MARK in stored) == bool(getattr(envelope.data, "private", None))


def test_private_fields_are_never_stored_in_clear() -> None:
    """Whoever reads the table alone learns nothing of what a field called private held."""
    secret = {"email": "canary-1@example.org", "phone": "canary-2"}
    event = CODEC.encode(_sealed(Added(1, secret)), key_of)
    snapshot = Snapshot(STREAM.text, NOW_MS, 1, {"total": 1, "private": secret})
    for stored in (event, CODEC.encode_snapshot(snapshot, key_of)):
        assert b"canary" not in stored
        assert SEALED_MARK in stored


def test_equal_private_fields_look_different_each_time() -> None:
    """Ciphertexts don't tell that two customers share an address."""
    one, other = (CODEC.encode(_sealed(Added(1, {"a": "b"})), key_of) for _ in range(2))
    assert one != other


def test_private_fields_read_as_empty_once_the_key_is_erased() -> None:
    """Erasing a customer's key erases what it sealed; the journey itself still reads."""
    event = CODEC.encode(_sealed(Added(7, {"a": "b"})), key_of)
    stored = CODEC.encode_snapshot(
        Snapshot(STREAM.text, NOW_MS, 1, {"total": 7, "private": {"a": "b"}}), key_of
    )
    assert CODEC.decode(Added.NAME, event, _erased).data == Added(7, {})
    assert CODEC.decode_snapshot(stored, _erased).state == {"total": 7, "private": {}}


def test_what_one_customers_key_sealed_opens_for_nobody_else() -> None:
    """A ciphertext copied into another customer's event can't be opened there."""
    other = Stream(customer("acme", "cus-2"), "toy", "t")
    key = bytes(32)
    stored = CODEC.encode(_sealed(Added(1, {"a": "b"})), lambda _subject: key)
    moved = stored.replace(STREAM.text.encode(), other.text.encode())
    with pytest.raises(InvalidTag):
        CODEC.decode(Added.NAME, moved, lambda _subject: key)


def test_kept_messages_are_sealed_under_their_day() -> None:
    """What a lane keeps of messages is erased with the key of its day, whichever customer it was for."""
    letter = DeadLettered("id", "t", 0, 1, "r", "e", private={"value": "canary"})
    stored = CODEC.encode(_sealed(letter, lane_stream(3).text), lambda _subject: bytes(32))
    assert CODEC.subject_of(stored) == f"day/{NOW_MS // 86_400_000}"
    assert b"canary" not in stored


@given(_DICT, _DICT, st.dictionaries(_WORD, st.tuples(st.integers(0, 2**53), st.integers(1, 99)), max_size=3))
def test_a_snapshot_reads_back_as_it_was_written(
    state: dict[str, Any], private: dict[str, Any], timers: dict[str, tuple[int, int]]
) -> None:
    """State, pinned version and timers of a snapshot are those of the frame it was taken from."""
    snapshot = Snapshot(STREAM.text, NOW_MS, 4, state | {"private": private}, timers)
    assert CODEC.decode_snapshot(CODEC.encode_snapshot(snapshot, key_of), key_of) == snapshot


def test_an_event_of_a_later_release_is_refused_by_name() -> None:
    """A worker that can't read an event says so instead of skipping it."""
    with pytest.raises(UnknownEvent, match=r"toy\.later\.v9"):
        CODEC.decode("toy.later.v9", b"{}", _erased)


def test_names_of_events_are_unique_and_versioned() -> None:
    """A log's names say what each event is, for good: no two types share one, none is a class path."""
    types: tuple[type[Event], ...] = (*SHARED_EVENTS, *LANE_EVENTS, *TOY.events)
    assert len({t.NAME for t in types}) == len(types)
    for event in types:
        assert event.NAME.rsplit(".v", 1)[1].isdigit()
        assert event.__name__ not in event.NAME


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(Added("many"), id="a word for a number"),  # type: ignore[arg-type]
        pytest.param(Added(True), id="a boolean for a number"),
        pytest.param(Added(math.nan), id="no number"),  # type: ignore[arg-type]
        pytest.param(Added(1, {"a": {1, 2}}), id="a set, read back as a list"),
        pytest.param(Added(1, {"a": object()}), id="an object"),
        pytest.param(Added(1, {"a": "\ud800"}), id="no Unicode"),
        pytest.param(JourneyStarted(1, NOW_MS, {"a": float("inf")}), id="infinite"),
        pytest.param(JourneyStarted(1, NOW_MS, {"a": b"bytes"}), id="bytes"),
        pytest.param(JourneyStarted(1, NOW_MS, {"a": (1, 2)}), id="a tuple"),
        pytest.param(JourneyStarted(1, NOW_MS, {1: "a"}), id="a number as a key"),  # type: ignore[dict-item]
    ],
)
def test_an_event_that_would_not_read_back_the_same_is_never_written(event: Event) -> None:
    """A decider's slip is found before it is in the log, where it would stop its lane for good or change its past."""
    with pytest.raises((TypeError, ValueError)):
        CODEC.encode(_sealed(event), key_of)


def test_stored_events_are_json_that_others_can_read() -> None:
    """The log can be read without this program: plain JSON with stable names."""
    stored = orjson.loads(CODEC.encode(_sealed(Added(3)), key_of))
    assert stored == {
        "stream": STREAM.text, "source": "tests", "id": "k1", "digest": "d", "at_ms": NOW_MS, "type": "add", "data": {"n": 3},
    }  # fmt: skip
