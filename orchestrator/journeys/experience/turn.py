"""One decision under way: the events so far, the state they lead to, and what rules may read."""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from orchestrator.core.addresses import Stream
from orchestrator.core.decider import Facts
from orchestrator.core.errors import Rejected
from orchestrator.core.events import Event, with_timers
from orchestrator.distributions.access_code import code_stream
from orchestrator.distributions.base import distribution_stream
from orchestrator.journeys.experience.actions import refusal, throttled_ms
from orchestrator.journeys.experience.events import Asked, Happened, Noted
from orchestrator.journeys.experience.evolve import evolve, told
from orchestrator.journeys.experience.model import Compiled
from orchestrator.journeys.experience.state import CODES, ExperienceState, Note, journey_stage, wanted_timers


class Turn:
    """Collects the events of one decision; `state` follows them."""

    __slots__ = ("_evolved", "_state", "compiled", "events", "facts", "fired")

    def __init__(self, state: ExperienceState | None, facts: Facts) -> None:
        self.compiled: Compiled = facts.definition.compiled
        self.facts = facts
        self.events: list[Event] = []
        self.fired = ""  # the timer this decision is about
        self._state = state
        self._evolved = 0

    @property
    def found(self) -> ExperienceState | None:
        """The state after the events so far."""
        while self._evolved < len(self.events):
            self._state = evolve(self._state, self.events[self._evolved])
            self._evolved += 1
        return self._state

    @property
    def state(self) -> ExperienceState:
        """The state after the events so far; a blank one before the first."""
        return self.found or ExperienceState(experience=self.facts.stream.definition)

    @property
    def stage(self) -> str:
        return journey_stage(self.found)

    @property
    def now_ms(self) -> int:
        return self.facts.now_ms

    @property
    def trusted(self) -> bool:
        """Whether the document believes what this command's source says."""
        return self.facts.source in self.compiled.trusted

    @property
    def history(self) -> bool:
        """Whether this is history being imported, which asks nobody."""
        return self.facts.backfill and not self.facts.perform_effects

    def add(self, *events: Event) -> None:
        self.events.extend(events)

    def allow(self, action: str) -> None:
        """Go on only with what is among the available actions. Raises Rejected."""
        rule = refusal(self.found, action, self.now_ms)
        if not rule:
            return
        inputs: dict[str, Any] = {"action": action}
        wait_ms = throttled_ms(self.found, self.now_ms)
        if rule == "access_code.throttled":
            inputs = {"retry_after_ms": wait_ms}
        raise Rejected(rule, **inputs)

    def trust(self, action: str) -> None:
        """Go on only for a trusted producer. Raises Rejected."""
        if not self.trusted:
            raise Rejected("experience.untrusted_source", action=action, needs="one of `trusted_sources`")

    def note(
        self,
        kind: str,
        severity: str,
        message: str,
        *,
        audience: str = "user",
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        """A journey event, told by what has just happened. `message` and `detail` may be shown to the customer."""
        last, shown = self.events[-1] if self.events else None, dict(detail or {})
        version = self.facts.version + len(self.events)  # of the last one
        if not isinstance(last, Happened) or last.note is not None:
            self.add(Noted(str(version + 1), self.now_ms, kind, severity, audience, message, shown))
            return
        note = Note(str(version), self.now_ms, kind, severity, audience, message, shown)
        self.events[-1] = replace(last, note=note)
        if self._evolved == len(self.events) and self._state is not None:
            self._state = told(self._state, note)

    def stream_of(self, distribution: str) -> Stream:
        """Where a distribution of this experience stands."""
        owner = self.facts.stream.owner
        mechanism = self.compiled.distributions[distribution].mechanism
        return distribution_stream(owner.organization, self.facts.stream.definition, distribution, mechanism)

    def code_stream(self) -> Stream:
        """Where uses of access codes are counted."""
        return code_stream(self.facts.stream.owner.organization, self.facts.stream.definition)

    def ask(
        self,
        to: str,
        action: str,
        data: Mapping[str, Any] | None = None,
        attributes: Mapping[str, Any] | None = None,
        *,
        wait: bool = True,
    ) -> None:
        """Ask a distribution, or the counter of codes. Raises Rejected where history is being imported."""
        if self.history:
            raise Rejected("experience.history_asks_nobody", action=action)
        stream = self.code_stream() if to == CODES else self.stream_of(to)
        due_ms = self.now_ms + self.compiled.answer_within_ms if wait else 0
        private = {"attributes": dict(attributes)} if attributes else {}
        self.add(Asked(self.now_ms, to, stream.text, action, due_ms, dict(data or {}), private))

    def finish(self) -> list[Event]:
        """The events of the decision; the last arms and cancels the timers that their state needs."""
        state = self.found
        armed: Mapping[str, int] = {} if state is None else state.timers
        wanted = wanted_timers(state)
        changed: dict[str, int | None] = {timer: None for timer in armed if timer not in wanted}
        changed |= {t: due for t, due in wanted.items() if armed.get(t) != due or t == self.fired}
        with_timers(self.events, changed)
        return self.events
