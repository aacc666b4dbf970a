"""Rules that can be used, variables that exist, paths that can be set."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final

from orchestrator.core.decider import Problem
from orchestrator.core.rules import Rule, RuleFailed, check_rule
from orchestrator.core.templates import Template
from orchestrator.journeys.lifecycle.compile import default_context
from orchestrator.journeys.lifecycle.places import assignments, conditions, parameters, rules_in
from orchestrator.journeys.paths import leaves, overlaps

RESERVED: Final = ("state", "lastEventAt", "event", "customer", "organization")
_EVENT_PATHS = ("event.type", "event.payload", "event.timestamp")
_CURES: Final[Mapping[str, str]] = {
    "not_deterministic": "use `event.timestamp` or `lastEventAt` instead of `now`",
    "unknown_operator": "use a JSONLogic operator; a literal object is written {literal: ...}",
    "too_large": "simplify the rule, or split it into several transitions",
    "too_deep": "flatten the rule",
}


def check_rules(document: Mapping[str, Any]) -> Iterator[Problem]:
    """Problems of conditions, assignments, parameters, the context and personal paths."""
    context = default_context(document)
    known = {*leaves(context), *(path for _, path, _ in assignments(document)), *RESERVED, *_EVENT_PATHS}
    for name in document.get("context", {}):
        if name in RESERVED:
            yield Problem(f"/context/{name}", f"{name} is kept by the engine", "choose another name")
    for n, path in enumerate(document.get("pii", ())):
        if path.split(".")[0] not in {*context, "event"}:
            message = f"{path} is neither a variable of the context nor part of an event"
            yield Problem(f"/pii/{n}", message, "declare it under `context`, or write event.payload.…")
    for pointer, path, value in assignments(document):
        yield from _path(pointer, path, context)
        yield from _value(pointer, value, known)
    for pointer, value in parameters(document):
        yield from _value(pointer, value, known)
    for pointer, rule in conditions(document):
        if not isinstance(rule, dict | bool) or rule == {}:
            yield Problem(pointer, f"{rule!r} is no condition", "write a JSONLogic rule, or remove `when`")
        else:
            yield from _rule(pointer, rule, known)


def _path(pointer: str, path: str, context: Mapping[str, Any]) -> Iterator[Problem]:
    first, *below = path.split(".")
    if first in RESERVED:
        yield Problem(
            pointer, f"{first} is kept by the engine and can't be set", "use `target` to change the state"
        )
        return
    if first not in context:
        near = get_close_matches(first, list(context), n=1)
        cure = f"did you mean {near[0]}?" if near else f"add {first} with a first value to `context`"
        yield Problem(pointer, f"{first} is not declared", cure)
        return
    value: Any = context[first]
    for step in below:
        if value is not None and not isinstance(value, dict):
            message = f"{path} leads through {first}, whose first value is no object"
            yield Problem(pointer, message, "set the variable as a whole, or declare an object")
            return
        value = value.get(step) if value else None


def _value(pointer: str, value: Any, known: set[str]) -> Iterator[Problem]:
    failed = False
    for at, rule in rules_in(pointer, value):
        for problem in _rule(at, rule, known):
            failed = failed or problem.severity == "error"
            yield problem
    if not failed:
        try:
            Template(value)
        except RuleFailed as failure:
            yield Problem(pointer, str(failure), "flatten the value")


def _rule(pointer: str, source: Any, known: set[str]) -> Iterator[Problem]:
    failures = check_rule(source)
    for failure in failures:
        cure = _CURES.get(failure.reason, "correct the rule")
        yield Problem(pointer + failure.pointer, f"{failure} ({failure.reason})", cure)
    if failures:
        return
    for read in Rule(source).reads:
        path = ".".join(read)
        if path and not any(overlaps(path, one) for one in known):
            near = get_close_matches(path, sorted(known), n=1)
            cure = f"did you mean {near[0]}?" if near else "declare it under `context`"
            yield Problem(pointer, f"the rule reads {path}, which is always null", cure, "warning")
