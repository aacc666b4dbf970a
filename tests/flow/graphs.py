"""Small documents for tests: nodes in a row, with what a test is about put in."""

from itertools import pairwise
from typing import Any

from tests.flow.world import World, definition


def document(
    nodes: dict[str, Any], edges: list[tuple[str, ...]] | None = None, **more: Any
) -> dict[str, Any]:
    """A flow `begin` → the nodes in their order → `done`; `edges` (from, to, branch?) are added to that way."""
    order = ["begin", *nodes, "done"]
    row = [{"from": one, "to": other} for one, other in pairwise(order)]
    branching = {id for id, node in nodes.items() if node["kind"] in {"condition", "split", "end"}}
    row = [edge for edge in row if edge["from"] not in branching]
    added = [dict(zip(("from", "to", "branch"), edge, strict=False)) for edge in edges or []]
    return {
        "kind": "flow",
        "id": "test",
        "nodes": {"begin": {"kind": "start"}, **nodes, "done": {"kind": "end", "result": "done"}},
        "edges": [*row, *added],
        **more,
    }


def world(nodes: dict[str, Any], edges: list[tuple[str, ...]] | None = None, **more: Any) -> World:
    """A customer before such a flow; `customer` is that customer's."""
    customer, secrets = more.pop("customer", None), more.pop("secrets", ())
    return World(definition(document(nodes, edges, **more)), record=customer, secrets=secrets)


LOG = {"kind": "action", "type": "log", "params": {"message": "x"}}
EITHER = [{"manual": True}]
