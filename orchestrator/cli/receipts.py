"""A journey's events in words: one line each, and the receipt of a decision."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from orchestrator.core.events import CommandIgnored, CommandRejected, JourneyStarted
from orchestrator.engine.envelope import Recorded
from orchestrator.traffic import rfc3339

DocumentOf = Callable[[int], Mapping[str, Any] | None]
_REASONS = (
    "rule",
    "reason",
    "trigger",
    "transition",
    "inputs",
    "refused",
    "timer",
    "effect",
    "action",
    "error",
)
_HIDDEN = {"private", "last_event_ms", "inputs", "params"}


def told(recorded: Recorded) -> dict[str, Any]:
    """An event as a row: what it is, which command caused it, and what it says. No personal data."""
    envelope = recorded.envelope
    fields = fields_of(recorded)
    return {
        "version": recorded.version,
        "at_ms": envelope.at_ms,
        "occurred_ms": envelope.occurred_ms if envelope.occurred_ms is not None else envelope.at_ms,
        "event": recorded.name,
        "command": envelope.type,
        "source": envelope.source,
        "command_id": envelope.id,
        "summary": _summary(fields),
        "data": fields,
    }


def decisions(events: Sequence[Recorded]) -> list[list[Recorded]]:
    """Events grouped by the command that left them."""
    groups: list[list[Recorded]] = []
    for recorded in events:
        if recorded.envelope.index == 0 or not groups:
            groups.append([])
        groups[-1].append(recorded)
    return groups


def receipt(
    decision: Sequence[Recorded], number: int, of: int, events: Sequence[Recorded], document_of: DocumentOf
) -> dict[str, Any]:
    """Which command, by whom and when; by which version of the definition; and what each event says it rests on.

    `document_of(version)` is the definition's document, to show the transition itself beside its place.
    """
    first = decision[0]
    envelope = first.envelope
    pinned = _pinned(events, first.version + len(decision) - 1)
    document = document_of(pinned) if pinned is not None else None
    return {
        "stream": envelope.stream,
        "decision": f"{number} of {of}",
        "outcome": _outcome(first.name),
        "command": envelope.type,
        "actor": envelope.source,
        "command_id": envelope.id,
        "decided_ms": envelope.at_ms,
        "occurred_ms": envelope.occurred_ms if envelope.occurred_ms is not None else envelope.at_ms,
        "definition": envelope.stream.rsplit("/", 1)[1],
        "definition_version": pinned,
        "versions": f"{first.version} to {decision[-1].version}",
        "because": [_because(recorded, document) for recorded in decision],
    }


def fields_of(recorded: Recorded) -> dict[str, Any]:
    """An event's fields without personal data."""
    fields: dict[str, Any] = msgspec.to_builtins(recorded.envelope.data)
    fields.pop("private", None)
    return fields


def _because(recorded: Recorded, document: Mapping[str, Any] | None) -> dict[str, Any]:
    fields = fields_of(recorded)
    known = {name: fields[name] for name in _REASONS if name in fields}
    says = at_pointer(document, str(fields.get("transition", ""))) if fields.get("transition") else None
    change = {name: value for name, value in fields.items() if name not in _REASONS}
    return {
        "event": recorded.name,
        "version": recorded.version,
        **known,
        "definition_says": says,
        "change": _summary(change),
    }


def at_pointer(document: Any, pointer: str) -> Any:
    """The value at a JSON Pointer; None where there is none."""
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(document, Mapping) and name in document:
            document = document[name]
        elif isinstance(document, list) and name.isdigit() and int(name) < len(document):
            document = document[int(name)]
        else:
            return None
    return document


def _summary(fields: dict[str, Any]) -> str:
    if "from_state" in fields:
        on = f" on {fields['trigger']}" if fields.get("trigger") else ""
        return f"{fields['from_state']} → {fields['to_state']}{on}" + (
            f", set {_pairs(fields['set'])}" if fields.get("set") else ""
        )
    shown = {
        name: value
        for name, value in fields.items()
        if name not in _HIDDEN and value not in ("", {}, [], None)
    }
    return _pairs(shown)


_LONGEST_SPAN_MS = 100_000_000_000  # three years; as an instant it would lie in 1973


def _pairs(fields: dict[str, Any]) -> str:
    return ", ".join(
        f"{name.removesuffix('_ms') if _is_instant(name, value) else name}={_value(name, value)}"
        for name, value in fields.items()
    )


def _is_instant(name: str, value: Any) -> bool:
    return name.endswith("_ms") and isinstance(value, int) and value > _LONGEST_SPAN_MS


def _value(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if _is_instant(name, value):
        return rfc3339(value)
    return msgspec.json.encode(value).decode()


def _outcome(name: str) -> str:
    return {CommandRejected.NAME: "rejected", CommandIgnored.NAME: "ignored"}.get(name, "applied")


def _pinned(events: Sequence[Recorded], version: int) -> int | None:
    started = [
        r.envelope.data
        for r in events
        if isinstance(r.envelope.data, JourneyStarted) and r.version <= version
    ]
    return started[-1].definition_version if started else None
