"""Where a document of some schema has its problems."""

from collections.abc import Mapping
from typing import Any

import jsonschema_rs


def problems_of(schema: Mapping[str, Any], kind: Any, document: Mapping[str, Any]) -> list[str]:
    """JSON Pointers of all problems: the schema's, or else those that the kind's `check` finds, each with a cure."""
    found = [
        "".join(f"/{step}" for step in error.instance_path)
        for error in jsonschema_rs.Draft202012Validator(dict(schema)).iter_errors(dict(document))
    ]
    if found:
        return found
    problems = list(kind.check(document))
    assert all(problem.cure for problem in problems)
    return [problem.pointer for problem in problems]
