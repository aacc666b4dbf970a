"""What a server knows of a journey, in the shape pages and servers exchange it: names in camelCase, times ISO or ms."""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from orchestrator.core.errors import Malformed
from orchestrator.distributions.reading import instant_ms
from orchestrator.journeys.experience.fields import only, text, whole
from orchestrator.journeys.experience.stages import REQUIREMENTS, WAITLIST

EXPERIENCES_MAX: Final = 100
_FIELDS = {"sequenceId", "waitlist", "participation", "admittance", "requirementsMet"}
_TYPES = frozenset({"queue", "draw", "auction", "timed_release", "appointment"})


class Known(Struct, frozen=True):
    """A journey as another system knows it. `type` is `waitlist` or the mechanism of the participation."""

    sequence: str = ""
    met: tuple[str, ...] = ()
    type: str = ""
    participation: str = ""
    waitlist: str = ""
    entered_ms: int = 0
    jti: str = ""
    expires_ms: int = 0


class Resume(Struct, frozen=True):
    """Rebuild the journey from what a trusted producer knows of it."""

    known: Known


class ResumeFromMe(Struct, frozen=True):
    """The same, picked by the experience's id from all that a trusted producer knows of the customer."""

    experiences: Mapping[str, Known]


def me_data(data: Mapping[str, Any]) -> ResumeFromMe:
    """The command `resume_from_me`. Raises Malformed."""
    listed = data.get("experiences", [])
    if not isinstance(listed, list) or len(listed) > EXPERIENCES_MAX:
        raise Malformed(f"resume_from_me: experiences must be a list of up to {EXPERIENCES_MAX} objects")
    found: dict[str, Known] = {}
    for one in listed:
        if not isinstance(one, dict):
            raise Malformed("resume_from_me: experiences must be a list of objects")
        id = text("resume_from_me", one, "experienceId", needed=True)
        found[id] = server_data("resume_from_me", {k: v for k, v in one.items() if k != "experienceId"})
    return ResumeFromMe(found)


def server_data(type: str, data: Mapping[str, Any]) -> Known:
    """One journey. Raises Malformed, naming the field."""
    only(type, data, _FIELDS)
    met = data.get("requirementsMet", [])
    if not isinstance(met, list) or not all(one in REQUIREMENTS for one in met):
        raise Malformed(f"{type}: requirementsMet must be a list of {', '.join(REQUIREMENTS)}")
    waitlist, held, admittance = (
        _part(type, data, part) for part in ("waitlist", "participation", "admittance")
    )
    only(type, waitlist, {"waitlistId", "enteredAt"})
    only(type, held, {"id", "type", "enteredAt"})
    only(type, admittance, {"jti", "expiresAt"})
    if waitlist and (held or admittance):
        raise Malformed(f"{type}: on the waitlist, or in the distribution: give one of the two")
    kind, participation, waitlist_id = "", "", ""
    if held:
        kind, participation = text(type, held, "type", needed=True), text(type, held, "id", needed=True)
        if kind not in _TYPES:
            raise Malformed(f"{type}: participation.type must be one of {', '.join(sorted(_TYPES))}")
    if waitlist:
        kind, waitlist_id = WAITLIST, text(type, waitlist, "waitlistId", needed=True)
        participation = waitlist_id
    return Known(
        sequence=text(type, data, "sequenceId"),
        met=tuple(met),
        type=kind,
        participation=participation,
        waitlist=waitlist_id,
        entered_ms=_time(type, waitlist or held, "enteredAt"),
        jti=text(type, admittance, "jti", needed=bool(admittance)),
        expires_ms=_time(type, admittance, "expiresAt"),
    )


def _part(type: str, data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = data.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Malformed(f"{type}: {name} must be an object")
    return value


def _time(type: str, data: Mapping[str, Any], name: str) -> int:
    value = data.get(name, 0)
    if isinstance(value, str):
        try:
            return max(instant_ms(value[:40]), 0)
        except ValueError as error:
            raise Malformed(f"{type}: {name}: {error}; milliseconds will do as well") from error
    return whole(type, data, name)
