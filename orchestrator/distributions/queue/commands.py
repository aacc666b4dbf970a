"""The commands from outside that a queue takes, and how their data is read."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from orchestrator.distributions.queue import config as configs
from orchestrator.distributions.queue.flow import AT_ONCE_MAX
from orchestrator.distributions.reading import Fields, read_common

_CONFIGURABLE: Final = (
    "rate_per_minute",
    "concurrent",
    "capacity",
    "valid",
    "opens_at",
    "closes_at",
    "grace",
)
_FIELDS: Final[Mapping[str, Sequence[str]]] = {
    "open": ("secret",),
    "pause": (),
    "resume": (),
    "drain": (),
    "close": ("reason",),
    "configure": _CONFIGURABLE,
    "redeem": ("jti", "reference"),
    "revoke": ("jti", "reason"),
    "admit": ("count",),
    "absent": ("participants", "since_ms"),
    "present": ("participants",),
}


OPERATIONS: Final = frozenset(_FIELDS)


def read(type: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """The data of a command from outside, checked. Raises Malformed."""
    fields = Fields(type, data, _FIELDS[type])
    match type:
        case "open":
            return {"secret": fields.hex32("secret")}
        case "admit":
            return {"count": fields.whole("count", least=1, most=AT_ONCE_MAX)}
        case "absent" | "present":
            return {"participants": fields.participants("participants")}
        case "configure":
            return _read_changes(fields)
    return read_common(type, fields) or {}


def _read_changes(fields: Fields) -> dict[str, Any]:
    """The members of QueueConfig that a `configure` changes; null takes a limit or an instant away."""
    changes: dict[str, Any] = {}
    if "rate_per_minute" in fields:
        changes["rate_per_minute"] = fields.whole(
            "rate_per_minute", least=1, most=configs.RATE_MAX, default=0
        )
    for name in ("concurrent", "capacity"):
        if name in fields:
            changes[name] = fields.whole(name, least=1, most=configs.PEOPLE_MAX, default=0)
    for name, member in (("valid", "valid_ms"), ("grace", "grace_ms")):
        if name in fields:
            changes[member] = fields.span_ms(name)
    for name, member in (("opens_at", "opens_ms"), ("closes_at", "closes_ms")):
        if name in fields:
            changes[member] = fields.instant_ms(name)
    if not changes:
        raise fields.no(f"nothing to change; it takes {', '.join(_CONFIGURABLE)}")
    return changes
