"""Values of the context that services set: only what the definition declares, within bounds."""

from collections.abc import Mapping
from typing import Any, Final

from orchestrator.core.errors import Rejected
from orchestrator.journeys.lifecycle.model import Compiled
from orchestrator.journeys.paths import leaves, overlaps

VALUE_CHARS_MAX: Final = 16_384
NESTING_MAX: Final = 16


def changes(compiled: Compiled, context: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values by path, those anyone may see apart from the personal ones.

    Keys are paths, or objects down to values. Raises Rejected for what the definition doesn't declare.
    """
    public: dict[str, Any] = {}
    private: dict[str, Any] = {}
    if _too_large(context):
        raise Rejected("lifecycle.context_too_large", characters_max=VALUE_CHARS_MAX, nesting_max=NESTING_MAX)
    for path, value in leaves(context).items():
        if path.split(".")[0] not in compiled.declared:
            raise Rejected("lifecycle.unknown_variable", path=path[:200], variables=sorted(compiled.declared))
        personal = any(overlaps(path, own) for own in compiled.personal)
        (private if personal else public)[path] = value
    return public, private


def _too_large(context: Mapping[str, Any]) -> bool:
    chars = 0
    todo: list[tuple[Any, int]] = [(context, 0)]
    while todo:
        value, depth = todo.pop()
        if isinstance(value, dict):
            chars += sum(map(len, value))
            todo.extend((child, depth + 1) for child in value.values())
        elif isinstance(value, list):
            todo.extend((child, depth + 1) for child in value)
        else:
            chars += len(value) if isinstance(value, str) else 8
        if chars > VALUE_CHARS_MAX or depth > NESTING_MAX:
            return True
    return False
