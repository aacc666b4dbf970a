"""The flow kind as the engine sees it."""

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.core.decider import Facts, Problem
from orchestrator.core.events import Event
from orchestrator.journeys.effects import EffectAttemptFailed
from orchestrator.journeys.flow import commands
from orchestrator.journeys.flow import state as states
from orchestrator.journeys.flow.check import check
from orchestrator.journeys.flow.compile import compile_document, listened
from orchestrator.journeys.flow.decide import decide
from orchestrator.journeys.flow.events import EVENTS
from orchestrator.journeys.flow.evolve import evolve
from orchestrator.journeys.flow.model import Compiled
from orchestrator.journeys.flow.schema import SCHEMA
from orchestrator.journeys.flow.state import FlowState


class Flow:
    """A graph of nodes; each customer may walk through it many times."""

    name = "flow"
    events: tuple[type[Event], ...] = (*EVENTS, EffectAttemptFailed)
    fold_version = 1
    schema: Mapping[str, Any] = SCHEMA
    reads_record = True

    def check(self, document: Mapping[str, Any]) -> Sequence[Problem]:
        return check(document)

    def compile(self, document: Mapping[str, Any]) -> Compiled:
        return compile_document(document)

    def listens(self, document: Mapping[str, Any]) -> frozenset[str]:
        return listened(document)

    def parse(self, type: str, data: Mapping[str, Any]) -> Any:
        return commands.parse(type, data)

    def parse_raw(self, type: str, data: Mapping[str, Any]) -> Any:
        return commands.parse_raw(type, data)

    def decide(self, state: FlowState | None, command: Any, facts: Facts) -> Sequence[Event]:
        return decide(state, command, facts)

    def evolve(self, state: FlowState | None, event: Event) -> FlowState | None:
        return evolve(state, event)

    def deadline_ms(self, state: FlowState | None, timer: str) -> int | None:
        return states.deadline_ms(state, timer)

    def label(self, state: FlowState | None) -> str:
        return states.label(state)

    def dump(self, state: FlowState) -> dict[str, Any]:
        return states.dump(state)

    def load(self, data: Mapping[str, Any]) -> FlowState:
        return states.load(data)

    def view(self, state: FlowState) -> dict[str, Any]:
        return states.view(state)
