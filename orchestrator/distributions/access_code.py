"""Access codes with a limit over all customers: one resource an experience counts who used which.

It stands at `acme/r/shoes.codes/access_code:shoes` and is asked by journeys alone: `code.use {code}`, answered by
`code.used` or `code.refused`. Limits are those of the newest published version, so that publishing changes, ends
or revives a code at once; it is never pinned. A customer who asks again is told yes again and counted once.
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, ClassVar, Final

from msgspec import Struct

from orchestrator.core.addresses import Stream, resource
from orchestrator.core.decider import EffectResult, Facts, Problem, TimerFired
from orchestrator.core.errors import Malformed, Undecidable
from orchestrator.core.events import CommandIgnored, Event, Told
from orchestrator.core.resource import ResourceKind, Summary
from orchestrator.distributions.base import EXPERIENCE, Room, participant_of

ID_CHARS_MAX: Final = 64


class Use(Struct, frozen=True):
    """A journey's wish to use a code, by its id."""

    code: str


class CodeUsed(Event, frozen=True):
    """The code serves this participant; `again`: it did so before and isn't counted twice."""

    NAME: ClassVar[str] = "access_code.used.v1"
    TELLS: ClassVar[bool] = True
    room: Room
    participant: str
    code: str
    at_ms: int
    again: bool = False

    def tells(self) -> Sequence[Told]:
        return (Told(self.room.journey(self.participant), "code.used", {"code": self.code}),)


class CodeRefused(Event, frozen=True):
    """The code doesn't serve: exhausted, expired or unknown."""

    NAME: ClassVar[str] = "access_code.refused.v1"
    TELLS: ClassVar[bool] = True
    room: Room
    participant: str
    code: str
    reason: str
    at_ms: int

    def tells(self) -> Sequence[Told]:
        data = {"code": self.code, "reason": self.reason}
        return (Told(self.room.journey(self.participant), "code.refused", data),)


class Uses:
    """Who used which code, as 8-byte hashes. Mutable: `evolve` is the only one to change it."""

    __slots__ = ("refused", "users")

    def __init__(self) -> None:
        self.users: dict[str, set[int]] = {}
        self.refused = 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Uses) and (self.users, self.refused) == (other.users, other.refused)

    __hash__ = None  # type: ignore[assignment]


class AccessCodes(ResourceKind):
    """The counter of an experience's access codes."""

    name = "access_code"
    documents = EXPERIENCE
    reads_record = False
    events: tuple[type[Event], ...] = (CodeUsed, CodeRefused)
    fold_version = 1
    schema: Mapping[str, Any] = {}

    def check(self, document: Mapping[str, Any]) -> Sequence[Problem]:  # noqa: ARG002
        return ()

    def compile(self, document: Mapping[str, Any]) -> Any:
        """Nothing: the experience's document is compiled once, by its own kind."""
        raise NotImplementedError

    def listens(self, document: Mapping[str, Any]) -> frozenset[str]:  # noqa: ARG002
        return frozenset()

    def parse(self, type: str, data: Mapping[str, Any]) -> Use:
        if type != "code.use":
            raise Malformed(
                f"{type[:100]!r} is no command of access codes; this is: code.use", "unknown_type"
            )
        code = data.get("code")
        if set(data) != {"code"} or not isinstance(code, str) or not 0 < len(code) <= ID_CHARS_MAX:
            raise Malformed(
                f"code.use: code must be a text of 1 to {ID_CHARS_MAX} characters, and all there is"
            )
        return Use(code)

    def parse_raw(self, type: str, data: Mapping[str, Any]) -> Any:  # noqa: ARG002
        raise Malformed("access codes hear no raw events", "unknown_type")

    def decide(self, state: Uses | None, command: Any, facts: Facts) -> Sequence[Event]:
        """Count a use, or refuse it. Raises Rejected for whoever is no journey of the experience."""
        match command:
            case Use(code=code):
                return (_use(state, code, facts),)
            case TimerFired() | EffectResult():
                return (CommandIgnored(reason="nothing_awaited"),)
        raise TypeError(f"{type(command).__name__} is no command of access codes")

    def evolve(self, state: Uses | None, event: Event) -> Uses | None:
        """The counter after an event, changed in place."""
        match event:
            case CodeUsed():
                state = Uses() if state is None else state
                state.users.setdefault(event.code, set()).add(_mark(event.participant))
            case CodeRefused():
                state = Uses() if state is None else state
                state.refused += 1
        return state

    def deadline_ms(self, state: Uses | None, timer: str) -> int | None:  # noqa: ARG002 - it arms none
        return None

    def capture(self, state: Uses) -> Summary:
        uses = sum(map(len, state.users.values()))
        return Summary("counting", {"codes": len(state.users), "uses": uses, "refused": state.refused})

    def label(self, state: Any) -> str:
        if state is None:
            return ""
        return (state if isinstance(state, Summary) else self.capture(state)).label

    def view(self, state: Any) -> dict[str, Any]:
        return (state if isinstance(state, Summary) else self.capture(state)).view


def code_stream(organization: str, experience: str) -> Stream:
    """Where an experience's codes are counted."""
    return Stream(resource(organization, f"{experience}.codes"), AccessCodes.name, experience)


def _use(state: Uses | None, code: str, facts: Facts) -> Event:
    organization, experience = facts.stream.owner.organization, facts.stream.definition
    if facts.stream != code_stream(organization, experience):
        raise Undecidable(
            "misplaced_access_codes",
            "the subject of access codes reads organization/r/experience.codes/access_code:experience",
        )
    participant = participant_of(facts)
    room = Room(organization, experience, "codes", AccessCodes.name)
    users = set() if state is None else state.users.get(code, set())
    known = facts.definition.compiled.codes.by_id.get(code)
    refused = ""
    if known is None:
        refused = "unknown"
    elif _mark(participant) in users:
        return CodeUsed(room, participant, code, facts.now_ms, again=True)
    elif known.expires_ms is not None and known.expires_ms <= facts.now_ms:
        refused = "expired"
    elif known.uses is not None and len(users) >= known.uses:
        refused = "exhausted"
    if refused:
        return CodeRefused(room, participant, code, refused, facts.now_ms)
    return CodeUsed(room, participant, code, facts.now_ms)


def _mark(participant: str) -> int:
    return int.from_bytes(blake2b(participant.encode(), digest_size=8).digest(), "big")


ACCESS_CODES: Final = AccessCodes()
"""The counter as the engine sees it."""
