"""Commands of lifecycle journeys, and how they are read from a message's type and data."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from orchestrator.core.errors import Malformed

TYPE_CHARS_MAX = 128
_TIME_MAX_MS = 253_402_300_800_000  # the year 10000


class Start(Struct, frozen=True):
    """Begin the journey, in `state` if one is taken over from another system."""

    context: Mapping[str, Any] = {}
    state: str = ""


class HandleEvent(Struct, frozen=True, gc=False):
    """Something the customer did. `timestamp_ms` is when; None: as the envelope says."""

    type: str
    payload: Mapping[str, Any]
    timestamp_ms: int | None = None


class SetContext(Struct, frozen=True):
    """Set values of the context; keys are paths."""

    context: Mapping[str, Any]


class Restart(Struct, frozen=True):
    """Back to the beginning (command `reset`)."""


class Destroy(Struct, frozen=True):
    """Forget the journey."""


def parse(type: str, data: Mapping[str, Any]) -> Any:
    """The command of an addressed message. Raises Malformed, naming the field and what it should be."""
    match type:
        case "event":
            _only(type, data, {"type", "payload", "timestamp", "sessionId"})
            return _event(data.get("type"), data)
        case "start":
            _only(type, data, {"context", "state"})
            state = data.get("state", "")
            if not isinstance(state, str):
                raise Malformed("start: state must be the name of a state")
            return Start(_object(type, "context", data.get("context", {})), state)
        case "set_context":
            _only(type, data, {"context"})
            changes = _object(type, "context", data.get("context"))
            if not changes:
                raise Malformed("set_context: context must hold at least one path and value")
            return SetContext(changes)
        case "reset":
            _only(type, data, set())
            return Restart()
        case "destroy":
            _only(type, data, set())
            return Destroy()
    raise Malformed(
        f"{type[:100]!r} is no command of a lifecycle journey; these are: event, start, set_context, reset, destroy",
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


def _event(type: Any, data: Mapping[str, Any]) -> HandleEvent:
    if not isinstance(type, str) or not 0 < len(type) <= TYPE_CHARS_MAX:
        raise Malformed(f"event: type must be a text of 1 to {TYPE_CHARS_MAX} characters")
    timestamp = data.get("timestamp")
    if timestamp is not None and (
        not isinstance(timestamp, int) or isinstance(timestamp, bool) or not 0 <= timestamp < _TIME_MAX_MS
    ):
        raise Malformed("event: timestamp must be a whole number of milliseconds since 1970")
    payload = data.get("payload")
    return HandleEvent(type, {} if payload is None else _object("event", "payload", payload), timestamp)


def _object(command: str, name: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Malformed(f"{command}: {name} must be an object")
    return value


def _only(command: str, data: Mapping[str, Any], names: set[str]) -> None:
    unknown = sorted(set(data) - names)
    if unknown:
        allowed = ", ".join(sorted(names)) or "no fields"
        raise Malformed(f"{command}: unknown field {unknown[0][:100]!r}; it takes {allowed}")
