"""What a flow's document names that other documents are: templates, campaigns, ledgers, records, journeys."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple


class Reference(NamedTuple):
    """A document that has to be published for the flow to work, and where the flow names it."""

    kind: str
    id: str
    version: int | None  # None: the newest
    pointer: str


_BY_PARAM: Final[Mapping[str, tuple[str, str, str]]] = {
    "send_email": ("template", "template", ""),
    "send_sms": ("template", "template", ""),
    "send_push": ("template", "template", ""),
    "trigger_campaign": ("campaign_id", "campaign", ""),
    "award_points": ("ledger", "points", "ledger"),
    "update_profile": ("record", "customer", "profile"),
    "lookup_profile": ("record", "customer", "profile"),
    "start_journey": ("journey", "flow", ""),
}
"""Type of action to the parameter that names a document, its kind, and the id where the parameter is left out."""


def references(document: Mapping[str, Any]) -> Iterator[Reference]:
    """Every document that an action names by a constant; what is computed can't be known before."""
    for name, action in document.get("actions", {}).items():
        yield from _named(action, f"/actions/{name}")
    for name, node in document["nodes"].items():
        if node["kind"] == "action" and "type" in node:
            yield from _named(node, f"/nodes/{name}")


def _named(action: Mapping[str, Any], pointer: str) -> Iterator[Reference]:
    known = _BY_PARAM.get(action["type"])
    if known is None:
        return
    param, kind, otherwise = known
    params = action.get("params", {})
    named = params.get(param, otherwise)
    if action["type"] == "start_journey":
        kind = str(params.get("kind", kind))
    version = params.get("version") if kind == "template" else None
    if isinstance(named, int) and not isinstance(named, bool):
        named = str(named)
    if not isinstance(named, str) or not named or "{{" in f"{named}{kind}":
        return
    place = f"{pointer}/params/{param}" if param in params else pointer
    yield Reference(kind, named, version if isinstance(version, int) else None, place)
