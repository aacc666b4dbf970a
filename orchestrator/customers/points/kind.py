"""The ledger kind as the engine sees it."""

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.core.decider import Facts, Problem
from orchestrator.core.events import Event
from orchestrator.customers.points import commands
from orchestrator.customers.points import state as states
from orchestrator.customers.points.decide import decide
from orchestrator.customers.points.events import EVENTS
from orchestrator.customers.points.evolve import evolve
from orchestrator.customers.points.model import Compiled, compile_document
from orchestrator.customers.points.schema import SCHEMA, check
from orchestrator.customers.points.state import LedgerState


class PointsLedger:
    """An account of points per customer."""

    name = "points"
    reads_record = False
    events: tuple[type[Event], ...] = EVENTS
    fold_version = 1
    schema: Mapping[str, Any] = SCHEMA

    def check(self, document: Mapping[str, Any]) -> Sequence[Problem]:
        return list(check(document))

    def compile(self, document: Mapping[str, Any]) -> Compiled:
        return compile_document(document)

    def listens(self, document: Mapping[str, Any]) -> frozenset[str]:  # noqa: ARG002 - it never does
        return frozenset()

    def parse(self, type: str, data: Mapping[str, Any]) -> Any:
        return commands.parse(type, data)

    def parse_raw(self, type: str, data: Mapping[str, Any]) -> Any:
        return commands.parse_raw(type, data)

    def decide(self, state: LedgerState | None, command: Any, facts: Facts) -> Sequence[Event]:
        return decide(state, command, facts)

    def evolve(self, state: LedgerState | None, event: Event) -> LedgerState | None:
        return evolve(state, event)

    def deadline_ms(self, state: LedgerState | None, timer: str) -> int | None:
        return states.deadline_ms(state, timer)

    def label(self, state: LedgerState | None) -> str:
        return states.label(state)

    def dump(self, state: LedgerState) -> dict[str, Any]:
        return states.dump(state)

    def load(self, data: Mapping[str, Any]) -> LedgerState:
        return states.load(data)

    def view(self, state: LedgerState) -> dict[str, Any]:
        return states.view(state)
