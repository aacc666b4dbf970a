"""One decision under way: the events so far, the state they lead to, and what rules can read."""

from collections.abc import Mapping
from typing import Any, Final

from orchestrator.core.decider import Facts
from orchestrator.core.events import (
    EffectFailed,
    EffectRequested,
    Event,
    JourneyStarted,
    TimerArmed,
    TimerCancelled,
)
from orchestrator.core.rules import Data, Rule, RuleFailed
from orchestrator.journeys import effects
from orchestrator.journeys.effects import Settled
from orchestrator.journeys.lifecycle.evolve import evolve
from orchestrator.journeys.lifecycle.model import Action, Assignments, Branch, Compiled
from orchestrator.journeys.lifecycle.state import LifecycleState, variables
from orchestrator.journeys.paths import assign, overlay, read

INTERNAL_EVENTS_MAX: Final = 8
_INPUT_CHARS_MAX: Final = 200
_INPUTS_MAX: Final = 16
_EXACT: Final = 2**53  # the rule engine's whole numbers are exact at least up to here


class Turn:
    """Collects the events of one decision. `state` lags behind `events` until someone needs it."""

    __slots__ = (
        "_data",
        "_evolved",
        "_heard",
        "_needs",
        "_state",
        "compiled",
        "effects",
        "events",
        "facts",
        "inputs",
        "occurred_ms",
        "outbox",
        "private",
        "public",
        "sent",
    )

    def __init__(self, state: LifecycleState | None, facts: Facts, occurred_ms: int) -> None:
        self.compiled: Compiled = facts.definition.compiled
        self.facts = facts
        self.occurred_ms = occurred_ms
        self.events: list[Event] = []
        self.effects = 0
        self.outbox: list[tuple[str, dict[str, Any]]] = []
        self.sent = 0
        self._state = state
        self._evolved = 0
        self._heard: dict[str, Any] = {}
        self._needs: frozenset[str] | None = None
        self._data: Data | None = None
        self.public: dict[str, Any] = {}
        self.private: dict[str, Any] = {}
        self.inputs: dict[str, Any] = {}

    @property
    def state(self) -> LifecycleState | None:
        """The state after the events so far."""
        while self._evolved < len(self.events):
            self._state = evolve(self._state, self.events[self._evolved])
            self._evolved += 1
        return self._state

    def add(self, event: Event) -> None:
        self.events.append(event)

    def begin(
        self,
        name: str,
        context: Mapping[str, Any],
        private: Mapping[str, Any],
        public_changes: Mapping[str, Any] | None = None,
        private_changes: Mapping[str, Any] | None = None,
    ) -> None:
        """The journey starts in the leaf `name`: its timers are armed; its entry actions run unless taken over."""
        initial = name == self.compiled.initial
        if public_changes or not initial:
            context = assign({**context, "state": name}, public_changes or {})
        self.add(
            JourneyStarted(
                definition_version=self.facts.definition.version,
                at_ms=self.occurred_ms,
                context=dict(context),
                private=overlay(private, private_changes) if private_changes else dict(private),
            )
        )
        for timer, delay_ms in self.compiled.leaves[name].timers.items():
            self.add(TimerArmed(timer=timer, due_ms=self.occurred_ms + delay_ms))
        if initial and self.compiled.begin:
            self._perform(self.compiled.begin, self._values())

    def hear(self, event_type: str, payload: Mapping[str, Any], needs: frozenset[str] | None = None) -> None:
        """From here on rules read this event; `needs` are the only variables they read (None: any)."""
        self._needs = needs
        self._heard = {"type": event_type, "payload": payload, "timestamp": self.occurred_ms}
        self._data, self.public, self.private, self.inputs = None, {}, {}, {}

    def holds(self, rule: Rule) -> bool:
        """Whether a condition holds now; what it reads is kept as inputs. Raises RuleFailed."""
        data = self._current()
        self._keep_inputs(rule, data)
        return rule.holds(data)

    def record(self, assignments: Assignments) -> None:
        """Assignments of an event type; conditions see their results."""
        self.assign(assignments)
        self._data = None

    def assign(self, assignments: Assignments) -> None:
        """Adds a transition's assignments to `public` and `private`. Raises RuleFailed."""
        if assignments.counters and self._count(assignments):
            return
        data = self._current() if assignments.computed else None
        if assignments.constant:
            self.public = {**self.public, **assignments.constant}
        if assignments.constant_private:
            self.private = {**self.private, **assignments.constant_private}
        if data is None:
            return
        public, private = dict(self.public), dict(self.private)
        for path, template, personal in assignments.computed:
            (private if personal else public)[path] = template.render(data)
        self.public, self.private = public, private

    def _count(self, assignments: Assignments) -> bool:
        """Does what `assign` would, without the rule engine, while nothing but whole numbers is counted."""
        state = self.state
        if self.public or self.private or state is None or state.private:
            return False
        counted: dict[str, Any] = {}
        for path, steps, step in assignments.counters:
            value = read(state.context, steps)
            if type(value) is not int or not -_EXACT < value < _EXACT:
                return False
            counted[path] = value + step
        self.public = {**assignments.constant, **counted}
        self.private = assignments.constant_private
        return True

    def follow(
        self, before: LifecycleState, guard_actions: tuple[Action, ...], branch: Branch | None
    ) -> None:
        """Actions and timers after a Moved or EventNoted: what is left sees the state before, the rest that after."""
        change = None if branch is None else branch.change
        after = self.state
        assert after is not None
        if guard_actions or (change is not None and change.left):
            old = {**variables(before), **self._surroundings()}
            self._perform((*guard_actions, *(change.left if change is not None else ())), old)
        if change is not None:
            for timer in change.cancel:
                if timer in before.timers:
                    self.add(TimerCancelled(timer=timer))
            for timer, delay_ms in change.arm:
                self.add(TimerArmed(timer=timer, due_ms=after.last_event_ms + delay_ms))
        own = branch.actions if branch is not None else ()
        entered = change.entered if change is not None else ()
        if own or entered:
            self._perform((*own, *entered), {**variables(after), **self._surroundings()})

    def settled(self, settled: Settled) -> None:
        """Puts the event an action sends at its end into the outbox."""
        effect = settled.effect
        if effect is None:
            return
        policy = self.compiled.policies.get(effect.action)
        event_type = "" if policy is None else policy.on_success if settled.succeeded else policy.on_failure
        if event_type:
            told = {"result": settled.result} if settled.succeeded else {"error": settled.error}
            self.outbox.append((event_type, {"action": effect.action, "effect": effect.effect, **told}))

    def _perform(self, actions: tuple[Action, ...], values: dict[str, Any]) -> None:
        data: Data | None = None
        for action in actions:
            effect = effects.effect_id(self.facts, self.effects)
            self.effects += 1
            try:
                params: dict[str, Any] = {}
                private: dict[str, Any] = {}
                for name, template in action.params.items():
                    if template.constant:
                        params[name] = template.value
                        continue
                    if data is None:
                        data = Data(values)
                    (private if name in action.private_params else params)[name] = template.render(data)
            except RuleFailed as failure:
                failed = EffectFailed(effect=effect, attempt=0, error=failure.reason, detail=str(failure))
                self._not_asked(action, failed)
                continue
            asked = EffectRequested(
                effect=effect,
                action=action.name,
                type=action.type,
                params=params,
                timeout_ms=action.policy.timeout_ms,
                private=private,
            )
            state = self.state
            pending = 0 if state is None else len(state.pending)
            for event in effects.request(self.facts, asked, pending=pending, policy=action.policy):
                if isinstance(event, EffectFailed):
                    self._not_asked(action, event)
                else:
                    self.add(event)

    def _not_asked(self, action: Action, failed: EffectFailed) -> None:
        self.add(failed)
        if action.policy.on_failure:
            told = {"action": action.name, "effect": failed.effect, "error": failed.error}
            self.outbox.append((action.policy.on_failure, told))

    def _current(self) -> Data:
        if self._data is None:
            self._data = Data(self._values())
        return self._data

    def _values(self) -> dict[str, Any]:
        state = self.state
        assert state is not None
        values = variables(state)
        if self.public:
            values = assign(values, self.public)
        if self.private:
            values = assign(values, self.private)
        values |= self._surroundings()
        needs = self._needs
        return values if needs is None else {name: values[name] for name in needs if name in values}

    def _surroundings(self) -> dict[str, Any]:
        owner = self.facts.stream.owner
        return {"customer": owner.id, "organization": owner.organization, "event": self._heard}

    def _keep_inputs(self, rule: Rule, data: Data) -> None:
        for path in rule.reads:
            name = ".".join(path)
            if name in self.inputs or len(self.inputs) >= _INPUTS_MAX or self.compiled.is_personal(name):
                continue
            value = read(data.values, path)
            if not isinstance(value, dict | list) and len(str(value)) <= _INPUT_CHARS_MAX:
                self.inputs[name] = value
