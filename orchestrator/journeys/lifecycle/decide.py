"""What follows from a command of a lifecycle journey."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from orchestrator.core.decider import EffectResult, Facts, TimerFired
from orchestrator.core.errors import Rejected
from orchestrator.core.events import CommandIgnored, Event, TimerArmed, TimerCancelled
from orchestrator.core.rules import RuleFailed
from orchestrator.journeys import effects
from orchestrator.journeys.effects import Settled
from orchestrator.journeys.lifecycle.commands import Destroy, HandleEvent, Restart, SetContext, Start
from orchestrator.journeys.lifecycle.events import ContextSet, Destroyed, EventNoted, Moved, Reset
from orchestrator.journeys.lifecycle.model import Branch, Compiled
from orchestrator.journeys.lifecycle.outside import changes
from orchestrator.journeys.lifecycle.state import LifecycleState, deadline_ms
from orchestrator.journeys.lifecycle.turn import INTERNAL_EVENTS_MAX, Turn

AFTER: Final = "after"
CLOCK_SKEW_MS: Final = 60_000


def decide(state: LifecycleState | None, command: Any, facts: Facts) -> Sequence[Event]:
    """The events of a command; raises Rejected. Failing rules reject what asked for them."""
    match command:
        case HandleEvent():
            return _handle(state, command, facts)
        case TimerFired():
            return _timer(state, command, facts)
        case EffectResult():
            return _answer(state, command, facts)
        case Start():
            return _start(state, command, facts)
        case SetContext():
            return _set_context(state, command, facts)
        case Restart():
            return _restart(state, facts)
        case Destroy():
            return _destroy(state)
    raise TypeError(f"{type(command).__name__} is no command of a lifecycle journey")


def _handle(state: LifecycleState | None, command: HandleEvent, facts: Facts) -> Sequence[Event]:
    compiled: Compiled = facts.definition.compiled
    if command.type not in compiled.events:
        raise Rejected(
            "lifecycle.event_not_listed", type=command.type, definition_version=facts.definition.version
        )
    occurred_ms = facts.occurred_ms
    if (
        command.timestamp_ms is not None
    ):  # a clock far ahead would keep the journey from ever looking inactive
        occurred_ms = min(command.timestamp_ms, max(facts.now_ms, occurred_ms) + CLOCK_SKEW_MS)
    turn = Turn(state, facts, occurred_ms)
    if turn.state is None:
        turn.begin(compiled.initial, compiled.context, compiled.private)
    elif compiled.leaves[turn.state.state].terminal:
        return (CommandIgnored(reason="terminal_state"),)
    _receive(turn, command.type, command.payload, customer=True)
    _send_itself(turn)
    return turn.events


def _receive(turn: Turn, event_type: str, payload: Mapping[str, Any], *, customer: bool) -> None:
    """One event in the current state. Those the journey sends itself pass the guard and are no activity."""
    state = turn.state
    assert state is not None
    compiled = turn.compiled
    leaf = compiled.leaves[state.state]
    guard = leaf.guard if customer else None
    if guard is not None and event_type not in guard.events:
        raise Rejected(
            "lifecycle.trigger_not_allowed",
            state=state.state,
            type=event_type,
            allowed=sorted(guard.events),
            triggers=guard.id,
        )
    last_event_ms = state.last_event_ms
    if customer and turn.occurred_ms > last_event_ms:
        last_event_ms = turn.occurred_ms
    turn.hear(event_type, payload, leaf.needs.get(event_type))
    try:
        guard_actions = guard.actions if guard is not None else ()
        if guard_actions and guard is not None and guard.when is not None and not turn.holds(guard.when):
            guard_actions = ()
        record = compiled.record.get(event_type)
        if record is not None:
            turn.record(record)
        branch, refused = _choose(turn, leaf.on.get(event_type, ()))
        if branch is not None:
            turn.assign(branch.assign)
    except RuleFailed as failure:
        raise Rejected(
            "lifecycle.rule_failed",
            state=state.state,
            type=event_type,
            reason=failure.reason,
            error=str(failure),
        ) from failure
    if branch is None or branch.change is None:
        turn.add(
            EventNoted(
                trigger=event_type,
                last_event_ms=last_event_ms,
                transition="" if branch is None else branch.id,
                set=turn.public,
                inputs=turn.inputs,
                refused=refused,
                private=turn.private,
            )
        )
    else:
        turn.add(
            Moved(
                from_state=state.state,
                to_state=branch.change.target,
                trigger=event_type,
                transition=branch.id,
                last_event_ms=last_event_ms,
                set=turn.public,
                inputs=turn.inputs,
                refused=refused,
                private=turn.private,
            )
        )
    if guard_actions or (branch is not None and not branch.plain):
        turn.follow(state, guard_actions, branch)


def _choose(turn: Turn, candidates: tuple[Branch, ...]) -> tuple[Branch | None, tuple[str, ...]]:
    """The first candidate whose condition holds, and the ids of those refused before it."""
    refused: tuple[str, ...] = ()
    for candidate in candidates:
        if candidate.when is None or turn.holds(candidate.when):
            return candidate, refused
        refused = (*refused, candidate.id)
    return None, refused


def _send_itself(turn: Turn) -> None:
    """Events the journey sends itself, each after what caused it; a bound ends definitions that circle."""
    while turn.outbox and turn.sent < INTERNAL_EVENTS_MAX:
        event_type, payload = turn.outbox.pop(0)
        turn.sent += 1
        state = turn.state
        if state is None or turn.compiled.leaves[state.state].terminal:
            break
        try:
            _receive(turn, event_type, payload, customer=False)
        except Rejected as rejected:  # what caused the event has happened and stays recorded
            inputs = {"rejected": rejected.rule, **rejected.inputs}
            turn.add(EventNoted(trigger=event_type, last_event_ms=state.last_event_ms, inputs=inputs))
    turn.outbox.clear()


def _timer(state: LifecycleState | None, command: TimerFired, facts: Facts) -> Sequence[Event]:
    due_ms = deadline_ms(state, command.timer)
    if state is None or due_ms is None:
        return (CommandIgnored(reason="timer_not_armed"),)
    if due_ms > max(facts.now_ms, command.due_ms):
        return (TimerArmed(timer=command.timer, due_ms=due_ms),)
    if command.timer.startswith(effects.TIMER_PREFIX):
        policies = facts.definition.compiled.policies
        return _settle(state, effects.timer_fired(state.pending, command.timer, facts, policies), facts)
    turn = Turn(state, facts, state.last_event_ms)
    leaf = turn.compiled.leaves[state.state]
    branch = leaf.expiries.get(command.timer)
    if branch is None or branch.change is None:
        return (TimerCancelled(timer=command.timer),)
    turn.hear(AFTER, {"timer": command.timer, "dueAt": due_ms})
    inputs: dict[str, Any] = {"lastEventAt": state.last_event_ms, "dueAt": due_ms}
    try:
        turn.assign(branch.assign)
    except RuleFailed as failure:  # nobody is there to hear a no: the journey moves without the failing value
        inputs["rule_failed"] = failure.reason
    turn.add(
        Moved(
            from_state=state.state,
            to_state=branch.change.target,
            trigger=AFTER,
            transition=branch.id,
            last_event_ms=state.last_event_ms,
            set=turn.public,
            inputs=inputs,
            private=turn.private,
        )
    )
    turn.follow(state, (), branch)
    _send_itself(turn)
    return turn.events


def _answer(state: LifecycleState | None, command: EffectResult, facts: Facts) -> Sequence[Event]:
    if state is None:
        return (CommandIgnored(reason="no_journey"),)
    policies = facts.definition.compiled.policies
    return _settle(state, effects.answer(state.pending, command, facts, policies), facts)


def _settle(state: LifecycleState, settled: Settled, facts: Facts) -> Sequence[Event]:
    if not settled.events:
        return (CommandIgnored(reason="effect_already_settled"),)
    turn = Turn(state, facts, state.last_event_ms)
    for event in settled.events:
        turn.add(event)
    turn.settled(settled)
    _send_itself(turn)
    return turn.events


def _start(state: LifecycleState | None, command: Start, facts: Facts) -> Sequence[Event]:
    if state is not None:
        raise Rejected("lifecycle.already_started", state=state.state)
    compiled: Compiled = facts.definition.compiled
    name = command.state or compiled.initial
    if name not in compiled.leaves:
        raise Rejected("lifecycle.unknown_state", state=name[:200], states=sorted(compiled.leaves))
    public, private = changes(compiled, command.context)
    turn = Turn(None, facts, facts.occurred_ms)
    turn.begin(name, compiled.context, compiled.private, public, private)
    _send_itself(turn)
    return turn.events


def _set_context(state: LifecycleState | None, command: SetContext, facts: Facts) -> Sequence[Event]:
    if state is None:
        raise Rejected("lifecycle.not_started")
    public, private = changes(facts.definition.compiled, command.context)
    return (ContextSet(set=public, private=private),)


def _restart(state: LifecycleState | None, facts: Facts) -> Sequence[Event]:
    if state is None:
        raise Rejected("lifecycle.not_started")
    compiled: Compiled = facts.definition.compiled
    context = {name: value for name, value in compiled.context.items() if name != "state"}
    last_event_ms = max(state.last_event_ms, facts.occurred_ms)
    return [
        *_cancel_all(state),
        Reset(state=compiled.initial, last_event_ms=last_event_ms, context=context, private=compiled.private),
        *(
            TimerArmed(timer=timer, due_ms=last_event_ms + delay_ms)
            for timer, delay_ms in compiled.leaves[compiled.initial].timers.items()
        ),
    ]


def _destroy(state: LifecycleState | None) -> Sequence[Event]:
    if state is None:
        raise Rejected("lifecycle.not_started")
    return [*_cancel_all(state), Destroyed()]


def _cancel_all(state: LifecycleState) -> list[Event]:
    timers = [*state.timers, *(effects.TIMER_PREFIX + effect for effect in state.pending)]
    return [TimerCancelled(timer=timer) for timer in timers]
