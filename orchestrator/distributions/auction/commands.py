"""The commands from outside that an auction takes, and how their data is read."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from orchestrator.distributions.reading import Fields, read_common

_FIELDS: Final[Mapping[str, Sequence[str]]] = {
    "open": (),
    "pause": (),
    "resume": (),
    "close": ("reason",),
    "configure": ("closes_at", "increment", "reserve", "payment"),
    "redeem": ("jti", "reference"),
    "revoke": ("jti", "reason"),
}
OPERATIONS: Final = frozenset(_FIELDS)


def read(type: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """The data of a command from outside, checked. Raises Malformed."""
    fields = Fields(type, data, _FIELDS[type])
    return _read_changes(fields) if type == "configure" else read_common(type, fields) or {}


def _read_changes(fields: Fields) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if "closes_at" in fields:
        changes["closes_ms"] = fields.instant_ms("closes_at")
    if "increment" in fields:
        changes["increment"] = fields.whole("increment", least=1)
    if "reserve" in fields:
        changes["reserve"] = fields.whole("reserve", least=0)
    if "payment" in fields:
        changes["payment_ms"] = fields.span_ms("payment")
    if not changes:
        raise fields.no(f"nothing to change; it takes {', '.join(_FIELDS['configure'])}")
    return changes
