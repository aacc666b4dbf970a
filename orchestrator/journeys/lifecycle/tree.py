"""The states of a document as a flat map of nodes; the root, holding what all states inherit, is ``''``."""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

ANY_EVENT: Final = "*"
ROOT: Final = ""


class Node(Struct, frozen=True):
    """One state as written. `path` is its full name, such as CHECKOUT.PAYMENT; `pointer` its place."""

    path: str
    pointer: str
    source: Mapping[str, Any]

    @property
    def leaf(self) -> bool:
        return self.path != ROOT and not self.source.get("states")

    @property
    def terminal(self) -> bool:
        return bool(self.source.get("terminal", False))


def nodes(document: Mapping[str, Any]) -> dict[str, Node]:
    """All states by full name, parents before children, the root first."""
    found = {ROOT: Node(ROOT, "", document)}
    _collect(found, found[ROOT])
    return found


def chain(path: str, *, root: bool = False) -> list[str]:
    """The levels from the outermost state down to `path`."""
    steps = path.split(".")
    levels = [".".join(steps[: n + 1]) for n in range(len(steps))]
    return [ROOT, *levels] if root else levels


def resolve(nodes: Mapping[str, Node], path: str) -> Node:
    """The leaf that is entered when `path` is the target. Raises KeyError for unknown states."""
    node = nodes[path]
    while not node.leaf:
        node = nodes[f"{node.path}.{node.source['initial']}"]
    return node


def transitions(node: Node) -> dict[str, list[tuple[str, Mapping[str, Any]]]]:
    """The candidates of each event type with their places; a text is short for `{target: text}`."""
    found: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for event_type, source in node.source.get("on", {}).items():
        at = f"{node.pointer}/on/{escape(event_type)}"
        if isinstance(source, list):
            found[event_type] = [(f"{at}/{n}", _long(candidate)) for n, candidate in enumerate(source)]
        else:
            found[event_type] = [(at, _long(source))]
    return found


def escape(key: str) -> str:
    """A key as a JSON Pointer writes it."""
    return key.replace("~", "~0").replace("/", "~1")


def _long(source: Any) -> Mapping[str, Any]:
    return {"target": source} if isinstance(source, str) else source


def _collect(found: dict[str, Node], parent: Node) -> None:
    for name, source in parent.source.get("states", {}).items():
        path = f"{parent.path}.{name}" if parent.path else name
        node = Node(path, f"{parent.pointer}/states/{escape(name)}", source)
        found[path] = node
        _collect(found, node)
