"""Commands to a bulk operation, and how they are read from a message's type and data."""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct, ValidationError, convert

from orchestrator.core.errors import Malformed
from orchestrator.journeys.bulk.query import COMMANDS, STATES, Query

REASON_CHARS_MAX: Final = 200


class Begin(Struct, frozen=True, forbid_unknown_fields=True):
    """Send `command` to each run the query finds. `expected` is the count of a preview, shown beside the progress."""

    command: str
    query: Query
    reason: str = ""
    expected: int = 0


class Pause(Struct, frozen=True, forbid_unknown_fields=True):
    """Send nothing more until resumed."""

    reason: str = ""


class Resume(Struct, frozen=True, forbid_unknown_fields=True):
    """Go on where a pause or a failure left off."""


class Cancel(Struct, frozen=True, forbid_unknown_fields=True):
    """End the operation; what was sent stays sent."""

    reason: str = ""


_TYPES: Final[dict[str, type[Struct]]] = {"begin": Begin, "pause": Pause, "resume": Resume, "cancel": Cancel}


def parse(type: str, data: Mapping[str, Any]) -> Any:
    """The command of an addressed message. Raises Malformed, naming the field and what it should be."""
    wanted = _TYPES.get(type)
    if wanted is None:
        names = ", ".join(_TYPES)
        raise Malformed(
            f"{type[:100]!r} is no command of a bulk operation; these are: {names}", "unknown_type"
        )
    try:
        command = convert(data, wanted)
    except ValidationError as error:
        raise Malformed(f"{type}: {error}") from error
    if len(getattr(command, "reason", "")) > REASON_CHARS_MAX:
        raise Malformed(f"{type}: reason must be a text of up to {REASON_CHARS_MAX} characters")
    if isinstance(command, Begin):
        _check(command)
    return command


def parse_raw(type: str, data: Mapping[str, Any]) -> Any:  # noqa: ARG001 - the kind's signature
    """A bulk operation listens to no raw event. Raises Malformed."""
    raise Malformed(f"event {type[:100]!r}: a bulk operation listens to no events", "unknown_type")


def _check(command: Begin) -> None:
    if command.command not in COMMANDS:
        raise Malformed(f"begin: command must be one of {', '.join(COMMANDS)}")
    if not command.query.definition:
        raise Malformed("begin: query.definition must name a flow")
    if command.query.state and command.query.state not in STATES:
        raise Malformed(f"begin: query.state must be one of {', '.join(STATES)}")
    if command.query.run and not command.query.customer:
        raise Malformed("begin: query.run needs query.customer: run ids are a customer's own")
