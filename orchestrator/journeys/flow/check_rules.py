"""Rules that can be used, variables that exist, paths that can be set."""

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final

from orchestrator.core.decider import Problem
from orchestrator.core.rules import Rule, RuleFailed, check_rule
from orchestrator.core.templates import Template
from orchestrator.journeys.flow.compile import scope
from orchestrator.journeys.flow.placeholders import Param, placeholders_in
from orchestrator.journeys.flow.places import conditions, escape, parameters, rules_in, values
from orchestrator.journeys.flow.values import RESULT_PREFIX, ROOTS, RUN_FIELDS
from orchestrator.journeys.paths import leaves, overlaps

_CURES: Final[Mapping[str, str]] = {
    "not_deterministic": "use `now_ms` or `event.timestamp` instead of `now`",
    "unknown_operator": "use a JSONLogic operator; a literal object is written {literal: ...}",
    "too_large": "simplify the rule, or split it into several branches",
    "too_deep": "flatten the rule",
}
_EVENT_FIELDS: Final = ("type", "payload", "timestamp")
_NO_RUN_YET: Final = ("entry", "run")


def check_rules(document: Mapping[str, Any]) -> Iterator[Problem]:
    """Problems of conditions, values, parameters, the context and personal paths."""
    names = scope(document)
    context = document.get("context", {})
    for name in context:
        if name in ROOTS or name.startswith(RESULT_PREFIX):
            yield Problem(f"/context/{escape(name)}", f"{name} is kept by the flow", "choose another name")
    for n, path in enumerate(document.get("pii", ())):
        if path.split(".")[0] not in {*context, "event"}:
            message = f"{path} is neither a variable of the context nor part of an event"
            yield Problem(f"/pii/{n}", message, "declare it under `context`, or write event.payload.…")
    for type, sets in document.get("record", {}).items():
        for path in sets:
            if path.split(".")[0] not in context:
                pointer = f"/record/{escape(type)}/{escape(path)}"
                yield Problem(pointer, f"{path} is not declared", "add it with a first value to `context`")
    for pointer, rule in conditions(document):
        if not isinstance(rule, dict | bool) or rule == {}:
            yield Problem(pointer, f"{rule!r} is no condition", "write a JSONLogic rule, or remove it")
        else:
            yield from _rule(pointer, rule, names, context)
    for pointer, value in values(document):
        yield from _value(pointer, value, names, context, Template)
    for pointer, value in parameters(document):
        yield from _value(pointer, value, names, context, lambda source: Param(source, names))
        for place, path in placeholders_in(value, pointer):
            if path.split(".")[0] in names:
                yield from _path(place, path, names, context)


def _value(
    pointer: str,
    value: Any,
    names: frozenset[str],
    context: Mapping[str, Any],
    compiles: Callable[[Any], object],
) -> Iterator[Problem]:
    failed = False
    for at, rule in rules_in(pointer, value):
        for problem in _rule(at, rule, names, context):
            failed = failed or problem.severity == "error"
            yield problem
    if not failed:
        try:
            compiles(value)
        except RuleFailed as failure:
            yield Problem(pointer, str(failure), "shorten or flatten the value")


def _rule(pointer: str, source: Any, names: frozenset[str], context: Mapping[str, Any]) -> Iterator[Problem]:
    failures = check_rule(source)
    for failure in failures:
        cure = _CURES.get(failure.reason, "correct the rule")
        yield Problem(pointer + failure.pointer, f"{failure} ({failure.reason})", cure)
    if failures:
        return
    for read in Rule(source).reads:
        if read:
            yield from _path(pointer, ".".join(read), names, context)


def _path(pointer: str, path: str, names: frozenset[str], context: Mapping[str, Any]) -> Iterator[Problem]:
    first, *below = path.split(".")
    if first not in names:
        near = get_close_matches(first, sorted(names), n=1)
        cure = f"did you mean {near[0]}?" if near else "declare it under `context`"
        if first.startswith(RESULT_PREFIX):
            cure = "name an action node after action_result_"
        yield Problem(pointer, f"{path} reads {first}, which is no variable of this flow", cure)
        return
    if first in _NO_RUN_YET and pointer.startswith(("/entry/", "/reentry/")):
        yield Problem(pointer, f"{path} is read before there is a run", "read `event` instead")
    fields = {"run": RUN_FIELDS, "event": _EVENT_FIELDS, "entry": _EVENT_FIELDS}.get(first)
    if fields is not None and below and below[0] not in fields:
        yield Problem(pointer, f"{path} doesn't exist", f"{first} has: {', '.join(fields)}")
    elif first in context and below and not any(overlaps(path, one) for one in leaves(context)):
        message = f"{path} is not among the first values of the context: it may be null"
        yield Problem(pointer, message, "declare it under `context`", "warning")
