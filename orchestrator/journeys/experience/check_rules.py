"""Rules of an experience that can be used, reading what is there."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final

from orchestrator.core.decider import Problem
from orchestrator.core.rules import Rule, RuleFailed, check_rule
from orchestrator.core.templates import Template
from orchestrator.journeys.experience.routing import ROOTS

_CURES: Final[Mapping[str, str]] = {
    "not_deterministic": "use `now_ms` instead of `now`",
    "unknown_operator": "use a JSONLogic operator",
    "too_large": "simplify the rule",
    "too_deep": "flatten the rule",
}


def check_routing(pointer: str, sequence: Mapping[str, Any]) -> Iterator[Problem]:
    """Problems of a sequence's `when`."""
    if "when" not in sequence:
        return
    rule = sequence["when"]
    if not isinstance(rule, dict | bool) or rule == {}:
        yield Problem(pointer, f"{str(rule)[:60]!r} is no condition", "write a JSONLogic rule, or remove it")
        return
    failures = check_rule(rule)
    for failure in failures:
        cure = _CURES.get(failure.reason, "correct the rule")
        yield Problem(pointer + failure.pointer, f"{failure} ({failure.reason})", cure)
    if not failures:
        yield from _reads(pointer, Rule(rule).reads)


def check_attributes(pointer: str, sequence: Mapping[str, Any]) -> Iterator[Problem]:
    """Problems of what a sequence tells its distribution."""
    if "attributes" not in sequence:
        return
    try:
        template = Template(sequence["attributes"])
    except RuleFailed as failure:
        cure = _CURES.get(failure.reason, "correct the rule")
        yield Problem(pointer + failure.pointer, f"{failure} ({failure.reason})", cure)
    else:
        yield from _reads(pointer, template.reads)


def _reads(pointer: str, paths: Any) -> Iterator[Problem]:
    for path in paths:
        if path and path[0] not in ROOTS:
            near = get_close_matches(path[0], ROOTS, n=1)
            cure = f"did you mean {near[0]}?" if near else f"rules read: {', '.join(ROOTS)}"
            yield Problem(
                pointer, f"{'.'.join(path)} reads {path[0]}, which is no variable of an experience", cure
            )
