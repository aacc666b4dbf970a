"""The commands from outside that appointments take, and how their data is read."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from orchestrator.distributions.admissions import REFERENCE_CHARS_MAX
from orchestrator.distributions.appointment import config as configs
from orchestrator.distributions.appointment.config import Slot
from orchestrator.distributions.reading import Fields

_SPANS: Final = {
    "hold": "hold_ms", "booking_closes": "booking_closes_ms", "cancel_until": "cancel_until_ms",
}  # fmt: skip
_CONFIGURABLE: Final = ("slots", "opens_at", "closes_at", *_SPANS)
_FIELDS: Final[Mapping[str, Sequence[str]]] = {
    "open": (),
    "pause": (),
    "resume": (),
    "close": ("reason",),
    "configure": _CONFIGURABLE,
    "redeem": ("jti", "reference"),
    "revoke": ("jti", "reason"),
}
OPERATIONS: Final = frozenset(_FIELDS)


def read(type: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """The data of a command from outside, checked. Raises Malformed."""
    fields = Fields(type, data, _FIELDS[type])
    match type:
        case "close":
            return {"reason": fields.text("reason", most=64, default="closed")}
        case "redeem":
            reference = fields.text("reference", most=REFERENCE_CHARS_MAX, default="")
            return {"jti": fields.text("jti", most=64), "reference": reference}
        case "revoke":
            reason = fields.text("reason", most=REFERENCE_CHARS_MAX, default="")
            return {"jti": fields.text("jti", most=64), "reason": reason}
        case "configure":
            return _read_changes(fields, data)
    return {}


def _read_changes(fields: Fields, data: Mapping[str, Any]) -> dict[str, Any]:
    """The members of AppointmentConfig that a `configure` changes; `slots` are all that there will be."""
    changes: dict[str, Any] = {}
    if "slots" in fields:
        changes["slots"] = _slots(fields, data["slots"])
    for name, member in _SPANS.items():
        if name in fields:
            changes[member] = fields.span_ms(name)
    for name, member in (("opens_at", "opens_ms"), ("closes_at", "closes_ms")):
        if name in fields:
            changes[member] = fields.instant_ms(name)
    if not changes:
        raise fields.no(f"nothing to change; it takes {', '.join(_CONFIGURABLE)}")
    return changes


def _slots(fields: Fields, given: Any) -> tuple[Slot, ...]:
    if not isinstance(given, list) or not 1 <= len(given) <= configs.SLOTS_MAX:
        raise fields.no(f"slots must be a list of 1 to {configs.SLOTS_MAX}")
    found: list[Slot] = []
    for index, one in enumerate(given):
        if not isinstance(one, dict):
            raise fields.no(f"slots/{index} must be an object")
        slot = Fields(f"configure: slots/{index}", one, ("id", "starts_at", "ends_at", "capacity"))
        made = Slot(
            slot.text("id", most=configs.ID_CHARS_MAX),
            slot.instant_ms("starts_at"),
            slot.instant_ms("ends_at"),
            slot.whole("capacity", least=1, most=configs.PEOPLE_MAX),
        )
        if not 0 < made.starts_ms < made.ends_ms:
            raise slot.no("it needs starts_at and a later ends_at")
        found.append(made)
    if len({slot.id for slot in found}) < len(found):
        raise fields.no("two slots have one id")
    return tuple(found)
