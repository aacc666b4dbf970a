"""Where a document holds rules, values and names of actions, with their JSON Pointers."""

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.core.rules import is_rule
from orchestrator.core.templates import LITERAL
from orchestrator.journeys.lifecycle.tree import escape, nodes, transitions

ACTION_VALUES = ("url", "headers", "body", "key", "value", "message", "fields")


def conditions(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every `when`."""
    for node in nodes(document).values():
        triggers = node.source.get("triggers", {})
        if "when" in triggers:
            yield f"{node.pointer}/triggers/when", triggers["when"]
        for candidates in transitions(node).values():
            for at, candidate in candidates:
                if "when" in candidate:
                    yield f"{at}/when", candidate["when"]


def assignments(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Every path that is set, with its place and value."""
    for event_type, values in document.get("record", {}).items():
        for path, value in values.items():
            yield f"/record/{escape(event_type)}/{path}", path, value
    for node in nodes(document).values():
        found = [place for candidates in transitions(node).values() for place in candidates]
        if "after" in node.source:
            found.append((f"{node.pointer}/after", node.source["after"]))
        for at, source in found:
            for path, value in source.get("set", {}).items():
                yield f"{at}/set/{path}", path, value


def parameters(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every parameter of an action that may hold rules."""
    for name, action in document.get("actions", {}).items():
        for field in ACTION_VALUES:
            if field in action:
                yield f"/actions/{name}/{field}", action[field]


def action_names(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every use of an action."""
    for node in nodes(document).values():
        lists = [(f"{node.pointer}/{moment}", node.source.get(moment, ())) for moment in ("entry", "exit")]
        lists += [
            (f"{node.pointer}/{field}/actions", node.source.get(field, {}).get("actions", ()))
            for field in ("triggers", "after")
        ]
        for candidates in transitions(node).values():
            lists += [(f"{at}/actions", candidate.get("actions", ())) for at, candidate in candidates]
        for at, names in lists:
            yield from ((f"{at}/{n}", name) for n, name in enumerate(names))


def rules_in(pointer: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The rules inside a value, as templates see them."""
    if isinstance(value, dict):
        if len(value) == 1 and LITERAL in value:
            return
        if is_rule(value):
            yield pointer, value
            return
        for key, child in value.items():
            yield from rules_in(f"{pointer}/{escape(key)}", child)
    elif isinstance(value, list):
        for n, child in enumerate(value):
            yield from rules_in(f"{pointer}/{n}", child)
