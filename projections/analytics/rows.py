"""Events as rows for analysts: what everybody may see of an event, its usual fields in columns of their own."""

from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Any, NamedTuple
from urllib.parse import unquote

import msgspec

from orchestrator.core.addresses import LANE
from orchestrator.core.events import Event
from orchestrator.core.lane_events import BatchNoted, DeadLettered
from orchestrator.engine.envelope import Recorded

_SCOPES = {"c": "customer", "r": "resource", LANE: LANE}
_WITHHELD: dict[str, Any] = {
    "private": {},  # personal data
    "inputs": {},  # what rules read: operators see it, sinks don't
    "refused": (),
}
_OF_DEAD_LETTER = ("id", "topic", "partition", "offset", "reason")
_FLAT = (
    ("definition_version", "definition_version"),
    ("from_state", "from_state"),
    ("to_state", "to_state"),
    ("trigger", "trigger"),
    ("reason", "reason"),
    ("reason", "rule"),
    ("effect", "effect"),
    ("action", "action"),
    ("attempt", "attempt"),
    ("timer", "timer"),
    ("due_at", "due_ms"),
)
_encode = msgspec.json.Encoder().encode


class Row(NamedTuple):
    """One event. Times are milliseconds since the epoch, UTC; None where an event has no such field."""

    lane: int
    position: int  # in the lane's log, from 1 without gaps
    stream: str
    version: int
    organization: str
    owner_scope: str  # customer, resource or lane
    owner: str  # the customer's (opaque) or the resource's id
    kind: str
    definition: str
    run: str
    definition_version: int | None
    event: str
    recorded_at: int  # lane time of the decision
    occurred_at: int  # by the producer; else as recorded
    cause_source: str
    cause_id: str
    command_type: str
    command_index: int  # 0: the event that tells the command's outcome
    from_state: str | None
    to_state: str | None
    trigger: str | None
    reason: str | None  # of a rejected, ignored or dead-lettered command
    effect: str | None
    action: str | None
    attempt: int | None
    timer: str | None
    due_at: int | None
    data: str  # the event's own fields, JSON


def row_of(lane: int, recorded: Recorded) -> Row:
    """The row of one event."""
    envelope = recorded.envelope
    event: Event = envelope.data
    at_ms = envelope.at_ms
    fields = {name: getattr(event, field) for name, field in _flat_fields(type(event))}
    get = fields.get
    return Row(
        lane,
        recorded.position,
        envelope.stream,
        recorded.version,
        *_address(envelope.stream),
        get("definition_version"),
        recorded.name,
        at_ms,
        at_ms if envelope.occurred_ms is None else envelope.occurred_ms,
        envelope.source,
        envelope.id,
        envelope.type,
        envelope.index,
        get("from_state"),
        get("to_state"),
        get("trigger"),
        get("reason"),
        get("effect"),
        get("action"),
        get("attempt"),
        get("timer"),
        get("due_at"),
        _shown(event).decode(),
    )


@lru_cache(maxsize=8_192)
def _address(stream: str) -> tuple[str, str, str, str, str, str]:
    """Organization, owner's scope and id, kind, definition and run."""
    organization, scope, owner, last = stream.split("/")
    kind, _, rest = last.partition(":")
    definition, _, run = rest.partition(":")
    named = _SCOPES.get(scope, scope)
    return unquote(organization), named, unquote(owner), unquote(kind), unquote(definition), unquote(run)


@cache
def _flat_fields(event_type: type[Event]) -> tuple[tuple[str, str], ...]:
    """The columns that events of a type fill, and from which of their fields."""
    return tuple((name, field) for name, field in _FLAT if field in event_type.__struct_fields__)


@cache
def _withheld_fields(event_type: type[Event]) -> tuple[str, ...]:
    return tuple(name for name in _WITHHELD if name in event_type.__struct_fields__)


def columns_of(rows: Iterable[Row]) -> dict[str, list[Any]]:
    """Rows turned into columns by name."""
    turned = zip(*rows, strict=True)
    return {name: list(column) for name, column in zip(Row._fields, turned, strict=True)}


def _shown(event: Event) -> bytes:
    if isinstance(event, DeadLettered):  # its other fields quote the message as its producer wrote it
        return _encode({name: getattr(event, name) for name in _OF_DEAD_LETTER})
    if isinstance(event, BatchNoted):
        outcomes = tuple(msgspec.structs.replace(outcome, detail=None) for outcome in event.outcomes)
        event = BatchNoted(outcomes)
    withheld = {name: _WITHHELD[name] for name in _withheld_fields(type(event)) if getattr(event, name)}
    return _encode(msgspec.structs.replace(event, **withheld) if withheld else event)
