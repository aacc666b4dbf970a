"""What single nodes say: branches, weights, waits, times, zones, quiet hours."""

from collections.abc import Iterator, Mapping
from datetime import UTC
from typing import Any

from orchestrator.core.decider import Problem
from orchestrator.core.durations import duration_ms
from orchestrator.journeys.flow.compile import BUCKETS
from orchestrator.journeys.flow.local_time import instant_ms, zone_named

WAYS = ("for", "until", "local", "event")


def check_nodes(document: Mapping[str, Any]) -> Iterator[Problem]:
    """Problems inside nodes, and of the document's own zone and quiet hours."""
    yield from _zone("", document)
    yield from _hours("/quiet_hours", document.get("quiet_hours"))
    for id, node in document["nodes"].items():
        pointer = f"/nodes/{id}"
        yield from _zone(pointer, node)
        yield from _quiet(pointer, node, document)
        if "branches" in node:
            yield from _branches(pointer, node)
        if node["kind"] == "wait":
            yield from _wait(pointer, node, document)


def span(pointer: str, text: Any) -> Iterator[Problem]:
    """The problem of a text that is no duration."""
    try:
        duration_ms(text)
    except ValueError as error:
        yield Problem(pointer, str(error), "write a span such as 3d")


def _zone(pointer: str, source: Mapping[str, Any]) -> Iterator[Problem]:
    if "zone" in source and zone_named(source["zone"]) is None:
        message = f"{source['zone']!r} is no time zone"
        yield Problem(f"{pointer}/zone", message, "write a name such as Europe/Berlin or UTC")


def _quiet(pointer: str, node: Mapping[str, Any], document: Mapping[str, Any]) -> Iterator[Problem]:
    quiet = node.get("quiet_hours")
    if quiet is True and "quiet_hours" not in document:
        message = "the document has no quiet hours"
        yield Problem(f"{pointer}/quiet_hours", message, "add `quiet_hours: {from, to}` at the top, or here")
    if isinstance(quiet, dict):
        yield from _hours(f"{pointer}/quiet_hours", quiet)
    if quiet and node["kind"] == "wait" and "event" in node:
        message = "an event comes when it comes"
        yield Problem(f"{pointer}/quiet_hours", message, "put quiet hours on the action that follows")


def _hours(pointer: str, hours: Any) -> Iterator[Problem]:
    if isinstance(hours, dict) and hours["from"] == hours["to"]:
        yield Problem(pointer, "quiet hours that end when they begin", "let `to` differ from `from`")


def _branches(pointer: str, node: Mapping[str, Any]) -> Iterator[Problem]:
    seen: set[str] = set()
    for n, branch in enumerate(node["branches"]):
        if branch["id"] in seen:
            message = f"a second branch is called {branch['id']}"
            yield Problem(f"{pointer}/branches/{n}/id", message, "give each its own name")
        seen.add(branch["id"])
    if node["kind"] != "split":
        return
    shares = [branch["weight"] * BUCKETS / 100 for branch in node["branches"]]
    if any(abs(share - round(share)) > 1e-6 for share in shares):
        message = "a weight has more than two decimals"
        yield Problem(f"{pointer}/branches", message, "round the weights to hundredths")
    elif sum(map(round, shares)) != BUCKETS:
        total = sum(branch["weight"] for branch in node["branches"])
        yield Problem(f"{pointer}/branches", f"the weights sum to {total:g}", "let them sum to 100")


def _wait(pointer: str, node: Mapping[str, Any], document: Mapping[str, Any]) -> Iterator[Problem]:
    said = [way for way in WAYS if way in node]
    if len(said) != 1:
        message = f"it waits for {' and '.join(said)}" if said else "it doesn't say what it waits for"
        yield Problem(pointer, message, f"write exactly one of: {', '.join(WAYS)}")
    for field in ("for", "timeout"):
        if field in node:
            yield from span(f"{pointer}/{field}", node[field])
    until = node.get("until")
    if isinstance(until, str | int | float | bool | list) and instant_ms(until, UTC) is None:
        message = f"{str(until)[:100]!r} is no instant"
        yield Problem(f"{pointer}/until", message, "write it as 2026-12-24T08:00:00Z, or {var: …}")
    if "event" in node and "timeout" not in node:
        message = "a run may wait for this event for ever"
        yield Problem(pointer, message, "add `timeout` and an edge for the branch timeout", "warning")
    if "event" in node and node["event"]["type"] not in document.get("events", ()):
        yield unlisted(f"{pointer}/event/type", node["event"]["type"])


def unlisted(pointer: str, type: str) -> Problem:
    """The problem of an event type the document doesn't listen to."""
    message = f"{type} is not among the event types this definition listens to"
    return Problem(pointer, message, "add it to `events`")
