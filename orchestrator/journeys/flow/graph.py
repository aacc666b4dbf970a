"""The graph of a document: edges by node and branch, and which branches a node has."""

from collections.abc import Iterable, Mapping
from typing import Any

from orchestrator.journeys.flow.model import DEFAULT, EXHAUSTED, FAILURE, NEXT, TIMEOUT

SUCCESS = "success"  # another word for the edge of an action that ended well


def branch_of(edge: Mapping[str, Any]) -> str:
    """The branch of an edge; an edge without one is the way on."""
    branch: str = edge.get("branch", NEXT)
    return NEXT if branch == SUCCESS else branch


def edges_of(document: Mapping[str, Any], node: str) -> dict[str, str]:
    """Branch and target of each edge of a node."""
    return {branch_of(edge): edge["to"] for edge in document["edges"] if edge["from"] == node}


def required_branches(node: Mapping[str, Any]) -> tuple[str, ...]:
    """The branches that need an edge."""
    match node["kind"]:
        case "end":
            return ()
        case "condition":
            return (*(branch["id"] for branch in node["branches"]), DEFAULT)
        case "split":
            return tuple(branch["id"] for branch in node["branches"])
        case "wait" if "timeout" in node:
            return (NEXT, TIMEOUT)
    return (NEXT,)


def optional_branches(node: Mapping[str, Any]) -> tuple[str, ...]:
    """The branches that may have an edge besides."""
    if node["kind"] in {"start", "end"}:
        return ()
    return (FAILURE, EXHAUSTED) if "max_visits" in node else (FAILURE,)


def reached_from(starts: Iterable[str], arrows: Mapping[str, Iterable[str]]) -> set[str]:
    """Every node on a way along the arrows, the starts included."""
    seen = set(starts)
    todo = list(seen)
    while todo:
        for target in arrows.get(todo.pop(), ()):
            if target not in seen:
                seen.add(target)
                todo.append(target)
    return seen


def on_cycles(arrows: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Groups of nodes that lead back to themselves, one group a knot."""
    groups: list[list[str]] = []
    told: set[str] = set()
    for node in arrows:
        if node in told:
            continue
        below = {target for first in arrows[node] for target in reached_from([first], arrows)}
        if node in below:
            group = [one for one in arrows if one in below and node in reached_from([one], arrows)]
            told |= set(group)
            groups.append(group)
    return groups
