"""Reading what documents and operators write: instants, spans and whole numbers, with errors that name the field."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from orchestrator.core.decider import Problem
from orchestrator.core.durations import PATTERN, duration_ms
from orchestrator.core.errors import Malformed

INSTANT: Final[Mapping[str, Any]] = {
    "type": "string",
    "maxLength": 40,
    "description": "an instant with its offset, such as 2027-03-01T10:00:00Z",
}
SPAN: Final[Mapping[str, Any]] = {
    "type": "string",
    "pattern": PATTERN,
    "description": "a span of time such as 90s, 10m or 2h",
}
PARTICIPANTS_MAX: Final = 1_000
WHOLE_MAX: Final = 2**53 - 1
_WORDS_MAX: Final = 128  # as much as a grant's events keep
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def count(minimum: int, maximum: int, description: str) -> dict[str, Any]:
    """The schema of a whole number."""
    return {"type": "integer", "minimum": minimum, "maximum": maximum, "description": description}


def instant_ms(text: str) -> int:
    """Ms since 1970 of an instant with an offset. Raises ValueError, saying how to write it."""
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        read = None
    if read is None or read.tzinfo is None:
        raise ValueError(f"{text!r} is no instant: write date, time and offset, such as 2027-03-01T10:00:00Z")
    past = read - _EPOCH
    return (past.days * 86_400 + past.seconds) * 1_000 + past.microseconds // 1_000


def instant_or_zero(document: Mapping[str, Any], name: str) -> int:
    """An instant of a checked document; 0 where there is none."""
    return instant_ms(document[name]) if document.get(name) else 0


def check_times(document: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong with `opens_at` and `closes_at`."""
    read: dict[str, int] = {}
    for name in ("opens_at", "closes_at"):
        if name in document:
            try:
                read[name] = instant_ms(document[name])
            except ValueError as error:
                yield Problem(f"/{name}", str(error), "write an instant with its offset")
    if len(read) == 2 and read["closes_at"] <= read["opens_at"]:
        yield Problem("/closes_at", "it closes before it opens", "write a later instant")


def check_span(document: Mapping[str, Any], *path: str) -> Iterator[Problem]:
    """What is wrong with a span somewhere in a document that fits its schema; nothing where it is missing."""
    value: Any = document
    for name in path:
        if name not in value:
            return
        value = value[name]
    try:
        duration_ms(value)
    except ValueError as error:
        yield Problem("/" + "/".join(path), str(error), "write a span of up to 3650d")


class Fields:
    """The data of a command from outside; what doesn't fit is Malformed, naming command, field and cure."""

    def __init__(self, command: str, data: Mapping[str, Any], names: Sequence[str]) -> None:
        self._command = command
        self._data = data
        unknown = sorted(set(data) - set(names))
        if unknown:
            allowed = ", ".join(sorted(names)) or "no fields"
            raise self.no(f"unknown field {unknown[0][:100]!r}; it takes {allowed}")

    def __contains__(self, name: str) -> bool:
        return name in self._data

    def whole(self, name: str, *, least: int, most: int = WHOLE_MAX, default: int | None = None) -> int:
        """A whole number from `least` to `most`; null and a missing field are the default, where there is one."""
        value = self._data.get(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self.no(f"{name} must be a whole number from {least} to {most}")
        return value

    def text(self, name: str, *, most: int, default: str | None = None) -> str:
        """A text of 1 to `most` characters."""
        value = self._data.get(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, str) or not 0 < len(value) <= most:
            raise self.no(f"{name} must be a text of 1 to {most} characters")
        return value

    def hex32(self, name: str) -> str:
        """32 bytes in hex; "" where the field is missing."""
        value = self.text(name, most=64, default="")
        if value and re.fullmatch("[0-9a-f]{64}", value) is None:
            raise self.no(f"{name} must be 32 bytes in hex, 64 small letters and digits")
        return value

    def span_ms(self, name: str) -> int:
        """A span of time, in ms."""
        try:
            return duration_ms(self.text(name, most=20))
        except ValueError as error:
            raise self.no(f"{name}: {error}") from error

    def instant_ms(self, name: str) -> int:
        """An instant in ms since 1970; 0 for null."""
        if self._data.get(name) is None:
            return 0
        try:
            return instant_ms(self.text(name, most=40))
        except ValueError as error:
            raise self.no(f"{name}: {error}") from error

    def parts(self, name: str, names: Sequence[str], *, most: int) -> list["Fields"]:
        """A list of 1 to `most` objects with fields of their own."""
        value = self._data.get(name)
        if not isinstance(value, list) or not 0 < len(value) <= most:
            raise self.no(f"{name} must be a list of 1 to {most} objects")
        if not all(isinstance(one, dict) for one in value):
            raise self.no(f"{name} must hold objects with {', '.join(names)}")
        return [Fields(f"{self._command}: {name}", one, names) for one in value]

    def participants(self, name: str) -> list[str]:
        """Up to PARTICIPANTS_MAX customer ids, each once."""
        value = self._data.get(name)
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise self.no(f"{name} must be a list of customer ids")
        if len(value) > PARTICIPANTS_MAX:
            raise self.no(f"{name} holds {len(value)} ids: send at most {PARTICIPANTS_MAX} a command")
        return list(dict.fromkeys(value))

    def no(self, message: str) -> Malformed:
        """An error of this command."""
        return Malformed(f"{self._command}: {message}")


def read_common(type: str, fields: Fields) -> dict[str, Any] | None:
    """The data of the commands that every distribution takes; None for any other."""
    match type:
        case "close":
            return {"reason": fields.text("reason", most=64, default="closed")}
        case "redeem":
            return {
                "jti": fields.text("jti", most=64),
                "reference": fields.text("reference", most=_WORDS_MAX, default=""),
            }
        case "revoke":
            return {
                "jti": fields.text("jti", most=64),
                "reason": fields.text("reason", most=_WORDS_MAX, default=""),
            }
    return None
