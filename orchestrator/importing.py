"""History from JSON lines to backfill messages, as a mapping file says: who, when, what, and under which id."""

import gzip
import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import msgspec

from orchestrator.core.addresses import customer, parse_stream
from orchestrator.core.errors import ConfigurationError, Malformed, OrchestratorError
from orchestrator.engine.inbound import RAW_SOURCE
from orchestrator.feeding import Message
from orchestrator.traffic import rfc3339

LINE_BYTES_MAX = 16 << 20
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][\w.]*)\}")
_UNITS_MS: Mapping[str, float] = {"ms": 1, "s": 1000, "us": 0.001, "ns": 0.000_001}
_encode = msgspec.json.encode


class Time(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The field that says when, and how it is written."""

    field: str
    unit: Literal["ms", "s", "us", "ns", "iso"] = "ms"


class Type(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The field that says what, and the event type of each of its values; without `values` they are used as they are."""

    field: str
    values: dict[str, str] = {}
    others: Literal["refuse", "skip"] = "refuse"


class Mapped(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A mapping file. Texts with `{field}` are filled from the event, then its line; `{index}` counts events in a line.

    `definition` addresses one journey definition (`lifecycle:shop`); without it, events are raw and reach each
    definition that lists their type.
    """

    customer: str
    id: str
    time: Time
    type: Type
    events: str = ""  # the line's field that holds a list of events; empty: each line is one
    organization: str = ""
    definition: str = ""
    session: str = ""
    source: str = "import"  # of addressed commands; ids are unique in it
    payload: dict[str, str] = {}  # the payload's field to the event's


class BadLine(OrchestratorError):
    """A line that doesn't fit the mapping; the message names file, line and cure."""


class Item(NamedTuple):
    """A message and how far the file was read for it, in bytes as stored."""

    message: Message
    read_bytes: int


def load_mapping(path: Path) -> Mapped:
    """The mapping in a TOML file. Raises ConfigurationError naming the key and the cure."""
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Mapped)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"the mapping {path} can't be read: {error}") from error
    except msgspec.ValidationError as error:
        raise ConfigurationError(
            f"the mapping {path} doesn't fit: {error}; examples/otto.toml is one that does"
        ) from error


def messages(path: Path, mapping: Mapped, organization: str) -> Iterator[Item]:
    """The file's events in its order, one line in memory at a time. Raises BadLine, OSError.

    `organization` counts where the mapping names none.
    """
    with path.open("rb") as stored:
        lines: IO[bytes] | gzip.GzipFile = gzip.GzipFile(fileobj=stored) if path.suffix == ".gz" else stored
        number = 0
        while line := lines.readline(LINE_BYTES_MAX + 1):
            number += 1
            if len(line) > LINE_BYTES_MAX:
                raise BadLine(f"{path}, line {number}: longer than {LINE_BYTES_MAX} bytes: split it")
            if not line.strip():
                continue
            try:
                for message in _of_line(msgspec.json.decode(line), mapping, organization):
                    yield Item(message, stored.tell())
            except (msgspec.DecodeError, Malformed, BadLine) as error:
                raise BadLine(f"{path}, line {number}: {error}") from error


def _of_line(line: Any, mapping: Mapped, organization: str) -> Iterator[Message]:
    if not isinstance(line, dict):
        raise BadLine("it isn't a JSON object")
    if not mapping.events:
        events = [line]
    else:
        events = _field(line, mapping.events)
        if not isinstance(events, list):
            raise BadLine(f"{mapping.events} isn't a list: correct `events` in the mapping")
    for index, event in enumerate(events):
        if not isinstance(event, dict):
            raise BadLine(f"event {index} isn't a JSON object")
        values = {**line, **event, "index": index}
        event_type = _type(mapping.type, values)
        if event_type is not None:
            yield _message(mapping, values, event_type, mapping.organization or organization)


def _message(mapping: Mapped, values: Mapping[str, Any], event_type: str, organization: str) -> Message:
    who = _filled(mapping.customer, values)
    owner = customer(organization, who).text
    event_id, time_ms = _filled(mapping.id, values), _time_ms(mapping.time, values)
    payload = {name: _field(values, field) for name, field in mapping.payload.items()}
    if mapping.definition:
        stream = parse_stream(f"{owner}/{mapping.definition}").text
        headers = {
            "specversion": "1.0", "id": event_id, "source": mapping.source, "type": "event", "subject": stream,
            "time": rfc3339(time_ms), "backfill": "true",
        }  # fmt: skip
        made = tuple((f"ce_{name}", value.encode()) for name, value in headers.items())
        body = _encode({"type": event_type, "payload": payload, "timestamp": time_ms})
        json = ("content-type", b"application/json")
        return Message("commands", owner.encode(), body, (*made, json), (mapping.source, event_id))
    raw = {
        "eventId": event_id, "userId": who, "sessionId": _filled(mapping.session, values), "type": event_type,
        "payload": payload, "timestamp": time_ms, "idempotencyKey": event_id,
    }  # fmt: skip
    marks = (("ce_organization", organization.encode()), ("ce_backfill", b"true"))
    return Message("raw", owner.encode(), _encode(raw), marks, (RAW_SOURCE, event_id))


def _type(mapping: Type, values: Mapping[str, Any]) -> str | None:
    value = str(_field(values, mapping.field))
    if not mapping.values or value in mapping.values:
        return mapping.values.get(value, value)
    if mapping.others == "skip":
        return None
    raise BadLine(
        f'{mapping.field} is {value[:100]!r}, which [type.values] doesn\'t map: add it, or set others = "skip"'
    )


def _time_ms(mapping: Time, values: Mapping[str, Any]) -> int:
    value = _field(values, mapping.field)
    if mapping.unit == "iso":
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError as error:
            raise BadLine(f"{mapping.field} is {str(value)[:50]!r}, which is no ISO 8601 time") from error
        return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadLine(f"{mapping.field} is {str(value)[:50]!r}, which is no number of {mapping.unit}")
    return round(value * _UNITS_MS[mapping.unit])


def _filled(template: str, values: Mapping[str, Any]) -> str:
    return _PLACEHOLDER.sub(lambda found: str(_field(values, found[1])), template)


def _field(values: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path. Raises BadLine naming the fields there are."""
    found: Any = values
    for step in path.split("."):
        if not isinstance(found, Mapping) or step not in found:
            there = ", ".join(sorted(found)) if isinstance(found, Mapping) else type(found).__name__
            raise BadLine(f"there is no field {path!r}; there are: {there[:300]}")
        found = found[step]
    return found
