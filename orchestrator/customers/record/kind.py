"""The record kind as the engine sees it."""

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.core.decider import Facts, Problem
from orchestrator.core.events import Event
from orchestrator.customers.record import commands
from orchestrator.customers.record import state as states
from orchestrator.customers.record.check import check
from orchestrator.customers.record.compile import compile_document
from orchestrator.customers.record.decide import decide
from orchestrator.customers.record.events import EVENTS
from orchestrator.customers.record.evolve import evolve
from orchestrator.customers.record.model import Compiled
from orchestrator.customers.record.schema import SCHEMA
from orchestrator.customers.record.state import RecordState


class CustomerRecord:
    """What is known about a customer, and how the customer may be reached."""

    name = "customer"
    reads_record = False
    events: tuple[type[Event], ...] = EVENTS
    fold_version = 1
    schema: Mapping[str, Any] = SCHEMA

    def check(self, document: Mapping[str, Any]) -> Sequence[Problem]:
        return check(document)

    def compile(self, document: Mapping[str, Any]) -> Compiled:
        return compile_document(document)

    def listens(self, document: Mapping[str, Any]) -> frozenset[str]:
        return frozenset(document.get("events", ()))

    def parse(self, type: str, data: Mapping[str, Any]) -> Any:
        return commands.parse(type, data)

    def parse_raw(self, type: str, data: Mapping[str, Any]) -> Any:
        return commands.parse_raw(type, data)

    def decide(self, state: RecordState | None, command: Any, facts: Facts) -> Sequence[Event]:
        return decide(state, command, facts)

    def evolve(self, state: RecordState | None, event: Event) -> RecordState | None:
        return evolve(state, event)

    def deadline_ms(self, state: RecordState | None, timer: str) -> int | None:  # noqa: ARG002 - it arms none
        return None

    def label(self, state: RecordState | None) -> str:
        return states.label(state)

    def dump(self, state: RecordState) -> dict[str, Any]:
        return states.dump(state)

    def load(self, data: Mapping[str, Any]) -> RecordState:
        return states.load(data)

    def view(self, state: RecordState) -> dict[str, Any]:
        return states.view(state)
