"""One customer in one flow under a virtual clock; every step checks what must hold after any decision."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec

from orchestrator.core.addresses import parse_stream
from orchestrator.core.decider import Definition, EffectResult, Facts, Problem, TimerFired
from orchestrator.core.errors import Rejected
from orchestrator.core.events import Event, Told
from orchestrator.core.messages import TELLING_SOURCE
from orchestrator.definitions.documents import read
from orchestrator.definitions.problems import problems_of
from orchestrator.journeys.flow import FLOW
from orchestrator.journeys.flow.commands import HandleEvent
from orchestrator.journeys.flow.state import FlowState
from tests.support.timers import move_timers

EXAMPLES = Path(__file__).parents[2] / "examples" / "flow"
NOW_MS = 1_767_607_200_000  # Monday, 5 January 2026, 10:00 UTC, 11:00 in Berlin
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
_VALIDATOR = jsonschema_rs.Draft202012Validator(dict(FLOW.schema), offline=True)


def problems(document: str | bytes | Mapping[str, Any]) -> list[Problem]:
    """Every problem of a document: of its shape, else of its meaning."""
    if isinstance(document, str | bytes):
        document = read(document.encode() if isinstance(document, str) else document).value
    shape = [p for error in _VALIDATOR.iter_errors(dict(document)) for p in problems_of(error, FLOW.schema)]
    return shape or list(FLOW.check(document))


def definition(document: str | bytes | Mapping[str, Any], version: int = 1) -> Definition:
    """A document without errors, as published."""
    if isinstance(document, str | bytes):
        document = read(document.encode() if isinstance(document, str) else document).value
    errors = [problem for problem in problems(document) if problem.severity == "error"]
    assert errors == []
    return Definition(
        "flow", document["id"], version, dict(document), FLOW.compile(document), FLOW.listens(document)
    )


def example(name: str) -> Definition:
    """A document of examples/flow."""
    return definition((EXAMPLES / f"{name}.yaml").read_bytes())


class World:
    """A stream as the engine keeps it: events, state, armed timers, the pinned version, a clock."""

    def __init__(
        self,
        *definitions: Definition,
        record: Mapping[str, Any] | None = None,
        customer: str = "anna",
        secrets: tuple[str, ...] = (),
        careful: bool = True,  # whether to check everything after every step
    ) -> None:
        self.careful = careful
        self.steps = 0
        self.definitions = {one.version: one for one in definitions}
        self.newest = definitions[-1]
        self.record = record or {}
        self.stream = parse_stream(f"acme/c/{customer}/flow:{self.newest.id}")
        self.secrets = secrets
        self.now_ms = NOW_MS
        self.state: FlowState | None = None
        self.events: list[Event] = []
        self.new: list[Event] = []
        self.rejected: Rejected | None = None
        self.timers: dict[str, int] = {}
        self.pinned = 0
        self.tellings = 0

    def do(
        self,
        command: Any,
        *,
        occurred_ms: int | None = None,
        backfill: bool = False,
        key: tuple[str, str] = ("", ""),
    ) -> "World":
        """Decide a command now; its events become the log, unless it is rejected. `key`: its source and id."""
        facts = Facts(
            now_ms=self.now_ms,
            occurred_ms=self.now_ms if occurred_ms is None else occurred_ms,
            stream=self.stream,
            definition=self.definitions.get(self.pinned, self.newest),
            version=len(self.events),
            backfill=backfill,
            perform_effects=not backfill,
            record=self.record,
            source=key[0],
            command_id=key[1],
        )
        before = None if self.state is None else json.dumps(FLOW.dump(self.state))
        self.rejected, self.new = None, []
        try:
            new = list(FLOW.decide(self.state, command, facts))
        except Rejected as rejected:
            self.rejected = rejected
            return self
        assert before is None or before == json.dumps(FLOW.dump(self.state)), "the old state was changed"
        assert new, "a decision leaves at least one event"
        self.new = new
        if isinstance(command, TimerFired):
            self.timers.pop(command.timer, None)
        for event in new:
            self._keep(event)
        if self.careful:
            self._check()
        return self

    def hear(self, type: str, payload: Mapping[str, Any] | None = None, **more: Any) -> "World":
        """An event of the customer's comes in."""
        return self.do(HandleEvent(type, dict(payload or {})), **more)

    def told(self, sender: str, type: str, data: Mapping[str, Any]) -> "World":
        """Another stream of the customer's tells the flow something."""
        self.tellings += 1
        return self.do(FLOW.parse(type, data), key=(TELLING_SOURCE, f"{sender}/{self.tellings}/0"))

    def tells(self, type: str = "") -> list[Told]:
        """What the last events tell other streams."""
        told = [one for event in self.new for one in event.tells()]
        return [one for one in told if type in {"", one.type}]

    def wait(self, ms: int) -> "World":
        """Time passes; timers fire when they are due."""
        until_ms = self.now_ms + ms
        fired: list[Event] = []
        for _ in range(10_000):
            due = [(due_ms, timer) for timer, due_ms in self.timers.items() if due_ms <= until_ms]
            if not due:
                break
            due_ms, timer = min(due)
            self.now_ms = max(self.now_ms, due_ms)
            self.do(TimerFired(timer, due_ms))
            fired += self.new
        self.now_ms = until_ms
        self.new = fired
        return self

    def answer(self, node: str, status: str = "succeeded", **more: Any) -> "World":
        """The provider answers the unanswered effect of a node."""
        assert self.state is not None
        (effect,) = (one for one in self.state.pending.values() if one.action == node)
        return self.do(EffectResult(effect.effect, effect.attempt, status, **more))

    def of(self, kind: type[Event]) -> list[Any]:
        """The events of one type among the last ones."""
        return [event for event in self.new if isinstance(event, kind)]

    def all(self, kind: type[Event]) -> list[Any]:
        """The events of one type so far."""
        return [event for event in self.events if isinstance(event, kind)]

    def path(self, run: str = "") -> list[str]:
        """The nodes entered so far."""
        entered = [event for event in self.events if event.NAME == "flow.node_entered.v1"]
        return [event.node for event in entered if not run or event.run == run]  # type: ignore[attr-defined]

    @property
    def label(self) -> str:
        return FLOW.label(self.state)

    @property
    def last(self) -> Any:
        assert self.state is not None
        assert self.state.last is not None
        return self.state.last

    def _keep(self, event: Event) -> None:
        kept = msgspec.json.decode(msgspec.json.encode(event), type=type(event))
        assert kept == event, "the log would hold another event"
        shown = json.dumps({name: v for name, v in msgspec.to_builtins(event).items() if name != "private"})
        for secret in self.secrets:
            assert secret not in shown, f"{event.NAME} shows personal data"
        self.events.append(event)
        self.state = FLOW.evolve(self.state, event)
        move_timers(self.timers, event)
        if event.NAME == "journey.started.v1":
            self.pinned = event.definition_version  # type: ignore[attr-defined]
        elif event.unpins:
            self.pinned = 0

    def _check(self) -> None:
        self.steps += 1
        state = self.state
        if len(self.events) < 300 or self.steps % 50 == 0:  # a long log isn't read again for every step
            state = None
            for event in self.events:
                state = FLOW.evolve(state, event)
            assert state == self.state, "replay leads elsewhere"
        if state is None:
            assert self.timers == {}
            return
        dumped = json.loads(json.dumps(FLOW.dump(state)))
        assert FLOW.load(dumped) == state, "a snapshot loses something"
        assert list(FLOW.load(dumped).runs) == list(state.runs), "a snapshot loses the order of runs"
        dumped.pop("private", None)
        for secret in self.secrets:
            assert secret not in json.dumps(dumped), "a snapshot shows personal data"
            assert secret not in json.dumps(FLOW.view(state)), "a view shows personal data"
        wanted = {name: due for run in state.runs.values() if run.wait for name, due in run.wait.timers()}
        wanted |= {f"effect:{effect.effect}": effect.due_ms for effect in state.pending.values()}
        assert wanted == self.timers, "timers are not those of the state"
        assert all(FLOW.deadline_ms(state, name) == due for name, due in wanted.items())
        assert state.version == self.pinned, "state and frame disagree about the pinned version"
