"""Events as rows for analysts: what everybody may see of an event, its usual fields in columns of their own."""

from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import unquote

import msgspec

from orchestrator.core.addresses import LANE
from orchestrator.core.lane_events import BatchNoted, DeadLettered
from orchestrator.engine.envelope import Recorded

_SCOPES = {"c": "customer", "r": "resource", LANE: LANE}
_WITHHELD: dict[str, Any] = {
    "private": {},  # personal data
    "inputs": {},  # what rules read: operators see it, sinks don't
    "refused": (),
}
_OF_DEAD_LETTER = ("id", "topic", "partition", "offset", "reason")
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
    event, stream = envelope.data, envelope.stream
    organization, scope, owner, last = stream.split("/")
    kind, _, rest = last.partition(":")
    definition, _, run = rest.partition(":")
    field = _Fields(event)
    return Row(
        lane=lane,
        position=recorded.position,
        stream=stream,
        version=recorded.version,
        organization=unquote(organization),
        owner_scope=_SCOPES.get(scope, scope),
        owner=unquote(owner),
        kind=unquote(kind),
        definition=unquote(definition),
        run=unquote(run),
        definition_version=field("definition_version"),
        event=recorded.name,
        recorded_at=envelope.at_ms,
        occurred_at=envelope.at_ms if envelope.occurred_ms is None else envelope.occurred_ms,
        cause_source=envelope.source,
        cause_id=envelope.id,
        command_type=envelope.type,
        command_index=envelope.index,
        from_state=field("from_state"),
        to_state=field("to_state"),
        trigger=field("trigger"),
        reason=field("rule") or field("reason"),
        effect=field("effect"),
        action=field("action"),
        attempt=field("attempt"),
        timer=field("timer"),
        due_at=field("due_ms"),
        data=_shown(event).decode(),
    )


def columns_of(rows: Iterable[Row]) -> dict[str, list[Any]]:
    """Rows turned into columns by name."""
    turned = zip(*rows, strict=True)
    return {name: list(column) for name, column in zip(Row._fields, turned, strict=True)}


class _Fields:
    """An event's field by name, None where its type has none."""

    __slots__ = ("_event",)

    def __init__(self, event: Any) -> None:
        self._event = event

    def __call__(self, name: str) -> Any:
        return getattr(self._event, name, None)


def _shown(event: Any) -> bytes:
    if isinstance(event, DeadLettered):  # its other fields quote the message as its producer wrote it
        return _encode({name: getattr(event, name) for name in _OF_DEAD_LETTER})
    if isinstance(event, BatchNoted):
        outcomes = tuple(msgspec.structs.replace(outcome, detail=None) for outcome in event.outcomes)
        event = BatchNoted(outcomes)
    withheld = {name: empty for name, empty in _WITHHELD.items() if getattr(event, name, None)}
    return _encode(msgspec.structs.replace(event, **withheld) if withheld else event)
