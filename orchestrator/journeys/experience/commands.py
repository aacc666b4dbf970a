"""Commands of experience journeys, and how they are read from a message's type and data.

No message of a refusal quotes a value: some of them are access codes and tokens.
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from orchestrator.core.errors import Malformed
from orchestrator.journeys.experience.codes import CODE_CHARS_MAX
from orchestrator.journeys.experience.fields import ID_CHARS_MAX, only, text, whole
from orchestrator.journeys.experience.server_data import Resume, me_data, server_data
from orchestrator.journeys.experience.stages import JOURNEY_ACTIONS, SEQUENCE_ACTIONS

TOKEN_CHARS_MAX: Final = 16_384
FIELDS_MAX: Final = 64
SEGMENTS_MAX: Final = 256
ANSWERS: Final = frozenset(
    {
        "entered", "left", "admitted", "settling", "not_selected", "expired", "redeemed", "completed", "offered",
        "ended", "refused", "updated",
    }
)  # fmt: skip


class Act(Struct, frozen=True):
    """One of the actions, `start` excepted. `secret`: an access code or a proof; `data`: what else comes with it."""

    action: str
    data: Mapping[str, Any] = {}
    secret: str = ""


class Start(Struct, frozen=True):
    """Begin, or begin again with `reset`. Attributes and segments are believed from trusted producers alone."""

    access_code: str = ""
    reset: bool = False
    attributes: Mapping[str, Any] | None = None
    segments: tuple[str, ...] | None = None


class SetAttributes(Struct, frozen=True):
    """What a trusted producer knows of the customer."""

    attributes: Mapping[str, Any] | None = None
    segments: tuple[str, ...] | None = None


class MarkAdmitted(Struct, frozen=True):
    """A trusted producer admits the customer itself."""

    jti: str
    expires_ms: int = 0
    quantity: int = 1


class Acknowledge(Struct, frozen=True):
    """The customer has seen a journey event, or all of them."""

    id: str = ""


class Destroy(Struct, frozen=True):
    """Forget the journey."""


class Answer(Struct, frozen=True):
    """What a distribution told: `word` is the type without `distribution.`."""

    word: str
    distribution: str
    data: Mapping[str, Any]


class CodeAnswer(Struct, frozen=True):
    """Whether a use of an access code was counted."""

    code: str
    accepted: bool
    reason: str = ""


def parse(type: str, data: Mapping[str, Any]) -> Any:
    """The command of an addressed message. Raises Malformed, naming the field and what it should be."""
    match type:
        case "start":
            only(type, data, {"access_code", "reset", "attributes", "segments"})
            reset = data.get("reset", False)
            if not isinstance(reset, bool):
                raise Malformed("start: reset must be true or false")
            code = text(type, data, "access_code", CODE_CHARS_MAX)
            return Start(code, reset, _attributes(type, data), _segments(type, data))
        case "set_attributes":
            only(type, data, {"attributes", "segments"})
            if not data:
                raise Malformed("set_attributes: give attributes, segments or both")
            return SetAttributes(_attributes(type, data), _segments(type, data))
        case "mark_admitted":
            if "token" in data:
                raise Malformed("mark_admitted: a token is never stored; send its jti and expires_ms")
            only(type, data, {"jti", "expires_ms", "quantity"})
            quantity = whole(type, data, "quantity", 1)
            return MarkAdmitted(
                text(type, data, "jti", needed=True), whole(type, data, "expires_ms"), max(quantity, 1)
            )
        case "resume_from_server":
            return Resume(server_data(type, data))
        case "resume_from_me":
            return me_data(data)
        case "ack_event":
            only(type, data, {"id"})
            return Acknowledge(text(type, data, "id", needed=True))
        case "ack_all_events" | "destroy":
            only(type, data, set())
            return Acknowledge() if type == "ack_all_events" else Destroy()
        case "code.used" | "code.refused":
            code = text(type, data, "code", needed=True)
            return CodeAnswer(code, type == "code.used", text(type, data, "reason"))
    word = type.removeprefix("distribution.")
    if word != type and word in ANSWERS:
        return Answer(word, text(type, data, "distribution", needed=True), data)
    if type in JOURNEY_ACTIONS or type in SEQUENCE_ACTIONS:
        return _act(type, data)
    known = ", ".join((*JOURNEY_ACTIONS, *SEQUENCE_ACTIONS))
    raise Malformed(
        f"{type[:100]!r} is no command of an experience; these are: {known}, mark_admitted, set_attributes, "
        "resume_from_me, resume_from_server, ack_event, ack_all_events, destroy",
        "unknown_type",
    )


def _act(type: str, data: Mapping[str, Any]) -> Act:
    match type:
        case "provide_access_code":
            only(type, data, {"access_code"})
            return Act(type, secret=text(type, data, "access_code", CODE_CHARS_MAX, needed=True))
        case "authenticate":
            only(type, data, {"id_token"})
            return Act(type, secret=text(type, data, "id_token", TOKEN_CHARS_MAX))
        case "complete_bot_check":
            only(type, data, {"token"})
            return Act(type, secret=text(type, data, "token", TOKEN_CHARS_MAX))
    if type in JOURNEY_ACTIONS:
        only(type, data, set())
        return Act(type)
    if "attributes" in data:
        raise Malformed(f"{type}: attributes are not the customer's to say; a trusted producer sets them")
    if len(data) > FIELDS_MAX or not all(_plain(value) for value in data.values()):
        raise Malformed(f"{type}: data holds up to {FIELDS_MAX} texts, numbers and booleans, nothing nested")
    return Act(type, dict(data))


def _attributes(type: str, data: Mapping[str, Any]) -> Mapping[str, Any] | None:
    value = data.get("attributes")
    if value is None:
        return None
    if not isinstance(value, dict) or len(value) > FIELDS_MAX:
        raise Malformed(f"{type}: attributes must be an object of up to {FIELDS_MAX} fields")
    return value


def _segments(type: str, data: Mapping[str, Any]) -> tuple[str, ...] | None:
    value = data.get("segments")
    if value is None:
        return None
    fits = isinstance(value, list) and len(value) <= SEGMENTS_MAX
    if not fits or not all(isinstance(one, str) and 0 < len(one) <= ID_CHARS_MAX for one in value):
        raise Malformed(f"{type}: segments must be a list of up to {SEGMENTS_MAX} texts")
    return tuple(value)


def _plain(value: Any) -> bool:
    return isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) <= ID_CHARS_MAX)
