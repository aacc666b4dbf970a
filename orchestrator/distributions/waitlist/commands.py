"""The commands from outside that a waitlist takes, and how their data is read."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from orchestrator.distributions.reading import Fields
from orchestrator.distributions.waitlist import config as configs

REASON_CHARS_MAX: Final = 128
_PARTICIPANT_CHARS_MAX: Final = 128
_CONFIGURABLE: Final = ("capacity", "offer_valid", "opens_at", "closes_at")
_FIELDS: Final[Mapping[str, Sequence[str]]] = {
    "open": (),
    "pause": (),
    "resume": (),
    "drain": (),
    "close": ("reason",),
    "configure": _CONFIGURABLE,
    "promote": ("count",),
    "move": ("participant", "to", "reason"),
    "remove": ("participant", "reason"),
}
OPERATIONS: Final = frozenset(_FIELDS)


def read(type: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """The data of a command from outside, checked. Raises Malformed."""
    fields = Fields(type, data, _FIELDS[type])
    match type:
        case "close":
            return {"reason": fields.text("reason", most=64, default="closed")}
        case "promote":
            return {"count": fields.whole("count", least=1, most=configs.PEOPLE_MAX)}
        case "move" | "remove":
            found: dict[str, Any] = {
                "participant": fields.text("participant", most=_PARTICIPANT_CHARS_MAX),
                "reason": fields.text("reason", most=REASON_CHARS_MAX),
            }
            if type == "move":
                found["to"] = fields.whole("to", least=1, most=configs.PEOPLE_MAX)
            return found
        case "configure":
            return _read_changes(fields)
    return {}


def _read_changes(fields: Fields) -> dict[str, Any]:
    """The members of WaitlistConfig that a `configure` changes; null takes a limit or an instant away."""
    changes: dict[str, Any] = {}
    if "capacity" in fields:
        changes["capacity"] = fields.whole("capacity", least=1, most=configs.PEOPLE_MAX, default=0)
    if "offer_valid" in fields:
        changes["offer_ms"] = fields.span_ms("offer_valid")
    for name, member in (("opens_at", "opens_ms"), ("closes_at", "closes_ms")):
        if name in fields:
            changes[member] = fields.instant_ms(name)
    if not changes:
        raise fields.no(f"nothing to change; it takes {', '.join(_CONFIGURABLE)}")
    return changes
