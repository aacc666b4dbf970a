"""What follows from a command of a flow."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from orchestrator.core.decider import EffectResult, Facts, TimerFired
from orchestrator.core.errors import Rejected
from orchestrator.core.events import CommandIgnored, Event, TimerArmed
from orchestrator.journeys import effects
from orchestrator.journeys.effects import TIMED_OUT, TIMER_PREFIX, Settled
from orchestrator.journeys.flow.commands import (
    Cancel,
    ContactReply,
    Continue,
    HandleEvent,
    Pause,
    Resume,
    Start,
)
from orchestrator.journeys.flow.enter import enter_by_event, enter_by_hand
from orchestrator.journeys.flow.events import Paused, Resumed, Unpaused
from orchestrator.journeys.flow.hear import hear, resume
from orchestrator.journeys.flow.model import NEXT, TIMEOUT, Compiled
from orchestrator.journeys.flow.replies import reply, unused_contact
from orchestrator.journeys.flow.state import CANCELLED, FlowState, Run, deadline_ms, waiting_for
from orchestrator.journeys.flow.travel import act_again, after_action, fail, go_on
from orchestrator.journeys.flow.turn import Turn
from orchestrator.journeys.flow.waits import ABSOLUTE, HELD

CLOCK_SKEW_MS: Final = 60_000


def decide(state: FlowState | None, command: Any, facts: Facts) -> Sequence[Event]:
    """The events of a command; raises Rejected."""
    turn = Turn(state, facts)
    match command:
        case HandleEvent():
            _handle(turn, command)
        case TimerFired():
            _timer(turn, command)
        case EffectResult():
            pending = turn.state.pending
            _settle(turn, effects.answer(pending, command, facts, turn.compiled.policies))
        case Start():
            enter_by_hand(turn, command)
        case Continue():
            _continue(turn, command)
        case Pause():
            _each(turn, command.run, "flow.not_running", lambda run: not run.paused, _pauser(turn, command))
        case Resume():
            _each(turn, command.run, "flow.not_paused", lambda run: run.paused, lambda run: _go(turn, run))
        case Cancel():
            reason = "cancelled"
            inputs = {"reason": command.reason} if command.reason else {}
            _each(
                turn,
                command.run,
                "flow.no_run",
                lambda _: True,
                lambda run: turn.end(run, CANCELLED, reason, inputs=inputs),
            )
        case ContactReply():
            reply(turn, command)
        case _:
            raise TypeError(f"{type(command).__name__} is no command of a flow")
    return turn.finish()


def _handle(turn: Turn, command: HandleEvent) -> None:
    facts = turn.facts
    compiled: Compiled = turn.compiled
    if command.type not in compiled.events:
        raise Rejected(
            "flow.event_not_listed", type=command.type, definition_version=facts.definition.version
        )
    occurred_ms = facts.occurred_ms
    if command.timestamp_ms is not None:  # a clock far ahead would close every window of time at once
        occurred_ms = min(command.timestamp_ms, max(facts.now_ms, occurred_ms) + CLOCK_SKEW_MS)
    turn.heard = {"type": command.type, "payload": command.payload, "timestamp": occurred_ms}
    hear(turn)
    why = enter_by_event(turn)
    if not turn.events:
        turn.add(CommandIgnored(reason=why))


def _timer(turn: Turn, command: TimerFired) -> None:
    state, facts, timer = turn.state, turn.facts, command.timer
    due_ms = deadline_ms(state, timer)
    if due_ms is None:
        turn.add(CommandIgnored(reason="timer_not_armed"))
    elif due_ms > max(facts.now_ms, command.due_ms):
        turn.add(TimerArmed(timer=timer, due_ms=due_ms))
    elif timer.startswith(TIMER_PREFIX):
        _settle(turn, effects.timer_fired(state.pending, timer, facts, turn.compiled.policies))
    elif (found := waiting_for(state, timer)) is not None:
        _over(turn, found[0], timer)


def _over(turn: Turn, run: Run, timer: str) -> None:
    """A run's wait is over by its time or its timeout."""
    assert run.wait is not None
    reason = run.wait.reason
    timed_out = timer != run.wait.timer or reason == "contact"
    turn.stop_timers(run, fired=timer)
    turn.add(
        Resumed(run=run.id, node=run.node, at_ms=turn.facts.now_ms, by="timeout" if timed_out else "time")
    )
    if reason == "contact":
        fail(turn, turn.run(run.id), TIMED_OUT)
    elif reason in HELD:
        act_again(turn, run.id)
    else:
        go_on(turn, turn.run(run.id), TIMEOUT if timed_out else NEXT)


def _settle(turn: Turn, settled: Settled) -> None:
    """An effect's answer, silence or next attempt; a run that waited for its end goes on."""
    if not settled.events:
        turn.add(CommandIgnored(reason="effect_already_settled"))
        return
    effect = settled.effect
    owner = None if effect is None else turn.state.owners.get(effect.effect)
    waits = False
    if effect is not None and owner is not None:
        run = turn.state.runs.get(owner[0])
        waits = run is not None and run.effect == effect.effect and not run.paused
    unused = unused_contact(turn.state, settled)
    turn.add(*settled.events)
    if unused is not None:
        turn.give_back(*unused)
    if waits and owner is not None:
        after_action(turn, owner[0])


def _continue(turn: Turn, command: Continue) -> None:
    runs = turn.state.runs
    open = [
        run
        for run in runs.values()
        if run.wait is not None and not run.paused and run.wait.reason not in HELD
    ]
    if command.run:
        open = [run for run in open if run.id == command.run]
    if not open:
        rule = "flow.no_run" if command.run not in runs and command.run else "flow.not_waiting"
        raise Rejected(rule, run=command.run)
    if len(open) > 1:
        raise Rejected("flow.which_run", runs=[run.id for run in open])
    data = command.event_data
    said = data.get("event_type")
    event_type = said if isinstance(said, str) and 0 < len(said) <= 128 else "continue"
    turn.heard = {"type": event_type, "payload": data, "timestamp": turn.facts.occurred_ms}
    resume(turn, open[0], "continue")


def _each(turn: Turn, name: str, rule: str, fits: Callable[[Run], bool], do: Callable[[Run], None]) -> None:
    """Do something with the run that is named, or with all it can be done with. Raises Rejected if there is none."""
    runs = turn.state.runs
    if name and name not in runs:
        raise Rejected("flow.no_run", run=name)
    chosen = [run for run in runs.values() if (not name or run.id == name) and fits(run)]
    if not chosen:
        raise Rejected(rule, run=name)
    for run in chosen:
        do(turn.run(run.id))


def _pauser(turn: Turn, command: Pause) -> Callable[[Run], None]:
    def pause(run: Run) -> None:
        now_ms, wait = turn.facts.now_ms, run.wait
        left = [None, None] if wait is None else [wait.due_ms, wait.timeout_ms]
        if wait is not None and wait.reason in ABSOLUTE:
            kept = wait.due_ms
        else:
            kept = None if left[0] is None else max(left[0] - now_ms, 0)
        turn.stop_timers(run)
        turn.add(
            Paused(
                run=run.id,
                node=run.node,
                at_ms=now_ms,
                reason=command.reason,
                due_left_ms=kept,
                timeout_left_ms=None if left[1] is None else max(left[1] - now_ms, 0),
            )
        )

    return pause


def _go(turn: Turn, run: Run) -> None:
    """Let a paused run go on: its wait ends after what was left of it."""
    now_ms, wait = turn.facts.now_ms, run.wait
    due_ms = timeout_ms = None
    if wait is not None and not wait.answered:
        moved = 0 if wait.reason in ABSOLUTE else now_ms
        due_ms = None if wait.due_left_ms is None else max(wait.due_left_ms + moved, now_ms)
        timeout_ms = None if wait.timeout_left_ms is None else wait.timeout_left_ms + now_ms
    turn.add(Unpaused(run=run.id, node=run.node, at_ms=now_ms, due_ms=due_ms, timeout_ms=timeout_ms))
    run = turn.run(run.id)
    if (
        wait is not None and wait.answered
    ):  # by a record, while it stood still: what it granted was given back
        turn.add(Resumed(run=run.id, node=run.node, at_ms=now_ms, by="contact"))
        act_again(turn, run.id)
        return
    turn.start_timers(run)
    if wait is None and not run.effect:  # the answer came while it stood still
        after_action(turn, run.id)
