from typing import Any
from uuid import uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import Malformed
from orchestrator.engine.digests import canonical, digest, key_hash
from tests.support.memory import SECRET, STREAM

_WORD = st.text(
    alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=8
)
_DATA = st.dictionaries(_WORD, st.integers(-(2**63), 2**63) | _WORD | st.none(), max_size=6)


_AB = st.text("ab", min_size=1, max_size=3)


@given(st.lists(st.tuples(_AB, _AB) | st.tuples(_WORD, _WORD), min_size=2, max_size=40, unique=True))
def test_different_keys_have_different_hashes(keys: list[tuple[str, str]]) -> None:
    """Source and id are joined so that no pair can pass for another."""
    assert len({key_hash(SECRET, source, id) for source, id in keys}) == len(keys)


@given(_DATA)
def test_the_order_of_fields_does_not_matter(data: dict[str, Any]) -> None:
    """A producer that sends the same body with its fields in another order sends the same command."""
    turned = dict(reversed(data.items()))
    assert canonical("add", data) == canonical("add", turned)


@given(_DATA, _DATA)
def test_different_bodies_have_different_digests(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Another body under the same key never passes for a repeat; nor does another type."""
    digests = {digest(SECRET, STREAM.id, canonical("add", d)) for d in (one, other)}
    assert (len(digests) == 1) == (one == other)
    assert digest(SECRET, STREAM.id, canonical("arm", one)) not in digests


def test_digests_tell_nothing_without_the_secret_and_nothing_across_streams() -> None:
    """Equal bodies of two customers, or of two installations, can't be recognised by their digests."""
    body = canonical("add", {"n": 1})
    other_stream = uuid5(STREAM.id, "other")
    assert len({digest(s, i, body) for s in (SECRET, bytes(32)) for i in (STREAM.id, other_stream)}) == 4


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, 10**30])
def test_integers_beyond_64_bits_are_refused(value: int) -> None:
    """A number that stores and other languages would round is refused, not rounded."""
    with pytest.raises(Malformed, match="can't be kept"):
        canonical("add", {"deep": [{"n": value}]})
