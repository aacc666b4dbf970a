"""One decision under way: the events so far, the state they lead to, and what rules say about it."""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from orchestrator.core.decider import Facts
from orchestrator.core.events import CommandSent, Event, JourneyStarted, TimerCancelled, with_timers
from orchestrator.core.rules import Data, Rule, RuleFailed
from orchestrator.core.templates import Template
from orchestrator.customers.contact import RELEASE
from orchestrator.journeys.effects import TIMER_PREFIX
from orchestrator.journeys.flow.events import NodeFailed, RuleBroken, RunEnded
from orchestrator.journeys.flow.evolve import evolve
from orchestrator.journeys.flow.model import Compiled
from orchestrator.journeys.flow.placeholders import Param
from orchestrator.journeys.flow.state import FlowState, Run
from orchestrator.journeys.flow.values import any_personal, keep_inputs, needs_of, variables
from orchestrator.journeys.paths import assign


class Turn:
    """Collects the events of one decision; `state` follows them."""

    __slots__ = ("_evolved", "_state", "_timers", "compiled", "effects", "events", "facts", "given", "heard")

    def __init__(self, state: FlowState | None, facts: Facts) -> None:
        self.compiled: Compiled = facts.definition.compiled
        self.facts = facts
        self.events: list[Event] = []
        self.effects = 0
        self.heard: Mapping[str, Any] | None = None  # the event at hand: type, payload, timestamp
        self.given: Mapping[str, Any] = {}  # context by path that comes with a start by hand
        self._state = state
        self._evolved = 0
        self._timers: dict[str, int | None] = {}  # of runs' waits: armed and cancelled by this decision

    @property
    def state(self) -> FlowState:
        """The state after the events so far; an empty one before the first."""
        while self._evolved < len(self.events):
            self._state = evolve(self._state, self.events[self._evolved])
            self._evolved += 1
        return FlowState() if self._state is None else self._state

    def add(self, *events: Event) -> None:
        self.events.extend(events)

    def run(self, id: str) -> Run:
        """An active run as it is now."""
        return self.state.runs[id]

    def pin(self) -> None:
        """Runs that begin now keep to this version until none is active."""
        if not self.state.version:
            self.add(
                JourneyStarted(definition_version=self.facts.definition.version, at_ms=self.facts.now_ms)
            )

    def finish(self) -> list[Event]:
        """The events of the decision: the last arms and cancels timers, and ends the pin when nothing needs it any more."""
        events, state = self.events, self.state
        if not events:
            return events
        with_timers(events, self._timers)
        if state.version and not state.runs and not state.pending:
            events[-1] = replace(events[-1], unpins=True)
        return events

    def end(
        self,
        run: Run,
        state: str,
        reason: str,
        *,
        result: str = "",
        rule: str = "",
        inputs: Mapping[str, Any] | None = None,
    ) -> None:
        """End a run: its timers are cancelled and the effect it waits for is forgotten."""
        self.stop_timers(run)
        if run.effect and run.effect in self.state.pending:
            self.add(TimerCancelled(timer=TIMER_PREFIX + run.effect))
        self.add(
            RunEnded(
                run=run.id,
                node=run.node,
                at_ms=self.facts.now_ms,
                state=state,
                reason=reason,
                result=result,
                rule=rule,
                inputs=dict(inputs or {}),
            )
        )

    def stop_timers(self, run: Run, fired: str = "") -> None:
        """Cancel the timers of a run's wait, but for the one that has just fired."""
        if run.wait is not None:
            for timer, _ in run.wait.timers():
                if timer != fired:
                    self._timers[timer] = None

    def start_timers(self, run: Run) -> None:
        """Arm the timers of a run's wait."""
        if run.wait is not None:
            for timer, due_ms in run.wait.timers():
                self._timers[timer] = due_ms

    def give_back(self, record: str, reference: str) -> None:
        """Tell the record that nothing was sent: the contact doesn't count."""
        self.add(CommandSent(stream=record, type=RELEASE, data={"reference": reference}))

    def failed(self, run: Run, node: str, reason: str, detail: str = "") -> None:
        self.add(NodeFailed(run=run.id, node=node, reason=reason, detail=detail))

    def broken(self, run: Run, rule: str, failure: RuleFailed) -> None:
        self.add(RuleBroken(run=run.id, node=run.node, rule=rule, reason=failure.reason))

    def holds(self, rule: Rule | None, run: Run | None, inputs: dict[str, Any]) -> bool:
        """Whether a condition holds now; what it reads is kept in `inputs`. Raises RuleFailed."""
        if rule is None:
            return True
        data = self._data(rule.reads, run, complete=rule.reads_all)
        keep_inputs(inputs, rule.reads, data.values, run, self.facts)
        return rule.holds(data)

    def value(self, template: Template | Param, run: Run | None) -> Any:
        """The value of a template now. Raises RuleFailed."""
        if isinstance(template, Template) and template.constant:
            return template.value
        return template.render(self._data(template.reads, run, complete=template.reads_all))

    def personal(self, template: Template | Param, run: Run | None) -> bool:
        """Whether a template's value may show personal data."""
        if template.constant:
            return False
        return any_personal(template.reads, run, self.facts, complete=template.reads_all)

    def _data(self, reads: Iterable[tuple[str, ...]], run: Run | None, *, complete: bool) -> Data:
        values = variables(run, self.facts, self.heard, needs_of(reads, complete=complete))
        return Data(assign(values, self.given) if run is None and self.given else values)
