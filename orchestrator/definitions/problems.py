"""Schema violations in words: the place, what is wrong there, and what to do."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

import jsonschema_rs

from orchestrator.core.decider import Problem

_MESSAGE_CHARS_MAX = 300


def problems_of(error: jsonschema_rs.ValidationError, schema: Mapping[str, Any]) -> Iterator[Problem]:
    """The problems a schema violation stands for: one for each field that is too many, else one."""
    pointer = "".join(f"/{_escape(str(step))}" for step in error.instance_path)
    keyword, details = error.kind.name, error.kind.as_dict()
    around = _around(schema, list(error.schema_path))
    if keyword == "additionalProperties":
        for name in details["unexpected"]:
            yield _unexpected(f"{pointer}/{_escape(name)}", name, around)
    elif keyword == "propertyNames":
        yield Problem(
            pointer, f"the name {error.message}"[:_MESSAGE_CHARS_MAX], "rename it to fit the pattern"
        )
    else:
        message = error.message
        if len(message) > _MESSAGE_CHARS_MAX:
            message = message[:_MESSAGE_CHARS_MAX] + "…"
        yield Problem(pointer, message, _cure(keyword, details, around))


def _unexpected(pointer: str, name: str, around: Mapping[str, Any]) -> Problem:
    allowed = sorted(around.get("properties", {}))
    near = get_close_matches(name, allowed, n=1)
    cure = (
        f"did you mean `{near[0]}`?"
        if near
        else f"remove it; allowed here: {', '.join(allowed) or 'nothing'}"
    )
    return Problem(pointer, f"{name!r} is no field of this object", cure)


def _cure(keyword: str, details: Mapping[str, Any], around: Mapping[str, Any]) -> str:
    described = around.get("description")
    match keyword:
        case "required":
            return f"add `{details['property']}:`"
        case "type":
            return f"write a value of type {' or '.join(sorted(details['types']))}"
        case "enum":
            return f"write one of: {', '.join(map(str, details['options']))}"
        case "const":
            return f"write {details['expected_value']!r}"
        case "pattern" if described:
            return f"write {described}"
        case "pattern":
            return f"write a text that fits {details['pattern']}"
        case "uniqueItems":
            return "remove the item that is there twice"
        case "minimum" | "maximum":
            return f"write a number {'from' if keyword == 'minimum' else 'up to'} {details['limit']}"
        case "minItems" | "minProperties":
            return "add at least one"
        case "maxItems" | "maxProperties" | "maxLength":
            return f"keep it to {details.get('limit', 'fewer')}"
    return "correct the value"


def _around(schema: Mapping[str, Any], path: list[str | int]) -> Mapping[str, Any]:
    """The subschema that holds the violated keyword."""
    current: Any = schema
    for step in path[:-1]:
        inside: Any = range(len(current)) if isinstance(current, list) else current
        if not isinstance(current, dict | list) or step not in inside:
            return {}
        current = current[int(step)] if isinstance(current, list) else current[step]
    return current if isinstance(current, dict) else {}


def _escape(step: str) -> str:
    return step.replace("~", "~0").replace("/", "~1")
