"""Commands of flows, and how they are read from a message's type and data."""

import re
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from orchestrator.core.errors import Malformed
from orchestrator.customers import fields
from orchestrator.customers.contact import REASONS, REFERENCE_CHARS_MAX

SEGMENT_ENTERED: Final = "segment.entered"
SEGMENT_LEFT: Final = "segment.left"
TYPE_CHARS_MAX: Final = 128
REASON_CHARS_MAX: Final = 200
_TIME_MAX_MS = 253_402_300_800_000  # the year 10000
_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_OWN_RUN = re.compile(r"r[0-9]+")  # ids the flow gives itself


class Start(Struct, frozen=True):
    """Begin a run by hand, called `run` if that is given."""

    context: Mapping[str, Any] = {}
    run: str = ""


class Continue(Struct, frozen=True):
    """Move a waiting run on by hand; `event_data` becomes the payload of its `event`."""

    event_data: Mapping[str, Any] = {}
    run: str = ""


class Pause(Struct, frozen=True):
    """Let a run, or all of them, stand still."""

    run: str = ""
    reason: str = ""


class Resume(Struct, frozen=True):
    """Let a paused run, or all of them, go on."""

    run: str = ""


class Cancel(Struct, frozen=True):
    """End a run, or all of them."""

    run: str = ""
    reason: str = ""


class HandleEvent(Struct, frozen=True, gc=False):
    """Something the customer did, or a segment they entered or left. `timestamp_ms` None: as the envelope says."""

    type: str
    payload: Mapping[str, Any]
    timestamp_ms: int | None = None


class ContactReply(Struct, frozen=True):
    """The customer's record has answered. `counted`: whether a contact counts that has to be used or given back."""

    reference: str
    granted: bool
    counted: bool = False
    reason: str = ""
    free_at_ms: int | None = None


def parse(type: str, data: Mapping[str, Any]) -> Any:
    """The command of an addressed message. Raises Malformed, naming the field and what it should be."""
    match type:
        case "start":
            _only(type, data, {"context", "run"})
            run = _run(type, data)
            if _OWN_RUN.fullmatch(run):
                raise Malformed("start: run ids of r and digits are given by the flow itself")
            return Start(_object(type, "context", data.get("context", {})), run)
        case "continue":
            _only(type, data, {"event_data", "run"})
            return Continue(_object(type, "event_data", data.get("event_data", {})), _run(type, data))
        case "pause":
            _only(type, data, {"run", "reason"})
            return Pause(_run(type, data), _reason(type, data))
        case "resume":
            _only(type, data, {"run"})
            return Resume(_run(type, data))
        case "cancel":
            _only(type, data, {"run", "reason"})
            return Cancel(_run(type, data), _reason(type, data))
        case "event":
            _only(type, data, {"type", "payload", "timestamp", "sessionId"})
            return _event(data)
        case "segment.entered" | "segment.left":
            _only(type, data, {"segment"})
            segment = data.get("segment")
            if not isinstance(segment, str) or not 0 < len(segment) <= TYPE_CHARS_MAX:
                raise Malformed(f"{type}: segment must be a text of 1 to {TYPE_CHARS_MAX} characters")
            return HandleEvent(type, {"segment": segment})
        case "contact.granted":
            _only(type, data, {"reference", "counted"})
            counted = fields.flag(type, data, "counted")
            return ContactReply(_reference(type, data), granted=True, counted=counted)
        case "contact.refused":
            _only(type, data, {"reference", "reason", "free_at_ms"})
            reason = fields.one_of(type, data, "reason", REASONS)
            free_at_ms = fields.moment_ms(type, data, "free_at_ms")
            return ContactReply(_reference(type, data), granted=False, reason=reason, free_at_ms=free_at_ms)
    raise Malformed(
        f"{type[:100]!r} is no command of a flow; these are: start, continue, pause, resume, cancel, event, "
        "segment.entered, segment.left",
        "unknown_type",
    )


def parse_raw(type: str, data: Mapping[str, Any]) -> HandleEvent:
    """The command for a raw event. Raises Malformed."""
    payload = data.get("payload")
    if payload is None:
        payload = {}
    if not isinstance(payload, dict):
        raise Malformed(f"event {type[:100]!r}: payload must be an object")
    return HandleEvent(type, payload)


def _event(data: Mapping[str, Any]) -> HandleEvent:
    type = data.get("type")
    if not isinstance(type, str) or not 0 < len(type) <= TYPE_CHARS_MAX:
        raise Malformed(f"event: type must be a text of 1 to {TYPE_CHARS_MAX} characters")
    timestamp = data.get("timestamp")
    if timestamp is not None and (
        not isinstance(timestamp, int) or isinstance(timestamp, bool) or not 0 <= timestamp < _TIME_MAX_MS
    ):
        raise Malformed("event: timestamp must be a whole number of milliseconds since 1970")
    payload = data.get("payload")
    return HandleEvent(type, {} if payload is None else _object("event", "payload", payload), timestamp)


def _run(command: str, data: Mapping[str, Any]) -> str:
    run = data.get("run", "")
    if not isinstance(run, str) or (run and not _RUN.fullmatch(run)):
        raise Malformed(f"{command}: run must be up to 64 letters, digits, '_', '.' or '-'")
    return run


def _reason(command: str, data: Mapping[str, Any]) -> str:
    reason = data.get("reason", "")
    if not isinstance(reason, str) or len(reason) > REASON_CHARS_MAX:
        raise Malformed(f"{command}: reason must be a text of up to {REASON_CHARS_MAX} characters")
    return reason


def _reference(command: str, data: Mapping[str, Any]) -> str:
    return fields.text(command, data, "reference", max_chars=REFERENCE_CHARS_MAX)


def _object(command: str, name: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Malformed(f"{command}: {name} must be an object")
    return value


def _only(command: str, data: Mapping[str, Any], names: set[str]) -> None:
    unknown = sorted(set(data) - names)
    if unknown:
        allowed = ", ".join(sorted(names)) or "no fields"
        raise Malformed(f"{command}: unknown field {unknown[0][:100]!r}; it takes {allowed}")
