"""How a run goes from node to node, until it waits, ends or has gone too far in one decision."""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

from orchestrator.core.events import EffectFailed, EffectRequested, TimerArmed
from orchestrator.core.rules import RuleFailed
from orchestrator.journeys import effects
from orchestrator.journeys.flow.compile import BUCKETS
from orchestrator.journeys.flow.events import (
    ActionSkipped,
    ActionStarted,
    BranchTaken,
    NodeEntered,
    Resumed,
    Waiting,
)
from orchestrator.journeys.flow.local_time import loud_ms
from orchestrator.journeys.flow.model import DEFAULT, EXHAUSTED, FAILURE, NEXT, Action, Node
from orchestrator.journeys.flow.placeholders import Unfilled
from orchestrator.journeys.flow.state import CANCELLED, COMPLETED, FAILED, Run
from orchestrator.journeys.flow.turn import Turn
from orchestrator.journeys.flow.waits import BadInstant, plan, zone_of

STEPS_MAX: Final = 100  # nodes a run enters in one decision
DETAIL_CHARS_MAX: Final = 200


def travel(turn: Turn, run_id: str, node_id: str | None) -> None:
    """Enter a node and those that follow. None: the run has already come to rest."""
    steps = 0
    while node_id is not None:
        if steps == STEPS_MAX:
            turn.end(turn.run(run_id), FAILED, "too_many_steps")
            return
        steps += 1
        node_id = _enter(turn, run_id, node_id)


def go_on(turn: Turn, run: Run, branch: str = NEXT, **receipt: Any) -> None:
    """Leave the run's node by a branch, and travel on."""
    node = _here(turn, run)
    if node is not None:
        travel(turn, run.id, _leave(turn, node, run, branch, **receipt))


def act_again(turn: Turn, run_id: str) -> None:
    """Quiet hours are over: ask for the action now."""
    run = turn.run(run_id)
    node = _here(turn, run)
    if node is not None:
        travel(turn, run_id, _act(turn, node, run))


def after_action(turn: Turn, run_id: str) -> None:
    """The action a run waited for has ended: go where its result leads."""
    run = turn.run(run_id)
    node = _here(turn, run)
    if node is not None:
        travel(turn, run_id, _after(turn, node, run))


def fail(turn: Turn, run: Run, reason: str, detail: str = "") -> None:
    """Something at the run's node went wrong: its failure edge, or the run's end."""
    node = _here(turn, run)
    if node is not None:
        travel(turn, run.id, _fail(turn, node, run, reason, detail))


def _here(turn: Turn, run: Run) -> Node | None:
    """The run's node; None ends a run whose node this version doesn't have."""
    node = turn.compiled.nodes.get(run.node)
    if node is None:
        turn.end(run, FAILED, "unknown_node")
    return node


def _enter(turn: Turn, run_id: str, node_id: str) -> str | None:
    run = turn.run(run_id)
    node = turn.compiled.nodes.get(node_id)
    if node is None:
        turn.end(run, FAILED, "unknown_node")
        return None
    visit = run.visits.get(node_id, 0) + 1
    if node.max_visits and visit > node.max_visits:
        target = node.edges.get(EXHAUSTED)
        if target is None:  # not by the edge `failure`: it may lead back into the loop that is to end
            turn.failed(run, node_id, "max_visits")
            turn.end(run, FAILED, "max_visits")
            return None
        turn.add(BranchTaken(run=run_id, node=node_id, branch=EXHAUSTED, to=target))
        return target
    turn.add(NodeEntered(run=run_id, node=node_id, visit=visit, at_ms=turn.facts.now_ms))
    run = turn.run(run_id)
    if _exits(turn, run):
        return None
    match node.kind:
        case "start":
            return _leave(turn, node, run)
        case "action":
            return _act(turn, node, run)
        case "condition":
            return _ask(turn, node, run)
        case "split":
            return _split(turn, node, run)
        case "wait":
            return _wait(turn, node, run)
    turn.end(run, COMPLETED, "end", result=node.result)
    return None


def _leave(turn: Turn, node: Node, run: Run, branch: str = NEXT, **receipt: Any) -> str | None:
    target = node.edges.get(branch)
    if target is None:  # a version without the edge an older state waits for
        return _fail(turn, node, run, "no_edge", branch)
    if branch != NEXT:
        turn.add(BranchTaken(run=run.id, node=node.id, branch=branch, to=target, **receipt))
    return target


def _fail(turn: Turn, node: Node, run: Run, reason: str, detail: str = "") -> str | None:
    turn.failed(run, node.id, reason, detail[:DETAIL_CHARS_MAX])
    target = node.edges.get(FAILURE)
    if target is None:
        turn.end(run, FAILED, reason)
        return None
    turn.add(BranchTaken(run=run.id, node=node.id, branch=FAILURE, to=target, rule=reason))
    return target


def _exits(turn: Turn, run: Run) -> bool:
    """Whether a rule that ends the run at any step ends it here."""
    for exit in turn.compiled.exits:
        inputs: dict[str, Any] = {}
        if exit.type:
            continue
        try:
            if turn.holds(exit.when, run, inputs):
                turn.end(run, CANCELLED, exit.reason, rule=exit.pointer, inputs=inputs)
                return True
        except RuleFailed as failure:
            turn.broken(run, exit.pointer, failure)
    return False


def _ask(turn: Turn, node: Node, run: Run) -> str | None:
    inputs: dict[str, Any] = {}
    for index, branch in enumerate(node.branches):
        try:
            if turn.holds(branch.when, run, inputs):
                return _leave(turn, node, run, branch.id, rule=branch.pointer, index=index, inputs=inputs)
        except RuleFailed as failure:
            return _fail(turn, node, run, failure.reason, branch.pointer)
    return _leave(turn, node, run, DEFAULT, inputs=inputs)


def bucket_of(turn: Turn, node: Node) -> int:
    """The customer's bucket at a split, 0 to 9999: the same in every run and version with the same salt."""
    stream = turn.facts.stream
    text = f"{stream.owner.text}/{stream.definition}/{node.id}"
    hashed = blake2b(text.encode(), digest_size=8, key=node.salt.encode()[:64]).digest()
    return int.from_bytes(hashed, "big") % BUCKETS


def _split(turn: Turn, node: Node, run: Run) -> str | None:
    bucket = bucket_of(turn, node)
    for index, one in enumerate(node.buckets):
        if bucket < one.below:
            return _leave(
                turn, node, run, one.id, rule=node.pointer, index=index, bucket=bucket, holdout=one.holdout
            )
    return _fail(turn, node, run, "no_edge", "no bucket")


def _wait(turn: Turn, node: Node, run: Run) -> str | None:
    assert node.wait is not None
    try:
        waiting = plan(turn, node, run)
    except BadInstant:
        return _fail(turn, node, run, "bad_instant", f"{node.pointer}/until")
    except RuleFailed as failure:
        return _fail(turn, node, run, failure.reason, f"{node.pointer}/until")
    turn.add(waiting)
    now_ms = turn.facts.now_ms
    if waiting.due_ms is not None and waiting.due_ms <= now_ms:  # an instant already past
        turn.add(Resumed(run=run.id, node=node.id, at_ms=now_ms, by="time"))
        return _leave(turn, node, turn.run(run.id))
    turn.start_timers(turn.run(run.id))
    return None


def _act(turn: Turn, node: Node, run: Run) -> str | None:
    action, facts = node.action, turn.facts
    assert action is not None
    visit = run.visits.get(node.id, 1)
    if node.quiet is not None:
        zone, name = zone_of(turn, node)
        due_ms = loud_ms(facts.now_ms, node.quiet, zone)
        if due_ms > facts.now_ms:
            turn.add(
                Waiting(
                    run=run.id,
                    node=node.id,
                    visit=visit,
                    at_ms=facts.now_ms,
                    reason="quiet_hours",
                    due_ms=due_ms,
                    zone=name,
                )
            )
            turn.start_timers(turn.run(run.id))
            return None
    refusal = _refusal(turn, action)
    if refusal:
        turn.add(ActionSkipped(run=run.id, node=node.id, visit=visit, reason=refusal))
        if FAILURE in node.edges:
            return _leave(turn, node, run, FAILURE, rule=refusal)
        return _leave(turn, node, run)
    try:
        params, private = _params(turn, action, run)
    except Unfilled as failure:
        return _fail(turn, node, run, failure.reason, str(failure))
    except RuleFailed as failure:
        return _fail(turn, node, run, failure.reason, node.pointer)
    effect = effects.effect_id(facts, turn.effects)
    turn.effects += 1
    turn.add(ActionStarted(run=run.id, node=node.id, visit=visit, effect=effect, awaited=action.wait))
    asked = EffectRequested(
        effect=effect,
        action=node.id,
        type=action.type,
        params=params,
        timeout_ms=action.policy.timeout_ms,
        private=private,
    )
    pending = len(turn.state.pending)
    events = effects.request(facts, asked, pending=pending, policy=action.policy)
    turn.add(*events)
    if not action.wait:
        refused = next((event for event in events if isinstance(event, EffectFailed)), None)
        if refused is not None:
            turn.failed(run, node.id, refused.error)
        return _leave(turn, node, turn.run(run.id))
    if any(isinstance(event, TimerArmed) for event in events):
        return None  # until the answer
    return _after(turn, node, turn.run(run.id))


def _refusal(turn: Turn, action: Action) -> str:
    """Why the customer may not be reached on the action's channel; empty if they may."""
    if not action.consent:
        return ""
    record, channel = turn.facts.record, action.consent
    suppressed = record.get("suppressed", ())
    if channel in suppressed and (not isinstance(suppressed, Mapping) or suppressed[channel]):
        return "suppressed"
    return "" if record.get("consent", {}).get(channel) is True else "no_consent"


def _params(turn: Turn, action: Action, run: Run) -> tuple[dict[str, Any], dict[str, Any]]:
    params: dict[str, Any] = {}
    private: dict[str, Any] = {}
    for name, param in action.params.items():
        kept = private if turn.personal(param, run) else params
        kept[name] = turn.value(param, run)
    return params, private


def _after(turn: Turn, node: Node, run: Run) -> str | None:
    result = run.results.get(node.id, {})
    if result.get("success"):
        return _leave(turn, node, run)
    unknown = node.action.unknown if node.action is not None and result.get("unknown") else "fail"
    if unknown == "skip":
        return _leave(turn, node, run)
    if unknown == "ask":
        turn.add(
            Waiting(
                run=run.id,
                node=node.id,
                visit=run.visits.get(node.id, 1),
                at_ms=turn.facts.now_ms,
                reason="decision",
            )
        )
        return None
    return _fail(turn, node, run, result.get("error") or "action_failed")
