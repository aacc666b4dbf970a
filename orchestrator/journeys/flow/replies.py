"""What the customer's record answers to a run that asked for a contact, and what becomes of a contact nobody used."""

from orchestrator.core.errors import Rejected
from orchestrator.core.events import CommandIgnored, EffectFailed
from orchestrator.customers.contact import is_record_of
from orchestrator.journeys.effects import TIMED_OUT, Settled
from orchestrator.journeys.flow.acting import Grant
from orchestrator.journeys.flow.commands import ContactReply
from orchestrator.journeys.flow.doubt import in_doubt
from orchestrator.journeys.flow.events import ContactAnswered, Resumed
from orchestrator.journeys.flow.state import FlowState, Run
from orchestrator.journeys.flow.travel import act_again, fail, refuse
from orchestrator.journeys.flow.turn import Turn


def reply(turn: Turn, command: ContactReply) -> None:
    """The record's answer. Raises Rejected when it is somebody else's."""
    facts = turn.facts
    record = facts.teller
    if not is_record_of(facts.stream.owner, record):
        raise Rejected("flow.not_told_by_the_record")
    grant = Grant(record, command.reference if command.counted else "")
    run = _asker(turn.state, command.reference)
    if run is None or run.paused:
        if run is not None:
            turn.add(_receipt(turn, run, command))
        if grant.reference:
            turn.give_back(*grant)
        elif run is None:
            turn.add(CommandIgnored(reason="contact_not_awaited"))
        return
    turn.add(_receipt(turn, run, command))
    turn.stop_timers(run)
    turn.add(Resumed(run=run.id, node=run.node, at_ms=facts.now_ms, by="contact"))
    if command.granted:
        act_again(turn, run.id, grant)
    elif command.reason == "late":
        fail(turn, turn.run(run.id), TIMED_OUT)
    else:
        refuse(turn, run.id, command.reason, command.free_at_ms)


def unused_contact(state: FlowState, settled: Settled) -> tuple[str, str] | None:
    """The contact (record and reference) of an effect that has for certain not reached the customer: it doesn't count."""
    effect = settled.effect
    failed = next((event for event in settled.events if isinstance(event, EffectFailed)), None)
    if effect is None or failed is None or in_doubt(failed):
        return None
    return state.contacts.get(effect.effect)


def _asker(state: FlowState, reference: str) -> Run | None:
    """The run that waits for the answer."""
    for run in state.runs.values():
        wait = run.wait
        if wait is not None and wait.reference == reference and not wait.answered:
            return run
    return None


def _receipt(turn: Turn, run: Run, command: ContactReply) -> ContactAnswered:
    return ContactAnswered(
        run=run.id,
        node=run.node,
        reference=command.reference,
        granted=command.granted,
        at_ms=turn.facts.now_ms,
        reason=command.reason,
        free_at_ms=command.free_at_ms,
    )
