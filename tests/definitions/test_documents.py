"""Reading documents: what they mean, and what is refused where."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.decider import Problem
from orchestrator.definitions import InvalidDocument, read
from orchestrator.definitions.documents import BYTES_MAX, NESTING_MAX


def problem(data: bytes | str) -> tuple[str, str, str]:
    with pytest.raises(InvalidDocument) as invalid:
        read(data.encode() if isinstance(data, str) else data)
    (found,) = invalid.value.problems
    assert found.cure
    return found.pointer, found.message, found.cure


def value(text: str) -> Any:
    return read(f"v: {text}".encode()).value["v"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("yes", "yes"),
        ("on", "on"),
        ("NO", "NO"),
        ("12:30", "12:30"),
        ("2024-01-31", "2024-01-31"),
        ("0123", 123),
        ("0x1F", 31),
        ("0o17", 15),
        ("1_000", "1_000"),
        ("-7", -7),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("null", None),
        ("'null'", "null"),
        ('"5"', "5"),
        ("!!str 5", "5"),
        ("|\n  two\n  lines", "two\nlines"),
        ("[1, {a: b}]", [1, {"a": "b"}]),
    ],
)
def test_yaml_means_what_version_1_2_says(text: str, expected: Any) -> None:
    """Words like `on` and times are texts; numbers, booleans and null are what JSON calls so."""
    assert value(text) == expected
    assert type(value(text)) is type(expected)


def test_keys_are_texts() -> None:
    """`on:` is a key like any other, and so is a number."""
    assert read(b"on: {yes: 1, 5: 2}").value == {"on": {"yes": 1, "5": 2}}


@pytest.mark.parametrize(
    ("data", "pointer", "words"),
    [
        ("a: 1\nb: 2\na: 3", "", ["line 3", "'a' appears twice"]),
        ("x:\n  a: 1\n  a: 2", "/x", ["line 3", "twice"]),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "", ["'c' appears twice"]),
        ("a: &x 1\nb: *x", "/a", ["line 1", "anchors"]),
        ("a: *x", "/a", ["line 1", "anchors"]),
        ("a:\n  <<: {b: 1}", "/a", ["line 2", "merge"]),
        ("a: !!python/object:os.system x", "/a", ["line 1", "tag"]),
        ("a: !!int x", "/a", ["tag"]),
        ("a: 1\n---\nb: 2", "", ["line 2", "second document"]),
        ("a: [1, 2", "", ["line "]),
        ("a: 1\n\tb: 2", "", ["line 2"]),
        ("a: .nan", "", ["line 1", ".nan is no JSON number"]),
        ("a: -.inf", "", ["no JSON number"]),
        ("a: 1e999", "", ["no JSON number"]),
        ("a: 9223372036854775808", "", ["line 1", "64 bits"]),
        ('{"a": 9223372036854775808}', "", ["64 bits"]),
        ('{"a": NaN}', "", ["NaN"]),
        ('{"a": 1,}', "", ["line 1"]),
        ("? [a]\n: 1", "", ["key"]),
        ("- a", "", ["object"]),
        ("just text", "", ["object"]),
        ("", "", ["empty"]),
        ("# nothing", "", ["empty"]),
        (b"a: \xff", "", ["UTF-8"]),
        ("a: \x01", "", [""]),
        ('{"a": {"b": "\\ud800"}}', "/a/b", ["surrogate"]),
        ('{"a\\u0000": 1}', "", ["NUL"]),
        ('a: ["\\0"]', "/a/0", ["NUL"]),
        ("{" * 2_000, "", ["line 1"]),
        ("[" * 100_000, "", ["levels"]),
        ('{"a":' * 50_000, "", ["levels"]),
        ('{"a":' + "[" * 60 + "]" * 60 + "}", "", [str(NESTING_MAX)]),
        (b"a: " + b"x" * BYTES_MAX, "", ["bytes"]),
    ],
)
def test_what_is_refused_names_its_place(data: bytes | str, pointer: str, words: list[str]) -> None:
    """Unsafe or ambiguous documents are refused with a pointer or line, and a cure."""
    found, message, _ = problem(data)
    assert found.startswith(pointer)
    for word in words:
        assert word in message


def test_problems_can_be_placed_by_line() -> None:
    """Each pointer has its line; a place that isn't written down has that of what is around it."""
    document = read(b"a:\n  b:\n    - 1\n    - c: 2\nd: 3")
    assert [document.line(p) for p in ("", "/a", "/a/b", "/a/b/0", "/a/b/1/c", "/d", "/a/b/7/x")] == [
        1, 1, 2, 3, 4, 5, 2,
    ]  # fmt: skip
    assert read(b'{\n "a": {\n  "b": 1}}').line("/a/b") == 3


_texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=12)
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(_texts, _json, max_size=4))
def test_json_reads_as_json(data: dict[str, Any]) -> None:
    """Any JSON object is read as a JSON parser reads it."""
    assert read(json.dumps(data).encode()).value == data


@given(st.binary(max_size=200) | st.text("{}[]:,-&*!|>'\"%@`#?abc01.\n\t ~<", max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Whatever the bytes, the answer is a document or a list of problems."""
    problems: list[Problem] = []
    try:
        found: Any = read(data).value
    except InvalidDocument as invalid:
        problems, found = invalid.problems, None
    assert isinstance(found, dict) or problems
