"""One customer in one experience under a virtual clock; every step checks what must hold after any decision."""

import json
from collections.abc import Mapping
from typing import Any

import jsonschema_rs
import msgspec

from orchestrator.core.addresses import parse_stream
from orchestrator.core.decider import Definition, EffectResult, Facts, Problem, TimerFired
from orchestrator.core.errors import Rejected
from orchestrator.core.events import CommandRejected, Event, Told
from orchestrator.core.messages import TELLING_SOURCE
from orchestrator.definitions.documents import read
from orchestrator.definitions.problems import problems_of
from orchestrator.distributions.base import Distribution, distribution_stream
from orchestrator.journeys.experience.codes import prepare
from orchestrator.journeys.experience.kind import Experience
from orchestrator.journeys.experience.public import public_view
from orchestrator.journeys.experience.snapshot import snapshot
from orchestrator.journeys.experience.stages import WAITLIST
from orchestrator.journeys.experience.state import ExperienceState
from tests.support.timers import move_timers

NOW_MS = 1_767_607_200_000  # 5 January 2026, 10:00 UTC
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
SALT = "00112233445566778899aabbccddeeff"
TRUSTED = "shop/checkout"


def _stub(mechanism: str) -> Distribution:
    """A mechanism that takes any config: the journey knows a distribution by its answers alone."""

    class Stub(Distribution):
        name = mechanism
        schema: Mapping[str, Any] = {
            "type": "object",
            "properties": {"opens_at": {}, "closes_at": {}, "size": {"type": "integer"}},
            "additionalProperties": False,
        }

        def check(self, document: Mapping[str, Any]) -> list[Problem]:
            few = document.get("size", 1) < 1
            return [Problem("/size", "it holds nobody", "write 1 or more")] if few else []

        def compile_config(self, document: Mapping[str, Any]) -> Any:
            return dict(document)

    return Stub()


STUBS = tuple(map(_stub, ("queue", "draw", "auction", "timed_release", "appointment", "waitlist")))
KIND = Experience(STUBS)


def parsed(document: str | bytes | Mapping[str, Any]) -> dict[str, Any]:
    """A document (YAML text or parsed) as publishing prepares it."""
    if isinstance(document, str | bytes):
        document = read(document.encode() if isinstance(document, str) else document).value
    return prepare(document, SALT)


def problems(document: str | bytes | Mapping[str, Any], kind: Experience = KIND) -> list[Problem]:
    """Every problem of a document: of its shape, else of its meaning."""
    value = parsed(document)
    validator = jsonschema_rs.Draft202012Validator(dict(kind.schema), offline=True)
    shape = [p for error in validator.iter_errors(value) for p in problems_of(error, kind.schema)]
    return shape or list(kind.check(value))


def definition(document: Any, version: int = 1, kind: Experience = KIND) -> Definition:
    """A document without errors, as published."""
    value = parsed(document)
    assert [problem for problem in problems(value, kind) if problem.severity == "error"] == []
    return Definition("experience", value["id"], version, value, kind.compile(value), frozenset())


class World:
    """A stream as the engine keeps it: events, state, armed timers, the pinned version, a clock."""

    def __init__(
        self,
        *documents: Any,
        record: Mapping[str, Any] | None = None,
        customer: str = "anna",
        secrets: tuple[str, ...] = (),
        kind: Experience = KIND,
    ) -> None:
        self.kind = kind
        definitions = [definition(one, n + 1, kind) for n, one in enumerate(documents)]
        self.definitions = {one.version: one for one in definitions}
        self.newest = definitions[-1]
        self.record = record or {}
        self.stream = parse_stream(f"acme/c/{customer}/experience:{self.newest.id}")
        self.secrets = secrets
        self.now_ms = NOW_MS
        self.state: ExperienceState | None = None
        self.events: list[Event] = []
        self.new: list[Event] = []
        self.rejected: Rejected | None = None
        self.timers: dict[str, int] = {}
        self.pinned = 0
        self.commands = 0

    # Commands.

    def do(self, type: str, source: str = "web", **data: Any) -> "World":
        """A command comes in from outside."""
        return self.decide(self.kind.parse(type, data), source)

    def trusted(self, type: str, **data: Any) -> "World":
        """A command of a trusted producer."""
        return self.do(type, TRUSTED, **data)

    def told(self, word: str, distribution: str, **data: Any) -> "World":
        """A distribution tells the journey something."""
        mechanism = self.newest.document["distributions"][distribution]["mechanism"]
        teller = distribution_stream("acme", self.newest.id, distribution, mechanism).text
        common = {"distribution": distribution, "mechanism": mechanism, "at_ms": self.now_ms}
        return self.told_by(teller, f"distribution.{word}", **common, **data)

    def told_by(self, teller: str, type: str, **data: Any) -> "World":
        """A stream tells the journey something."""
        self.commands += 1
        return self.decide(self.kind.parse(type, data), TELLING_SOURCE, f"{teller}/{self.commands}/0")

    def answer(self, need: str, status: str = "succeeded", **more: Any) -> "World":
        """The provider answers the unanswered effect about a requirement."""
        assert self.state is not None
        (effect,) = (one for one in self.state.pending.values() if one.action == need)
        return self.decide(EffectResult(effect.effect, effect.attempt, status, **more), "engine/effects")

    def wait(self, ms: int) -> "World":
        """Time passes; timers fire when they are due."""
        until_ms = self.now_ms + ms
        fired: list[Event] = []
        for _ in range(1_000):
            due = [(due_ms, timer) for timer, due_ms in self.timers.items() if due_ms <= until_ms]
            if not due:
                break
            due_ms, timer = min(due)
            self.now_ms = max(self.now_ms, due_ms)
            self.decide(TimerFired(timer, due_ms), "engine/timers")
            fired += self.new
        self.now_ms = until_ms
        self.new = fired
        return self

    def decide(self, command: Any, source: str = "web", command_id: str = "", **more: Any) -> "World":
        """Decide a command now; its events become the log, also when it is rejected."""
        self.commands += 1
        facts = Facts(
            now_ms=self.now_ms,
            occurred_ms=self.now_ms,
            stream=self.stream,
            definition=self.definitions.get(self.pinned, self.newest),
            version=len(self.events),
            record=self.record,
            source=source,
            command_id=command_id or f"c{self.commands}",
            **more,
        )
        before = None if self.state is None else json.dumps(self.kind.dump(self.state))
        self.rejected = None
        try:
            self.new = list(self.kind.decide(self.state, command, facts))
        except Rejected as rejected:
            self.rejected = rejected
            self.new = [CommandRejected(rejected.rule, rejected.inputs)]
        assert before is None or before == json.dumps(self.kind.dump(self.state)), "the old state was changed"
        assert self.new, "a decision leaves at least one event"
        if isinstance(command, TimerFired):
            self.timers.pop(command.timer, None)
        for event in self.new:
            self._keep(event)
        self._check()
        return self

    # What can be seen.

    def of(self, kind: type[Event]) -> list[Any]:
        """The events of one type among the last ones."""
        return [event for event in self.new if isinstance(event, kind)]

    def all(self, kind: type[Event]) -> list[Any]:
        """The events of one type so far."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def asks(self) -> list[Told]:
        """What the last events tell other streams."""
        return [told for event in self.new if event.TELLS for told in event.tells()]

    @property
    def asked(self) -> list[tuple[str, str]]:
        """The last asks as (distribution or resource, action)."""
        return [(told.stream.split("/")[2].partition(".")[2], told.type) for told in self.asks]

    @property
    def rule(self) -> str:
        """Why the last command was rejected; empty when it was applied."""
        first = self.new[0]
        return first.rule if isinstance(first, CommandRejected) else ""

    @property
    def label(self) -> str:
        return self.kind.label(self.state)

    @property
    def shot(self) -> dict[str, Any]:
        return snapshot(self.state, experience=self.newest.id, now_ms=self.now_ms)

    @property
    def view(self) -> dict[str, Any]:
        return public_view(self.state, now_ms=self.now_ms)

    @property
    def actions(self) -> dict[str, list[str]]:
        return dict(self.shot["availableActions"])

    # What must hold.

    def _keep(self, event: Event) -> None:
        kept = msgspec.json.decode(msgspec.json.encode(event), type=type(event))
        assert kept == event, "the log would hold another event"
        shown = json.dumps({name: v for name, v in msgspec.to_builtins(event).items() if name != "private"})
        for secret in self.secrets:
            assert secret not in shown, f"{event.NAME} shows a secret"
        self.events.append(event)
        self.state = self.kind.evolve(self.state, event)
        move_timers(self.timers, event)
        if event.NAME == "journey.started.v1":
            self.pinned = event.definition_version  # type: ignore[attr-defined]
        elif event.unpins:
            self.pinned = 0

    def _check(self) -> None:
        state = None
        for event in self.events:
            state = self.kind.evolve(state, event)
        assert state == self.state, "replay leads elsewhere"
        armed = {timer: self.kind.deadline_ms(state, timer) for timer in self.timers}
        assert armed == self.timers, "timers are not those of the state"
        if state is None:
            return
        assert state.revision == len(self.events), "the revision is not the stream's version"
        dumped = json.loads(json.dumps(self.kind.dump(state)))
        assert self.kind.load(dumped) == state, "a snapshot loses something"
        dumped.pop("private", None)
        shown = [
            json.dumps(dumped),
            json.dumps(self.shot),
            json.dumps(self.view),
            json.dumps(self.kind.view(state)),
        ]
        for secret in self.secrets:
            assert not any(secret in one for one in shown), "a snapshot or view shows a secret"


def waitlists(document: Mapping[str, Any]) -> set[str]:
    """The ids of a document's waitlists."""
    return {id for id, part in document["distributions"].items() if part["mechanism"] == WAITLIST}
