"""Deciders in three words: `spec.given(events).when(command).then(events)`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator import definitions
from orchestrator.core.addresses import Stream, parse_stream
from orchestrator.core.decider import Definition, Facts, JourneyKind
from orchestrator.core.errors import Rejected
from orchestrator.core.events import Event

EXAMPLES = Path(__file__).parents[2] / "examples"
NOW_MS = 1_700_000_000_000


class Spec:
    """A kind and a definition to try commands against."""

    def __init__(self, definition: Definition, kind: JourneyKind, stream: Stream | None = None) -> None:
        self.definition = definition
        self.kind = kind
        self.stream = stream or parse_stream(f"acme/c/cus-1/{kind.name}:{definition.id}")

    def given(self, *events: Event) -> "Story":
        """A journey to which these events have happened."""
        return Story(self, list(events), state=self._fold(None, events))

    def _fold(self, state: Any, events: Any) -> Any:
        for event in events:
            state = self.kind.evolve(state, event)
        return state


class Story:
    """What has happened so far, and what followed from the last command."""

    def __init__(self, spec: Spec, events: list[Event], *, state: Any) -> None:
        self.spec = spec
        self.events = events
        self.state = state
        self.new: list[Event] = []
        self.rejected: Rejected | None = None

    def when(
        self,
        command: Any,
        *,
        now_ms: int = NOW_MS,
        occurred_ms: int | None = None,
        backfill: bool = False,
        perform_effects: bool = False,
    ) -> "Story":
        """The story after a command; its events must fold to the same state twice and survive a snapshot."""
        facts = Facts(
            now_ms=now_ms,
            occurred_ms=now_ms if occurred_ms is None else occurred_ms,
            stream=self.spec.stream,
            definition=self.spec.definition,
            version=len(self.events),
            backfill=backfill,
            perform_effects=perform_effects or not backfill,
        )
        kind = self.spec.kind
        before = None if self.state is None else json.dumps(kind.dump(self.state))
        try:
            new = list(kind.decide(self.state, command, facts))
        except Rejected as rejected:
            story = Story(self.spec, self.events, state=self.state)
            story.rejected = rejected
            return story
        assert new, "a decision leaves at least one event"
        state = self.spec._fold(self.state, new)
        assert before is None or before == json.dumps(kind.dump(self.state)), (
            "the old state was changed in place"
        )
        story = Story(self.spec, [*self.events, *new], state=state)
        story.new = new
        assert self.spec._fold(None, story.events) == state, "replay leads elsewhere"
        if state is not None:
            assert kind.load(json.loads(json.dumps(kind.dump(state)))) == state, "a snapshot loses something"
        return story

    def then(self, *expected: Event) -> "Story":
        """Exactly these events followed."""
        assert self.rejected is None, f"rejected: {self.rejected.rule} {self.rejected.inputs}"
        assert self.new == list(expected)
        return self

    def then_rejected(self, rule: str, **inputs: Any) -> "Story":
        """The command was rejected by `rule`, reading at least these inputs."""
        assert self.rejected is not None, f"applied: {self.new}"
        assert self.rejected.rule == rule
        assert {name: self.rejected.inputs.get(name) for name in inputs} == inputs
        return self

    def of(self, kind: type[Event]) -> list[Any]:
        """The events of one type among those that followed."""
        assert self.rejected is None, f"rejected: {self.rejected.rule} {self.rejected.inputs}"
        return [event for event in self.new if isinstance(event, kind)]

    @property
    def label(self) -> str:
        return self.spec.kind.label(self.state)


def spec_of(document: bytes | str | Mapping[str, Any], *, version: int = 1) -> Spec:
    """A spec of a document (YAML text or parsed); it must have no errors."""
    if isinstance(document, str):
        document = document.encode()
    parsed = definitions.load(document) if isinstance(document, bytes) else dict(document)
    kind = definitions.kind_named(parsed["kind"])
    return Spec(definitions.build(parsed["kind"], parsed["id"], version, parsed), kind)


def example(name: str) -> Spec:
    """A spec of a file in examples/lifecycle."""
    return spec_of((EXAMPLES / "lifecycle" / f"{name}.yaml").read_bytes())
