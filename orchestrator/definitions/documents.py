"""Reading documents: JSON, or YAML as version 1.2 means it (`on`, `yes` and `12:30` are texts), safely.

Refused, each with its line: duplicate keys, anchors and aliases, tags, several documents, numbers JSON can't
carry, deep nesting, large files.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any, Final, NoReturn

import yaml
from msgspec import Struct

from orchestrator.core.decider import Problem
from orchestrator.core.errors import OrchestratorError

BYTES_MAX: Final = 262_144
NESTING_MAX: Final = 40
_INT = re.compile(r"[-+]?[0-9]+")
_HEX_OCTAL = re.compile(r"0x[0-9a-fA-F]+|0o[0-7]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NAN = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_CONSTANTS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_UNSTORABLE = re.compile("[\\x00\ud800-\udfff]")
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Document(Struct, frozen=True):
    """A document's value and, for YAML, the line of each place (JSON Pointer to line, counted from 1)."""

    value: dict[str, Any]
    lines: dict[str, int] = {}

    def line(self, pointer: str) -> int | None:
        """The line of a place, or of the nearest place around it that is written down."""
        while pointer not in self.lines:
            if not pointer:
                return None
            pointer = pointer.rpartition("/")[0]
        return self.lines[pointer]


class InvalidDocument(OrchestratorError):
    """A document that can't be used; `problems` lists everything that is wrong with it."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(f"{p.pointer or '/'}: {p.message}" for p in problems))
        self.problems = problems


def read(data: bytes) -> Document:
    """The document in `data`, JSON if it begins with `{`. Raises InvalidDocument, naming line and cure."""
    if len(data) > BYTES_MAX:
        _refuse(
            "", f"the document has {len(data)} bytes, more than {BYTES_MAX}", "split it, or shorten its texts"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _refuse("", f"byte {error.start} is not UTF-8", "save the file as UTF-8")
    document = _read_json(text) if text.lstrip().startswith("{") else _read_yaml(text)
    if not isinstance(document.value, dict):
        _refuse("", "the document must be an object", "begin with `kind:`")
    _check_texts(document)
    return document


def _refuse(pointer: str, message: str, cure: str) -> NoReturn:
    raise InvalidDocument([Problem(pointer, message, cure)])


def _read_json(text: str) -> Document:
    try:
        value = json.loads(text, object_pairs_hook=_pairs, parse_constant=_no_constant, parse_int=_json_int)
    except json.JSONDecodeError as error:
        if _looks_like_yaml(text):
            return _read_yaml(text)
        _refuse("", f"line {error.lineno}, column {error.colno}: {error.msg}", "correct the JSON there")
    except RecursionError:
        _refuse("", f"the document is nested deeper than {NESTING_MAX} levels", "flatten it")
    _check_nesting(value)
    try:
        lines = _read_yaml(text).lines  # JSON is nearly YAML: good enough to place problems
    except InvalidDocument:
        lines = {}
    return Document(value, lines)


def _looks_like_yaml(text: str) -> bool:
    return not re.match(r"\s*\{\s*(\"|\})", text)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            _refuse("", f"the key {key!r} appears twice in one object", "remove one of the two")
        found[key] = value
    return found


def _no_constant(name: str) -> NoReturn:
    _refuse("", f"{name} is no JSON number", "write a finite number")


def _json_int(text: str) -> int:
    return _bounded(int(text) if len(text) < 30 else 1 << 99, "")


def _bounded(number: int, place: str) -> int:
    if not -(2**63) <= number < 2**63:
        _refuse("", f"{place}a whole number has more than 64 bits", "write it as a text")
    return number


def _check_nesting(value: Any) -> None:
    todo = [(value, 1)]
    while todo:
        current, depth = todo.pop()
        if depth > NESTING_MAX:
            _refuse("", f"the document is nested deeper than {NESTING_MAX} levels", "flatten it")
        children = (
            current.values() if isinstance(current, dict) else current if isinstance(current, list) else ()
        )
        todo.extend((child, depth + 1) for child in children)


def _check_texts(document: Document) -> None:
    """Escapes can spell texts that no database and no message can carry."""
    todo: list[tuple[Any, str]] = [(document.value, "")]
    while todo:
        value, pointer = todo.pop()
        if isinstance(value, dict):
            todo.extend((key, pointer) for key in value)
            todo.extend((child, f"{pointer}/{_escape(key)}") for key, child in value.items())
        elif isinstance(value, list):
            todo.extend((child, f"{pointer}/{n}") for n, child in enumerate(value))
        elif isinstance(value, str) and _UNSTORABLE.search(value):
            _refuse(pointer, "a text holds NUL or half of a surrogate pair", "remove the escape")


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _read_yaml(text: str) -> Document:
    try:
        return _Composer(yaml.parse(text, Loader=_LOADER)).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
        _refuse(
            "", f"{place}{error.problem or 'this is no YAML'}", "correct the YAML there; indent with spaces"
        )
    except yaml.YAMLError as error:
        _refuse("", str(error)[:300], "remove the characters YAML doesn't allow")


class _Composer:
    """Builds values from the parser's events, so that nothing is resolved or expanded behind our back."""

    def __init__(self, events: Iterator[Any]) -> None:
        self.events = events
        self.lines: dict[str, int] = {}

    def document(self) -> Document:
        next(self.events)  # the stream begins
        if isinstance(next(self.events), yaml.StreamEndEvent):
            _refuse("", "the document is empty", "begin with `kind:`")
        value = self._node(next(self.events), "", 1)
        next(self.events)  # the document ends
        more = next(self.events)
        if not isinstance(more, yaml.StreamEndEvent):
            _refuse("", f"{self._place(more)}a second document begins", "keep one document a file")
        return Document(value, self.lines)

    def _node(self, event: Any, pointer: str, depth: int) -> Any:
        self.lines.setdefault(pointer, _line(event))
        place = self._place(event)
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            _refuse(
                pointer,
                f"{place}anchors and aliases are not supported",
                "write the value out where it is used",
            )
        if depth > NESTING_MAX:
            _refuse(pointer, f"{place}nested deeper than {NESTING_MAX} levels", "flatten the document")
        if event.tag is not None and event.tag not in {"!", "tag:yaml.org,2002:str"}:
            _refuse(pointer, f"{place}the tag {event.tag} is not supported", "remove the tag")
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(pointer, depth)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(pointer, depth)
        plain = not event.style and event.tag is None
        return _scalar(event.value, place) if plain else event.value

    def _mapping(self, pointer: str, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            place = self._place(event)
            if not isinstance(event, yaml.ScalarEvent) or event.anchor is not None:
                _refuse(pointer, f"{place}a key must be a plain text", "write the key as text")
            key = event.value
            if key == "<<" and not event.style:
                _refuse(pointer, f"{place}merge keys are not supported", "write the values out")
            if key in found:
                _refuse(
                    pointer, f"{place}the key {key!r} appears twice in one object", "remove one of the two"
                )
            below = f"{pointer}/{_escape(key)}"
            self.lines[below] = _line(event)
            found[key] = self._node(next(self.events), below, depth + 1)
        return found

    def _sequence(self, pointer: str, depth: int) -> list[Any]:
        found: list[Any] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            found.append(self._node(event, f"{pointer}/{len(found)}", depth + 1))
        return found

    @staticmethod
    def _place(event: yaml.Event) -> str:
        mark = event.start_mark
        return "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "


def _line(event: yaml.Event) -> int:
    return 0 if event.start_mark is None else event.start_mark.line + 1


def _scalar(text: str, place: str) -> Any:
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if len(text) > 64:
        return text
    if _INT.fullmatch(text):
        return _bounded(int(text), place)
    if _HEX_OCTAL.fullmatch(text):
        return _bounded(int(text, 0), place)
    if _FLOAT.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    if _NAN.fullmatch(text) or _FLOAT.fullmatch(text):
        _refuse("", f"{place}{text} is no JSON number", "write a finite number, or quote it as a text")
    return text
