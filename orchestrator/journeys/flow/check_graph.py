"""Nodes and edges: one start, a way from it to every node and from every node to an end, every branch an edge."""

from collections import Counter
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from orchestrator.core.decider import Problem
from orchestrator.journeys.flow.graph import (
    branch_of,
    on_cycles,
    optional_branches,
    reached_from,
    required_branches,
)
from orchestrator.journeys.flow.model import EXHAUSTED, NEXT

_RESERVED = ("next", "success", "default", "timeout", "failure", "exhausted")


def check_graph(document: Mapping[str, Any]) -> Iterator[Problem]:
    """Problems of the graph as a whole, and of each edge."""
    nodes = document["nodes"]
    edges = list(enumerate(document["edges"]))
    yield from _starts(nodes)
    for n, edge in edges:
        yield from _edge(n, edge, nodes)
    yield from _doubles(document)
    known = [(n, edge) for n, edge in edges if edge["from"] in nodes and edge["to"] in nodes]
    for id, node in nodes.items():
        taken = {branch_of(edge) for _, edge in known if edge["from"] == id}
        if node["kind"] == "condition":
            for m, branch in enumerate(node["branches"]):
                yield from _branch_name(f"/nodes/{id}/branches/{m}/id", branch["id"])
        for branch in required_branches(node):
            if branch not in taken:
                said = "no edge leads on from" if branch == NEXT else f"no edge takes the branch {branch} of"
                cure = (
                    f"add {{from: {id}, to: …{'' if branch == NEXT else f', branch: {branch}'}}} to `edges`"
                )
                yield Problem(f"/nodes/{id}", f"{said} {id}", cure)
    arrows = {id: [edge["to"] for _, edge in known if edge["from"] == id] for id in nodes}
    yield from _ways(nodes, arrows)
    yield from _loops(nodes, arrows, {e["from"]: [e["to"]] for _, e in known if branch_of(e) == EXHAUSTED})


def _starts(nodes: Mapping[str, Any]) -> Iterator[Problem]:
    starts = [id for id, node in nodes.items() if node["kind"] == "start"]
    if not starts:
        yield Problem("/nodes", "no node is the start", "add one of `kind: start`")
    for id in starts[1:]:
        message = f"{id} is a second start beside {starts[0]}"
        yield Problem(f"/nodes/{id}/kind", message, "keep one; runs can branch after it")
    if not any(node["kind"] == "end" for node in nodes.values()):
        yield Problem("/nodes", "no node is an end", "add one of `kind: end`")


def _edge(n: int, edge: Mapping[str, Any], nodes: Mapping[str, Any]) -> Iterator[Problem]:
    for side in ("from", "to"):
        if edge[side] not in nodes:
            near = get_close_matches(edge[side], list(nodes), n=1)
            cure = f"did you mean {near[0]}?" if near else "add the node, or remove the edge"
            yield Problem(f"/edges/{n}/{side}", f"{edge[side]} is no node", cure)
    if edge["to"] in nodes and nodes[edge["to"]]["kind"] == "start":
        yield Problem(f"/edges/{n}/to", "an edge leads back to the start", "lead it to the node after it")
    source = nodes.get(edge["from"])
    if source is None:
        return
    if source["kind"] == "end":
        yield Problem(f"/edges/{n}/from", f"{edge['from']} is an end: nothing follows it", "remove the edge")
        return
    allowed = (*required_branches(source), *optional_branches(source))
    if branch_of(edge) not in allowed:
        names = ", ".join(dict.fromkeys(name for name in allowed if name != NEXT)) or "none"
        cure = f"write one of: {names}" + ("; or no branch at all" if NEXT in allowed else "")
        said = f"{edge['from']} has no branch {branch_of(edge)}"
        if branch_of(edge) == NEXT:
            said = f"{edge['from']} needs edges with a branch"
        yield Problem(f"/edges/{n}/branch" if "branch" in edge else f"/edges/{n}", said, cure)


def _doubles(document: Mapping[str, Any]) -> Iterator[Problem]:
    counted = Counter((edge["from"], branch_of(edge)) for edge in document["edges"])
    seen: set[tuple[str, str]] = set()
    for n, edge in enumerate(document["edges"]):
        place = (edge["from"], branch_of(edge))
        if counted[place] > 1 and place in seen:
            what = "" if place[1] == NEXT else f" for its branch {place[1]}"
            yield Problem(f"/edges/{n}", f"{place[0]} has a second edge{what}", "keep one of them")
        seen.add(place)


def _branch_name(pointer: str, name: str) -> Iterator[Problem]:
    if name in _RESERVED:
        yield Problem(pointer, f"{name} is a branch of every such node", "give the branch another name")


def _ways(nodes: Mapping[str, Any], arrows: Mapping[str, list[str]]) -> Iterator[Problem]:
    starts = [id for id, node in nodes.items() if node["kind"] == "start"]
    reached = reached_from(starts[:1], arrows)
    back: dict[str, list[str]] = {id: [] for id in nodes}
    for id, targets in arrows.items():
        for target in targets:
            back[target].append(id)
    ending = reached_from([id for id, node in nodes.items() if node["kind"] == "end"], back)
    for id, node in nodes.items():
        if starts and id not in reached and node["kind"] != "start":
            message = f"no way leads from the start to {id}"
            yield Problem(f"/nodes/{id}", message, "add an edge to it, or remove it")
        if arrows[id] and id not in ending:
            yield Problem(f"/nodes/{id}", f"no way leads from {id} to an end", "add an edge towards an end")


def _loops(
    nodes: Mapping[str, Any], arrows: Mapping[str, list[str]], ends: Mapping[str, list[str]]
) -> Iterator[Problem]:
    """A run that has used up every bound goes on by the edges `exhausted` alone: these may not lead round either."""
    free = {id: ends.get(id, []) if "max_visits" in nodes[id] else targets for id, targets in arrows.items()}
    for group in on_cycles(free):
        message = f"a run could go round for ever: {' → '.join(group)}"
        bounded = next((id for id in group if "max_visits" in nodes[id]), None)
        cure = "give one of them `max_visits`"
        if bounded is not None:
            cure = f"lead the edge `exhausted` of {bounded} out of the loop"
        yield Problem(f"/nodes/{bounded or group[0]}", message, cure)
