"""What an action node does: it keeps quiet hours, asks whether the customer may be reached, and asks for the effect."""

from typing import Any, Final, NamedTuple

from orchestrator.core.events import CommandSent, EffectFailed, EffectRequested, TimerArmed
from orchestrator.core.rules import RuleFailed
from orchestrator.customers.contact import ASK, record_of
from orchestrator.journeys import effects
from orchestrator.journeys.flow.events import ActionSkipped, ActionStarted, Waiting
from orchestrator.journeys.flow.local_time import loud_ms
from orchestrator.journeys.flow.model import FAILURE, NEXT, Action, Node, Reach
from orchestrator.journeys.flow.placeholders import Unfilled
from orchestrator.journeys.flow.state import Run
from orchestrator.journeys.flow.turn import Turn
from orchestrator.journeys.flow.waits import zone_of

ANSWER_MS: Final = 3_600_000  # until a record's silence counts as no answer


class Grant(NamedTuple):
    """The record's yes. `reference`: of the contact that counts now; empty where none does."""

    record: str
    reference: str


class Leave(NamedTuple):
    """The node is done: the run leaves it by a branch."""

    branch: str = NEXT
    rule: str = ""


class Failure(NamedTuple):
    """The node couldn't do its work, by a stable word."""

    reason: str
    detail: str = ""


class Ended(NamedTuple):
    """The action has come to its end at once."""


Ending = Leave | Failure | Ended | None
"""How an action went; None: the run waits."""


def act(turn: Turn, node: Node, run: Run, grant: Grant | None = None) -> Ending:
    """Do what the node says, as far as it can be done now. A grant that isn't used is given back."""
    action = node.action
    assert action is not None
    reach = action.reach
    ending: Ending = None
    if not _quiet(turn, node, run):
        refusal = "" if reach is None else refused(turn, reach)
        if refusal:
            ending = skip(turn, node, run, refusal)
        elif grant is None and reach is not None and _must_ask(turn, reach):
            _ask(turn, node, run, reach)
        else:
            return _perform(turn, node, run, action, grant)
    if grant is not None and grant.reference:
        turn.give_back(*grant)
    return ending


def skip(turn: Turn, node: Node, run: Run, reason: str) -> Leave:
    """Let the action be: the customer may not be reached."""
    turn.add(ActionSkipped(run=run.id, node=node.id, visit=run.visits.get(node.id, 1), reason=reason))
    return Leave(FAILURE, reason) if FAILURE in node.edges else Leave()


def hold(turn: Turn, node: Node, run: Run, free_at_ms: int, hold_ms: int) -> bool:
    """Wait until a used-up cap permits another contact; False when that has been waited for long enough."""
    now_ms = turn.facts.now_ms
    until_ms = now_ms + hold_ms if run.hold_until_ms is None else run.hold_until_ms
    if now_ms >= until_ms:
        return False
    due_ms = min(max(free_at_ms, now_ms + 1_000), until_ms)
    _wait(turn, node, run, "cap", due_ms, hold_until_ms=until_ms)
    return True


def refused(turn: Turn, reach: Reach) -> str:
    """Why the customer may not be reached by the channel as the record stands now, caps apart; empty if they may."""
    record, channel = turn.facts.record, reach.channel
    if channel in record.get("suppressed", ()):
        return "suppressed"
    if reach.capped and "consent" not in record:
        return "no_record"
    if reach.capped and reach.message_class in record.get("contact", {}).get("unasked", ()):
        return ""
    return "" if record.get("consent", {}).get(channel) is True else "no_consent"


def _quiet(turn: Turn, node: Node, run: Run) -> bool:
    """Whether quiet hours hold the action back; the run then waits for their end."""
    if node.quiet is None:
        return False
    now_ms = turn.facts.now_ms
    zone, name = zone_of(turn, node)
    due_ms = loud_ms(now_ms, node.quiet, zone)
    if due_ms <= now_ms:
        return False
    _wait(turn, node, run, "quiet_hours", due_ms, zone=name)
    return True


def _must_ask(turn: Turn, reach: Reach) -> bool:
    """Whether a cap of the customer's record counts the contact. What is imported reaches nobody."""
    contact = turn.facts.record.get("contact", {})
    counts = reach.capped and reach.channel in contact.get("capped", ())
    return counts and not turn.facts.backfill and reach.message_class not in contact.get("exempt", ())


def _ask(turn: Turn, node: Node, run: Run, reach: Reach) -> None:
    facts = turn.facts
    reference = f"{run.id}/{node.id}/{run.visits.get(node.id, 1)}/{facts.version + 1}"
    until_ms = facts.now_ms + ANSWER_MS
    data: dict[str, Any] = {"channel": reach.channel, "reference": reference, "until_ms": until_ms}
    if reach.message_class:
        data["class"] = reach.message_class
    record = record_of(facts.stream.owner, facts.record["contact"]["record"])
    turn.add(CommandSent(stream=record, type=ASK, data=data))
    _wait(turn, node, run, "contact", until_ms, reference=reference)


def _wait(turn: Turn, node: Node, run: Run, reason: str, due_ms: int, **more: Any) -> None:
    visit = run.visits.get(node.id, 1)
    now_ms = turn.facts.now_ms
    turn.add(
        Waiting(run=run.id, node=node.id, visit=visit, at_ms=now_ms, reason=reason, due_ms=due_ms, **more)
    )
    turn.start_timers(turn.run(run.id))


def _perform(turn: Turn, node: Node, run: Run, action: Action, grant: Grant | None) -> Ending:
    """Ask for the effect."""
    counted = grant if grant is not None and grant.reference else None
    try:
        params, private = _params(turn, action, run)
    except RuleFailed as failure:
        if counted is not None:
            turn.give_back(*counted)
        return Failure(failure.reason, str(failure) if isinstance(failure, Unfilled) else node.pointer)
    effect = effects.effect_id(turn.facts, turn.effects)
    turn.effects += 1
    started = ActionStarted(
        run=run.id,
        node=node.id,
        visit=run.visits.get(node.id, 1),
        effect=effect,
        awaited=action.wait,
        contact=counted.reference if counted is not None else "",
        record=counted.record if counted is not None else "",
    )
    asked = EffectRequested(
        effect=effect,
        action=node.id,
        type=action.type,
        params=params,
        timeout_ms=action.policy.timeout_ms,
        private=private,
    )
    pending = len(turn.state.pending)
    events = effects.request(turn.facts, asked, pending=pending, policy=action.policy)
    turn.add(started, *events)
    never = next((event for event in events if isinstance(event, EffectFailed)), None)
    if never is not None and counted is not None:
        turn.give_back(*counted)
    if not action.wait:
        if never is not None:
            turn.failed(run, node.id, never.error)
        return Leave()
    return None if any(isinstance(event, TimerArmed) for event in events) else Ended()


def _params(turn: Turn, action: Action, run: Run) -> tuple[dict[str, Any], dict[str, Any]]:
    params: dict[str, Any] = {}
    private: dict[str, Any] = {}
    for name, param in action.params.items():
        kept = private if turn.personal(param, run) else params
        kept[name] = turn.value(param, run)
    return params, private
