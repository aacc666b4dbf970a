"""Distributions in three words: `Room(kind, config).given(events).ask("anna", "enter")`; every state is folded anew."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import msgspec

from orchestrator.core.addresses import Stream, parse_stream
from orchestrator.core.decider import Definition, Facts, TimerFired
from orchestrator.core.errors import Rejected
from orchestrator.core.events import Event, Told
from orchestrator.core.messages import TELLING_SOURCE
from orchestrator.distributions.base import Distribution, distribution_stream

NOW_MS = 1_700_000_000_000
ORGANIZATION, EXPERIENCE = "acme", "shoes"


class RoomTest:
    """A distribution that lives: commands in, events and told commands out, state always checked against a replay."""

    def __init__(self, kind: Distribution, part: Mapping[str, Any], *, distribution: str = "main") -> None:
        self.kind = kind
        self.stream: Stream = distribution_stream(ORGANIZATION, EXPERIENCE, distribution, kind.name)
        config = SimpleNamespace(mechanism=kind.name, config=kind.compile_config(part))
        compiled = SimpleNamespace(distributions={distribution: config})
        self.definition = Definition("experience", EXPERIENCE, 1, {}, compiled, frozenset())
        self.now_ms = NOW_MS
        self.events: list[Event] = []
        self.state: Any = None
        self.last: list[Event] = []
        self.commands = 0

    def journey(self, participant: str) -> str:
        return f"{ORGANIZATION}/c/{participant}/experience:{EXPERIENCE}"

    def ask(self, participant: str, action: str, **data: Any) -> list[Told]:
        """A journey asks; what the distribution tells anybody because of it."""
        self.commands += 1
        command_id = f"{self.journey(participant)}/{self.commands}/0"
        return self._decide(self.kind.parse(action, data), TELLING_SOURCE, command_id)

    def operate(self, type: str, **data: Any) -> list[Told]:
        """A command from outside; raises Rejected."""
        self.commands += 1
        return self._decide(self.kind.parse(type, data), "operators", f"c{self.commands}")

    def fire(self, timer: str) -> list[Told]:
        """A timer fires as the engine has it: only when it is due by the state."""
        due_ms = self.kind.deadline_ms(self.state, timer)
        if due_ms is None or due_ms > self.now_ms:
            return []
        return self._decide(TimerFired(timer, due_ms), "engine/timers", f"t{len(self.events)}")

    def replayed(self) -> Any:
        """The state as a restart has it: folded from what the log gives back."""
        state = None
        for event in self.events:
            read = msgspec.json.decode(msgspec.json.encode(event), type=type(event))
            assert read == event, "an event reads back as another"
            state = self.kind.evolve(state, read)
        return state

    def _decide(self, command: Any, source: str, command_id: str) -> list[Told]:
        facts = Facts(
            self.now_ms, self.now_ms, self.stream, self.definition, len(self.events),
            source=source, command_id=command_id,
        )  # fmt: skip
        self.last = []
        events = list(self.kind.decide(self.state, command, facts))
        assert events, "a decision leaves at least one event"
        for event in events:
            self.state = self.kind.evolve(self.state, event)
        self.events += events
        self.last = events
        return [told for event in events if event.TELLS for told in event.tells()]


def answers(told: list[Told], participant: str) -> list[Told]:
    """What one participant is told."""
    text = f"{ORGANIZATION}/c/{participant}/experience:{EXPERIENCE}"
    assert all(parse_stream(t.stream).text == t.stream for t in told)
    return [t for t in told if t.stream == text]


__all__ = ["NOW_MS", "Rejected", "RoomTest", "answers"]
