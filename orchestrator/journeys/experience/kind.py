"""The experience kind as the engine sees it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from orchestrator.core.decider import Facts, Problem
from orchestrator.core.errors import Malformed
from orchestrator.core.events import Event
from orchestrator.distributions import MECHANISMS
from orchestrator.distributions.base import Distribution
from orchestrator.journeys.effects import EffectAttemptFailed
from orchestrator.journeys.experience import codes, commands
from orchestrator.journeys.experience import state as states
from orchestrator.journeys.experience.check import check
from orchestrator.journeys.experience.compile import compile_document
from orchestrator.journeys.experience.decide import decide
from orchestrator.journeys.experience.events import EVENTS
from orchestrator.journeys.experience.evolve import evolve
from orchestrator.journeys.experience.model import Compiled
from orchestrator.journeys.experience.schema import schema
from orchestrator.journeys.experience.snapshot import snapshot
from orchestrator.journeys.experience.state import ExperienceState


class Experience:
    """One customer in one experience; its documents describe the distributions as well."""

    name = "experience"
    reads_record = True
    events: tuple[type[Event], ...] = (*EVENTS, EffectAttemptFailed)
    fold_version = 1

    def __init__(self, mechanisms: Iterable[Distribution] = MECHANISMS) -> None:
        self._mechanisms = {mechanism.name: mechanism for mechanism in mechanisms}
        self.schema: Mapping[str, Any] = schema(self._mechanisms)

    def prepare(self, document: Mapping[str, Any], salt: str) -> dict[str, Any]:
        """The document as it may be checked and stored: access codes in clear become hashes. `salt`: 32 hex digits."""
        return codes.prepare(document, salt)

    def check(self, document: Mapping[str, Any]) -> Sequence[Problem]:
        return check(document, self._mechanisms)

    def compile(self, document: Mapping[str, Any]) -> Compiled:
        return compile_document(document, self._mechanisms)

    def listens(self, document: Mapping[str, Any]) -> frozenset[str]:  # noqa: ARG002 - it never does
        return frozenset()

    def parse(self, type: str, data: Mapping[str, Any]) -> Any:
        return commands.parse(type, data)

    def parse_raw(self, type: str, data: Mapping[str, Any]) -> Any:  # noqa: ARG002
        raise Malformed(f"an experience hears no raw events, such as {type[:100]!r}", "unknown_type")

    def decide(self, state: ExperienceState | None, command: Any, facts: Facts) -> Sequence[Event]:
        return decide(state, command, facts)

    def evolve(self, state: ExperienceState | None, event: Event) -> ExperienceState | None:
        return evolve(state, event)

    def deadline_ms(self, state: ExperienceState | None, timer: str) -> int | None:
        return states.deadline_ms(state, timer)

    def label(self, state: ExperienceState | None) -> str:
        return states.label(state)

    def dump(self, state: ExperienceState) -> dict[str, Any]:
        return states.dump(state)

    def load(self, data: Mapping[str, Any]) -> ExperienceState:
        return states.load(data)

    def view(self, state: ExperienceState) -> dict[str, Any]:
        return snapshot(state)
