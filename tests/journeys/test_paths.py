"""Paths into JSON objects, and spans of time."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.durations import DURATION_MAX_MS, duration_ms
from orchestrator.journeys.paths import assign, leaves, overlaps, overlay, read

_steps = st.sampled_from(["a", "b", "c"])
_paths = st.lists(_steps, min_size=1, max_size=3).map(".".join)
_trees = st.recursive(
    st.dictionaries(_steps, st.integers(0, 9), max_size=3),
    lambda inner: st.dictionaries(_steps, st.integers(0, 9) | inner, max_size=3),
    max_leaves=8,
)


@given(_trees, st.dictionaries(_paths, st.integers(10, 19), min_size=1, max_size=3))
def test_assigning_changes_a_copy(tree: dict[str, Any], changes: dict[str, int]) -> None:
    """What was assigned last can be read back, and the tree it was assigned to is as it was."""
    before = json.dumps(tree)
    new = assign(tree, changes)
    assert json.dumps(tree) == before
    path, value = list(changes.items())[-1]
    assert read(new, path.split(".")) == value


@given(_trees, _paths, st.integers(10, 19))
def test_assigning_leaves_the_rest(tree: dict[str, Any], path: str, value: int) -> None:
    """Only the assigned path changes (and what it replaces)."""
    after = leaves(assign(tree, {path: value}))
    for other, old in leaves(tree).items():
        if not overlaps(path, other):
            assert after[other] == old


def test_a_value_replaces_those_below_it() -> None:
    """An overlay keeps nothing a newer value has replaced, and applies values inside an object after the object."""
    assert overlay({"p.name": 1, "q": 2}, {"p": {"name": 3}}) == {"q": 2, "p": {"name": 3}}
    assert list(overlay({"p": {}, "p.name": 1}, {"p.name": 2})) == ["p", "p.name"]
    assert list(overlay({"p.name": 1, "q": 1}, {"p.name": 2})) == ["q", "p.name"]
    assert overlay({"pp": 1}, {"p": 2}) == {"pp": 1, "p": 2}


def test_reading_finds_nothing_where_nothing_is() -> None:
    """Missing steps, steps into scalars and indexes outside a list are null."""
    tree = {"a": {"b": [10, 20]}, "n": None}
    assert read(tree, ("a", "b", "1")) == 20
    for path in (("a", "c"), ("a", "b", "2"), ("a", "b", "x"), ("n", "x"), ("x",)):
        assert read(tree, path) is None
    assert read(tree, ()) is tree


@pytest.mark.parametrize(
    ("text", "expected_ms"),
    [
        ("500ms", 500),
        ("45s", 45_000),
        ("15m", 900_000),
        ("12h", 43_200_000),
        ("30d", 2_592_000_000),
        ("2w", 1_209_600_000),
    ],
)
def test_durations_are_read(text: str, expected_ms: int) -> None:
    """A whole number and a unit."""
    assert duration_ms(text) == expected_ms


@pytest.mark.parametrize(
    "text", ["", "30", "d", "0s", "-1d", "1.5h", "30 d", "P30D", "1y", "٣d", "9999999w", "3651d"]
)
def test_other_durations_are_refused(text: str) -> None:
    """Anything else is refused, and so are more than ten years."""
    with pytest.raises(ValueError, match=r"duration|ten years"):
        duration_ms(text)
    assert duration_ms("3650d") == DURATION_MAX_MS
