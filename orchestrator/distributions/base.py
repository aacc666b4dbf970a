"""What every distribution shares: where it stands, who asks, how the asker is answered.

A distribution is a resource of its own (`acme/r/shoes.vip/queue:shoes:vip`). Journeys of its experience ask it for
something in the name of their customer; each ask is answered by exactly one told command. Operators and servers
send commands of their own, which are answered by outcomes, as everywhere.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, Final

from msgspec import Struct

from orchestrator.core.addresses import CUSTOMER, Stream, parse_stream, resource, stream_text
from orchestrator.core.decider import EffectResult, Facts, Problem, TimerFired
from orchestrator.core.errors import Malformed, Rejected, Undecidable
from orchestrator.core.events import CommandIgnored, Event, JourneyStarted, Told
from orchestrator.core.resource import ResourceKind, Summary

EXPERIENCE: Final = "experience"
ASKS: Final = frozenset({"enter", "leave", "complete", "bid", "book", "cancel", "claim", "refresh"})


class Room(Struct, frozen=True):
    """Which distribution an event is of: enough to address its participants' journeys from the event alone."""

    organization: str
    experience: str
    distribution: str
    mechanism: str

    def journey(self, participant: str) -> str:
        """The text of a participant's journey."""
        return stream_text(self.organization, CUSTOMER, participant, EXPERIENCE, self.experience)

    def told(self, participant: str, word: str, at_ms: int, **data: Any) -> Told:
        """The command `distribution.<word>` to a participant's journey."""
        common = {"distribution": self.distribution, "mechanism": self.mechanism, "at_ms": at_ms}
        return Told(self.journey(participant), f"distribution.{word}", common | data)


class AskRefused(Event, frozen=True):
    """A participant's ask that a rule refuses; `inputs` may be shown to the participant."""

    NAME: ClassVar[str] = "distribution.ask_refused.v1"
    TELLS: ClassVar[bool] = True
    room: Room
    participant: str
    action: str
    reason: str
    at_ms: int
    inputs: dict[str, Any] = {}

    def tells(self) -> Sequence[Told]:
        told = {"action": self.action, "reason": self.reason, "inputs": self.inputs}
        return (self.room.told(self.participant, "refused", self.at_ms, **told),)


class Ask(Struct, frozen=True):
    """What a journey wants: an action of ASKS with its data."""

    action: str
    data: Mapping[str, Any]


class Operate(Struct, frozen=True):
    """A command from outside: an operator's, or a server's with a grant."""

    type: str
    data: Mapping[str, Any]


class Distribution(ResourceKind):
    """Base of the mechanisms. They say what is `mechanism_events` and implement the methods that raise here."""

    documents = EXPERIENCE
    name: str = ""
    reads_record = False
    fold_version = 1
    mechanism_events: tuple[type[Event], ...] = ()
    schema: Mapping[str, Any] = {}  # JSON Schema (2020-12) of its part of an experience's document
    operations: frozenset[str] = frozenset()  # the commands from outside that it takes

    @property
    def events(self) -> tuple[type[Event], ...]:
        return (*self.mechanism_events, AskRefused)

    # What a mechanism implements.

    def check(self, document: Mapping[str, Any]) -> Sequence[Problem]:  # noqa: ARG002
        """Every semantic problem of its part of a document that fits `schema`; pointers begin at the part."""
        return ()

    def compile_config(self, document: Mapping[str, Any]) -> Any:
        """The struct its events keep, from its part of a document."""
        raise NotImplementedError

    def read(self, type: str, data: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ARG002
        """The checked data of a command from outside. Raises Malformed."""
        return data

    def prepare(self, room: Room, config: Any, facts: Facts) -> Sequence[Event]:
        """The events of the first contact, after JourneyStarted: one holds the whole config."""
        raise NotImplementedError

    def ask(self, state: Any, participant: str, ask: Ask, facts: Facts) -> Sequence[Event]:
        """The events of an ask, one of them an answer to it; raises Rejected to refuse."""
        raise NotImplementedError

    def operate(self, state: Any, command: Operate, facts: Facts) -> Sequence[Event]:
        """The events of a command from outside; raises Rejected."""
        raise NotImplementedError

    def fire(self, state: Any, timer: str, facts: Facts) -> Sequence[Event]:
        """The events of a due timer."""
        raise NotImplementedError

    def evolve(self, state: Any, event: Event) -> Any:
        """The state after an event, changed in place."""
        raise NotImplementedError

    def capture(self, state: Any) -> Summary:
        raise NotImplementedError

    # What they share.

    def compile(self, document: Mapping[str, Any]) -> Any:
        """Nothing: the experience's document is compiled once, by its own kind."""
        raise NotImplementedError

    def listens(self, document: Mapping[str, Any]) -> frozenset[str]:  # noqa: ARG002
        return frozenset()

    def parse(self, type: str, data: Mapping[str, Any]) -> Ask | Operate:
        if type in ASKS:
            return Ask(type, data)
        if type in self.operations:
            return Operate(type, self.read(type, data))
        known = ", ".join(sorted(self.operations))
        raise Malformed(f"{type[:100]!r} is no command of a {self.name}; these are: {known}", "unknown_type")

    def parse_raw(self, type: str, data: Mapping[str, Any]) -> Any:  # noqa: ARG002
        raise Malformed(f"a {self.name} hears no raw events", "unknown_type")

    def deadline_ms(self, state: Any, timer: str) -> int | None:
        """Every mechanism's state knows the timers that stand in the table, as `armed`."""
        return None if state is None else state.armed.get(timer)

    def label(self, state: Any) -> str:
        if state is None:
            return ""
        summary = state if isinstance(state, Summary) else self.capture(state)
        return summary.label

    def view(self, state: Any) -> dict[str, Any]:
        summary = state if isinstance(state, Summary) else self.capture(state)
        return summary.view

    def decide(self, state: Any, command: Any, facts: Facts) -> Sequence[Event]:
        """Prepare at the first contact, then answer."""
        begun: Sequence[Event] = ()
        room = room_of(facts)
        if state is None:
            begun = self._begin(room, facts)
            for event in begun:
                state = self.evolve(state, event)
        return (*begun, *self._answer(state, room, command, facts))

    def _begin(self, room: Room, facts: Facts) -> Sequence[Event]:
        config = getattr(facts.definition.compiled, "distributions", {}).get(room.distribution)
        if config is None or config.mechanism != self.name:
            raise Undecidable(
                "unknown_distribution",
                f"experience {room.experience!r} has no {self.name} {room.distribution!r}: publish a version that has it",
            )
        started = JourneyStarted(definition_version=facts.definition.version, at_ms=facts.now_ms)
        return (started, *self.prepare(room, config.config, facts))

    def _answer(self, state: Any, room: Room, command: Any, facts: Facts) -> Sequence[Event]:
        match command:
            case Ask(action=action):
                participant = participant_of(facts)
                try:
                    return self.ask(state, participant, command, facts)
                except Rejected as no:
                    return (AskRefused(room, participant, action, no.rule, facts.now_ms, no.inputs),)
            case Operate():
                return self.operate(state, command, facts)
            case TimerFired(timer=timer):
                return self.fire(state, timer, facts) or (CommandIgnored("timer_without_work"),)
            case EffectResult():
                return (CommandIgnored("no_effect"),)
        raise TypeError(f"{type(command).__name__} is no command of a {self.name}")


@lru_cache(maxsize=4_096)
def distribution_stream(organization: str, experience: str, distribution: str, mechanism: str) -> Stream:
    """Where a distribution stands. Raises Malformed for ids that are too long together."""
    owner = resource(organization, f"{experience}.{distribution}")
    return Stream(owner, mechanism, experience, distribution)


def room_of(facts: Facts) -> Room:
    """The room of the stream that decides. Raises Undecidable where it stands at another address than its own."""
    return _room(facts.stream)


@lru_cache(maxsize=4_096)
def _room(stream: Stream) -> Room:
    room = Room(stream.owner.organization, stream.definition, stream.run, stream.kind)
    if stream != distribution_stream(room.organization, room.experience, room.distribution, room.mechanism):
        raise Undecidable(
            "misplaced_distribution",
            "a distribution's subject reads organization/r/experience.distribution/mechanism:experience:distribution",
        )
    return room


def participant_of(facts: Facts) -> str:
    """The customer in whose name a journey of this experience asks. Raises Rejected for anybody else."""
    refused = Rejected("distribution.not_a_participant", needs="an ask told by a journey of this experience")
    if not facts.teller:
        raise refused
    try:
        teller = parse_stream(facts.teller)
    except Malformed:
        raise refused from None
    same = (teller.owner.organization, teller.owner.scope, teller.kind, teller.definition, teller.run)
    if same != (facts.stream.owner.organization, CUSTOMER, EXPERIENCE, facts.stream.definition, ""):
        raise refused
    return teller.owner.id
