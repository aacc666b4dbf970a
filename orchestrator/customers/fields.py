"""Reading the fields of a command's data; what doesn't fit is Malformed, naming the field."""

from collections.abc import Mapping
from typing import Any, Final

from orchestrator.core.errors import Malformed

_TIME_MAX_MS: Final = 253_402_300_800_000  # the year 10000


def only(command: str, data: Mapping[str, Any], names: set[str]) -> None:
    """Refuse fields that the command doesn't have."""
    unknown = sorted(set(data) - names)
    if unknown:
        allowed = ", ".join(sorted(names)) or "no fields"
        raise Malformed(f"{command}: unknown field {unknown[0][:100]!r}; it takes {allowed}")


def text(
    command: str, data: Mapping[str, Any], name: str, *, max_chars: int, default: str | None = None
) -> str:
    """A text of 1 to `max_chars` characters; without a default the field is required."""
    value = data.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or not 0 < len(value) <= max_chars:
        raise Malformed(f"{command}: {name} must be a text of 1 to {max_chars} characters")
    return value


def one_of(command: str, data: Mapping[str, Any], name: str, words: tuple[str, ...]) -> str:
    """One of some words."""
    value = data.get(name)
    if not isinstance(value, str) or value not in words:
        raise Malformed(f"{command}: {name} must be one of: {', '.join(words)}")
    return value


def flag(command: str, data: Mapping[str, Any], name: str, *, default: bool | None = None) -> bool:
    """True or false; without a default the field is required."""
    value = data.get(name, default)
    if not isinstance(value, bool):
        raise Malformed(f"{command}: {name} must be true or false")
    return value


def whole(command: str, data: Mapping[str, Any], name: str) -> int:
    """A whole number of 64 bits."""
    value = data.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not -(2**63) <= value < 2**63:
        raise Malformed(f"{command}: {name} must be a whole number of at most 64 bits")
    return value


def moment_ms(command: str, data: Mapping[str, Any], name: str) -> int | None:
    """Milliseconds since 1970, or None where the field is missing."""
    if data.get(name) is None:
        return None
    value = whole(command, data, name)
    if not 0 <= value < _TIME_MAX_MS:
        raise Malformed(f"{command}: {name} must be milliseconds since 1970")
    return value
