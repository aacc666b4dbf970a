"""How action nodes reach the customer: consent or a contact, and what goes with a contact."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from orchestrator.core.decider import Problem
from orchestrator.journeys.flow.action_types import CHANNELS
from orchestrator.journeys.flow.check_nodes import span
from orchestrator.journeys.flow.compile import action_of

_WITH_CONTACT: Final = ("class", "over_cap", "hold_for")


def check_contact(document: Mapping[str, Any]) -> Iterator[Problem]:
    """Problems of `consent`, `contact` and what belongs to them."""
    for id, node in document["nodes"].items():
        if node["kind"] != "action":
            continue
        pointer = f"/nodes/{id}"
        if "contact" not in node:
            for field in _WITH_CONTACT:
                if field in node:
                    message = f"{field} says something about a contact, and there is none"
                    yield Problem(f"{pointer}/{field}", message, "add `contact` with the channel")
            continue
        if "consent" in node:
            message = "a contact needs consent by itself"
            yield Problem(f"{pointer}/consent", message, "remove `consent`, keep `contact`")
        if "hold_for" in node:
            yield from span(f"{pointer}/hold_for", node["hold_for"])
            if node.get("over_cap") != "hold":
                message = "nothing is held: an action over a cap is skipped"
                yield Problem(f"{pointer}/hold_for", message, "add `over_cap: hold`")
        yield from _channel(pointer, node, action_of(document, node))


def _channel(pointer: str, node: Mapping[str, Any], action: Mapping[str, Any] | None) -> Iterator[Problem]:
    """A message that goes where the record says is counted where it goes."""
    if action is None or "to" in action.get("params", {}):
        return
    channel = CHANNELS.get(action["type"], node["contact"])
    if channel != node["contact"]:
        message = f"{action['type']} goes by {channel}, but the contact is by {node['contact']}"
        yield Problem(f"{pointer}/contact", message, f"write `contact: {channel}`", "warning")
