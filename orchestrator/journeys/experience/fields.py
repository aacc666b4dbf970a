"""Fields of a command's data. What is refused is named, never quoted: it may be a code or a token."""

from collections.abc import Mapping
from typing import Any, Final

from orchestrator.core.errors import Malformed

ID_CHARS_MAX: Final = 256
_TIME_MAX_MS: Final = 253_402_300_800_000  # the year 10000


def text(
    type: str, data: Mapping[str, Any], name: str, most: int = ID_CHARS_MAX, *, needed: bool = False
) -> str:
    """A text of the data; empty when it isn't there. Raises Malformed."""
    value = data.get(name, "")
    if not isinstance(value, str) or len(value) > most or (needed and not value):
        raise Malformed(f"{type}: {name} must be a text of {int(needed)} to {most} characters")
    return value


def whole(type: str, data: Mapping[str, Any], name: str, default: int = 0) -> int:
    """A whole number of the data, such as a time in ms since 1970. Raises Malformed."""
    value = data.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _TIME_MAX_MS:
        raise Malformed(f"{type}: {name} must be a whole number from 0, times in milliseconds since 1970")
    return value


def only(command: str, data: Mapping[str, Any], names: set[str]) -> None:
    """Refuses what nobody would read. Raises Malformed."""
    unknown = sorted(set(data) - names)
    if unknown:
        allowed = ", ".join(sorted(names)) or "no fields"
        raise Malformed(f"{command}: unknown field {unknown[0][:100]!r}; it takes {allowed}")
