"""The lifecycle kind as the engine sees it."""

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.core.decider import Facts, Problem
from orchestrator.core.events import Event
from orchestrator.journeys.effects import EffectAttemptFailed
from orchestrator.journeys.lifecycle import commands
from orchestrator.journeys.lifecycle import state as states
from orchestrator.journeys.lifecycle.check import check
from orchestrator.journeys.lifecycle.compile import compile_document
from orchestrator.journeys.lifecycle.decide import decide
from orchestrator.journeys.lifecycle.events import ContextSet, Destroyed, EventNoted, Moved, Reset
from orchestrator.journeys.lifecycle.evolve import evolve
from orchestrator.journeys.lifecycle.model import Compiled
from orchestrator.journeys.lifecycle.schema import SCHEMA
from orchestrator.journeys.lifecycle.state import LifecycleState


class Lifecycle:
    """A configured state machine per customer, fed by what the customer does."""

    name = "lifecycle"
    reads_record = False
    events: tuple[type[Event], ...] = (Moved, EventNoted, ContextSet, Reset, Destroyed, EffectAttemptFailed)
    fold_version = 1
    schema: Mapping[str, Any] = SCHEMA

    def check(self, document: Mapping[str, Any]) -> Sequence[Problem]:
        return check(document)

    def compile(self, document: Mapping[str, Any]) -> Compiled:
        return compile_document(document)

    def listens(self, document: Mapping[str, Any]) -> frozenset[str]:
        return frozenset(document["events"])

    def parse(self, type: str, data: Mapping[str, Any]) -> Any:
        return commands.parse(type, data)

    def parse_raw(self, type: str, data: Mapping[str, Any]) -> Any:
        return commands.parse_raw(type, data)

    def decide(self, state: LifecycleState | None, command: Any, facts: Facts) -> Sequence[Event]:
        return decide(state, command, facts)

    def evolve(self, state: LifecycleState | None, event: Event) -> LifecycleState | None:
        return evolve(state, event)

    def deadline_ms(self, state: LifecycleState | None, timer: str) -> int | None:
        return states.deadline_ms(state, timer)

    def label(self, state: LifecycleState | None) -> str:
        return "" if state is None else state.state

    def dump(self, state: LifecycleState) -> dict[str, Any]:
        return states.dump(state)

    def load(self, data: Mapping[str, Any]) -> LifecycleState:
        return states.load(data)

    def view(self, state: LifecycleState) -> dict[str, Any]:
        return states.view(state)
