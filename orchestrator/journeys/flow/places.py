"""Where a document holds rules and values, with their JSON Pointers."""

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.core.rules import is_rule
from orchestrator.core.templates import LITERAL


def escape(key: str) -> str:
    """A key as a JSON Pointer writes it."""
    return key.replace("~", "~0").replace("/", "~1")


def conditions(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every `when` and `match`."""
    for field in ("entry", "exit", "goals"):
        for n, one in enumerate(document.get(field, ())):
            if "when" in one:
                yield f"/{field}/{n}/when", one["when"]
    for id, node in document["nodes"].items():
        if node["kind"] == "condition":
            for n, branch in enumerate(node["branches"]):
                yield f"/nodes/{id}/branches/{n}/when", branch["when"]
        if "match" in node.get("event", {}):
            yield f"/nodes/{id}/event/match", node["event"]["match"]


def values(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every value that may hold rules, parameters apart."""
    reentry = document.get("reentry")
    if isinstance(reentry, dict) and "key" in reentry:
        yield "/reentry/key", reentry["key"]
    for id, node in document["nodes"].items():
        if "until" in node:
            yield f"/nodes/{id}/until", node["until"]
    for type, sets in document.get("record", {}).items():
        for path, value in sets.items():
            yield f"/record/{escape(type)}/{escape(path)}", value


def parameters(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every parameter of an action, named or inside a node."""
    holders = [(f"/actions/{name}", action) for name, action in document.get("actions", {}).items()]
    holders += [(f"/nodes/{id}", node) for id, node in document["nodes"].items()]
    for pointer, holder in holders:
        for name, value in holder.get("params", {}).items():
            yield f"{pointer}/params/{escape(name)}", value


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
