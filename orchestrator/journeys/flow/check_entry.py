"""Entries, re-entry, dates, exits, goals and what is recorded of events."""

from collections.abc import Iterator, Mapping
from datetime import UTC
from typing import Any

from orchestrator.core.decider import Problem
from orchestrator.core.rules import RuleFailed
from orchestrator.core.templates import Template
from orchestrator.journeys.flow.check_nodes import span, unlisted
from orchestrator.journeys.flow.local_time import instant_ms
from orchestrator.journeys.flow.values import OPEN_CUSTOMER_FIELDS
from orchestrator.journeys.paths import overlaps

_ENTRIES = ("event", "segment", "manual")


def check_entry(document: Mapping[str, Any]) -> Iterator[Problem]:
    """Problems of everything that lets customers in and out."""
    events = set(document.get("events", ()))
    for n, entry in enumerate(document.get("entry", ())):
        said = [field for field in _ENTRIES if field in entry]
        if len(said) != 1:
            yield Problem(f"/entry/{n}", "it must say one way in", f"write one of: {', '.join(_ENTRIES)}")
        yield from _listed(f"/entry/{n}", entry, events)
    if sum("manual" in entry for entry in document.get("entry", ())) > 1:
        yield Problem("/entry", "two entries are by hand", "join their conditions with `or`")
    for n, exit in enumerate(document.get("exit", ())):
        if not exit.keys() & {"event", "segment_left", "when"}:
            yield Problem(
                f"/exit/{n}", "every run would end at once", "add `event`, `segment_left` or `when`"
            )
        if "event" in exit and "segment_left" in exit:
            yield Problem(f"/exit/{n}", "two events in one exit", "write two exits")
        yield from _listed(f"/exit/{n}", exit, events)
    goals: set[str] = set()
    for n, goal in enumerate(document.get("goals", ())):
        if goal["id"] in goals:
            yield Problem(f"/goals/{n}/id", f"a second goal is called {goal['id']}", "rename one")
        goals.add(goal["id"])
        if "within" in goal:
            yield from span(f"/goals/{n}/within", goal["within"])
        yield from _listed(f"/goals/{n}", goal, events)
    for type in document.get("record", {}):
        if type not in events:
            yield unlisted(f"/record/{type.replace('~', '~0').replace('/', '~1')}", type)
    yield from _unheard(document)
    yield from _dates(document)
    yield from _reentry(document)


def _listed(pointer: str, source: Mapping[str, Any], events: set[str]) -> Iterator[Problem]:
    if "event" in source and source["event"] not in events:
        yield unlisted(f"{pointer}/event", source["event"])


def _unheard(document: Mapping[str, Any]) -> Iterator[Problem]:
    fields = [one.get("event") for name in ("entry", "exit", "goals") for one in document.get(name, ())]
    waits = [node["event"]["type"] for node in document["nodes"].values() if "event" in node]
    used = {*fields, *waits, *document.get("record", {})}
    for n, type in enumerate(document.get("events", ())):
        if type not in used:
            message = f"nothing in the document is about {type}"
            yield Problem(f"/events/{n}", message, "use it, or remove it from `events`", "warning")


def _dates(document: Mapping[str, Any]) -> Iterator[Problem]:
    found: dict[str, int] = {}
    for field in ("start_at", "stop_at"):
        if field not in document:
            continue
        at_ms = instant_ms(document[field], UTC)
        if at_ms is None:
            message = f"{document[field]!r} is no instant"
            yield Problem(f"/{field}", message, "write it as 2026-12-24T08:00:00Z")
        else:
            found[field] = at_ms
    if len(found) == 2 and found["stop_at"] <= found["start_at"]:
        yield Problem("/stop_at", "nobody could ever enter", "let `stop_at` be after `start_at`")


def _reentry(document: Mapping[str, Any]) -> Iterator[Problem]:
    reentry = document.get("reentry")
    if not isinstance(reentry, dict):
        return
    if "after" in reentry:
        yield from span("/reentry/after", reentry["after"])
        return
    try:
        template = Template(reentry["key"])
    except RuleFailed:
        return  # told with the other rules
    if template.constant:
        message = "a constant key lets every customer in once"
        yield Problem("/reentry/key", message, "write `once`, or read the key from the event")
    for path in template.reads:
        name = ".".join(path)
        personal = any(overlaps(name, own) for own in document.get("pii", ()))
        if path[:1] == ("customer",) and (len(path) < 2 or path[1] not in OPEN_CUSTOMER_FIELDS):
            personal = True
        if personal or not path:
            message = f"the key reads {name or 'everything'}, which is personal: keys are kept in clear"
            yield Problem("/reentry/key", message, "use an id, such as that of an order")
