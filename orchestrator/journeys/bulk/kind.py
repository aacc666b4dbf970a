"""The bulk kind as the engine sees it."""

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.core.decider import Facts, Problem
from orchestrator.core.events import Event
from orchestrator.journeys.bulk import commands
from orchestrator.journeys.bulk import state as states
from orchestrator.journeys.bulk.decide import decide
from orchestrator.journeys.bulk.events import EVENTS
from orchestrator.journeys.bulk.evolve import evolve
from orchestrator.journeys.bulk.model import SCHEMA, Compiled, compile_document
from orchestrator.journeys.bulk.state import BulkState
from orchestrator.journeys.effects import EffectAttemptFailed


class Bulk:
    """One operation on many runs a stream."""

    name = "bulk"
    reads_record = False
    events: tuple[type[Event], ...] = (*EVENTS, EffectAttemptFailed)
    fold_version = 1
    schema: Mapping[str, Any] = SCHEMA

    def check(self, document: Mapping[str, Any]) -> Sequence[Problem]:  # noqa: ARG002 - its shape says it all
        return ()

    def compile(self, document: Mapping[str, Any]) -> Compiled:
        return compile_document(document)

    def listens(self, document: Mapping[str, Any]) -> frozenset[str]:  # noqa: ARG002 - it never does
        return frozenset()

    def parse(self, type: str, data: Mapping[str, Any]) -> Any:
        return commands.parse(type, data)

    def parse_raw(self, type: str, data: Mapping[str, Any]) -> Any:
        return commands.parse_raw(type, data)

    def decide(self, state: BulkState | None, command: Any, facts: Facts) -> Sequence[Event]:
        return decide(state, command, facts)

    def evolve(self, state: BulkState | None, event: Event) -> BulkState | None:
        return evolve(state, event)

    def deadline_ms(self, state: BulkState | None, timer: str) -> int | None:
        return states.deadline_ms(state, timer)

    def label(self, state: BulkState | None) -> str:
        return states.label(state)

    def dump(self, state: BulkState) -> dict[str, Any]:
        return states.dump(state)

    def load(self, data: Mapping[str, Any]) -> BulkState:
        return states.load(data)

    def view(self, state: BulkState) -> dict[str, Any]:
        return states.view(state)
