from itertools import pairwise

import pytest
from aiokafka.partitioner import murmur2 as kafka_murmur2
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.addresses import (
    CUSTOMER,
    RESOURCE,
    SEGMENT_MAX_BYTES,
    Owner,
    Stream,
    customer,
    lane_of,
    lane_stream,
    murmur2,
    parse_owner,
    parse_stream,
    resource,
    stream_text,
)
from orchestrator.core.errors import Malformed

# Everything that joins segments, and its percent-encodings, so that collisions would be found quickly.
_TRICKY = st.text(alphabet=":/%@~ \\ac3A2F0é😀\u0301", min_size=1, max_size=6)
_ANY = st.text(
    alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=20
)
_SEGMENT = _TRICKY | _ANY
_KIND = st.sampled_from(["lifecycle", "flow", "toy"])
_OWNER = st.builds(
    Owner, _SEGMENT, st.sampled_from([CUSTOMER, RESOURCE]), _SEGMENT.map(lambda s: s.replace("@", "a"))
)
_STREAM = st.builds(Stream, _OWNER, _KIND, _SEGMENT, st.just("") | _SEGMENT)


@given(st.lists(_STREAM, min_size=2, max_size=30))
def test_no_two_addresses_collide(streams: list[Stream]) -> None:
    """Different organizations, customers, definitions and runs never share a text, an id or a Kafka key by accident."""
    fields = {(s.owner.organization, s.owner.scope, s.owner.id, s.kind, s.definition, s.run) for s in streams}
    owners = {(s.owner.organization, s.owner.scope, s.owner.id) for s in streams}
    assert len({s.text for s in streams}) == len({s.id for s in streams}) == len(fields)
    assert len({s.owner.text for s in streams}) == len(owners)


@given(_STREAM)
def test_an_address_reads_back_as_written(stream: Stream) -> None:
    """What names a stream in a subject, a key or a table names exactly that stream again."""
    assert parse_stream(stream.text) == stream
    assert parse_owner(stream.owner.text) == stream.owner


@given(st.binary(max_size=40))
def test_the_hash_is_the_one_kafka_clients_use(key: bytes) -> None:
    """A lane is the partition that Kafka's default partitioner picks for the owner's key."""
    assert murmur2(key) == kafka_murmur2(key) & 0xFFFFFFFF


@given(_OWNER, st.integers(min_value=1, max_value=200))
def test_a_lane_is_a_partition_of_the_topic(owner: Owner, lanes: int) -> None:
    """Every owner has one lane, within the number of lanes, as the Java client computes it."""
    assert lane_of(owner.text, lanes) == (kafka_murmur2(owner.text.encode()) & 0x7FFFFFFF) % lanes


def test_the_lanes_own_streams_differ_from_every_journey() -> None:
    """What a lane notes about itself can't be addressed by anybody."""
    assert len({lane_stream(n).id for n in range(1000)}) == 1000
    with pytest.raises(Malformed):
        parse_stream(lane_stream(7).text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("acme/c/cus-1", "must read"),
        ("acme/c/cus-1/toy", "must end in"),
        ("acme/c/cus-1/toy:", "must end in"),
        ("acme/c/cus-1/toy:t:", "must end in"),
        ("acme/c/cus-1/toy:t:r:x", "must end in"),
        ("acme/c//toy:t", "is empty"),
        ("/c/cus-1/toy:t", "is empty"),
        ("acme/x/cus-1/toy:t", "neither"),
        ("acme/c/cus@example.org/toy:t", "'@'"),
        ("acme/c/cus%40example.org/toy:t", "'@'"),
        ("acme/c/a%00b/toy:t", "NUL"),
        ("acme/c/a\x00b/toy:t", "NUL"),
        ("acme/c/%ff/toy:t", "UTF-8"),
        ("acme/c/a%2fb/toy:t", "canonical"),
        ("acme/c/a%2Db/toy:t", "canonical"),
        ("acme/c/a b/toy:t", "canonical"),
        ("acme/c/ü/toy:t", "canonical"),
        ("acme/c/a%/toy:t", "canonical"),
        ("acme/c/cus-1/toy:t%3A1:2%3a", "canonical"),
        ("acme/c/cus-1/t%6Fy:t", "canonical"),
        (f"acme/c/{'x' * (SEGMENT_MAX_BYTES + 1)}/toy:t", "more than"),
        (f"acme/c/{'%C3%BC' * 65}/toy:t", "more than"),
    ],
)
def test_an_address_out_of_shape_is_refused_and_says_why(text: str, says: str) -> None:
    """A subject has one spelling; every other is refused with what is wrong about it."""
    with pytest.raises(Malformed, match=says):
        parse_stream(text)


def test_the_longest_segments_are_accepted() -> None:
    """128 bytes a segment are allowed, counted before percent-encoding."""
    longest = "ü" * (SEGMENT_MAX_BYTES // 2)
    assert parse_owner(customer(longest, longest).text).id == longest
    assert parse_owner(resource("acme", "x@y").text).id == "x@y"


def test_text_that_is_no_unicode_is_refused() -> None:
    """A lone surrogate can't be encoded, so it never becomes an address."""
    with pytest.raises(Malformed, match="Unicode"):
        customer("acme", "\ud800")


@given(st.sets(_OWNER.map(lambda o: o.text), min_size=2, max_size=50))
def test_sorting_by_text_is_total(texts: set[str]) -> None:
    """No text is the beginning of another owner's followed by its separator: prefixes name no one else."""
    for first, second in pairwise(sorted(texts)):
        assert not second.startswith(first + "/")


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_the_text_of_a_stream_alone_is_the_streams(customer_id: str, definition: str) -> None:
    """A text made without its stream addresses the same journey, whatever is in its segments."""
    try:
        owner = customer("acme", customer_id)
    except Malformed:
        return
    assert (
        stream_text("acme", "c", customer_id, "experience", definition)
        == Stream(owner, "experience", definition).text
    )
