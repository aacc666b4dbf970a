"""How a run goes from node to node, until it waits, ends or has gone too far in one decision."""

from hashlib import blake2b
from typing import Any, Final

from orchestrator.core.rules import RuleFailed
from orchestrator.journeys.flow.acting import Ended, Ending, Failure, Grant, Leave, act, hold, skip
from orchestrator.journeys.flow.compile import BUCKETS
from orchestrator.journeys.flow.events import BranchTaken, NodeEntered, Resumed, Waiting
from orchestrator.journeys.flow.model import DEFAULT, EXHAUSTED, FAILURE, NEXT, Node
from orchestrator.journeys.flow.state import CANCELLED, COMPLETED, FAILED, Run
from orchestrator.journeys.flow.turn import Turn
from orchestrator.journeys.flow.waits import BadInstant, plan

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


def act_again(turn: Turn, run_id: str, grant: Grant | None = None) -> None:
    """What held the action back is over: do it now."""
    run = turn.run(run_id)
    node = _here(turn, run)
    if node is not None:
        travel(turn, run_id, _act(turn, node, run, grant))
    elif grant is not None and grant.reference:
        turn.give_back(*grant)


def refuse(turn: Turn, run_id: str, reason: str, free_at_ms: int | None) -> None:
    """The customer may not be reached: wait for a cap if the document says so, else let the action be."""
    run = turn.run(run_id)
    node = _here(turn, run)
    if node is None:
        return
    reach = None if node.action is None else node.action.reach
    hold_ms = 0 if reach is None else reach.hold_ms
    if free_at_ms is None or not hold_ms or not hold(turn, node, run, free_at_ms, hold_ms):
        travel(turn, run_id, _follow(turn, node, run, skip(turn, node, run, reason)))


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


def _act(turn: Turn, node: Node, run: Run, grant: Grant | None = None) -> str | None:
    return _follow(turn, node, run, act(turn, node, run, grant))


def _follow(turn: Turn, node: Node, run: Run, ending: Ending) -> str | None:
    """Where an action's end leads."""
    match ending:
        case Leave(branch, rule):
            receipt = {"rule": rule} if rule else {}
            return _leave(turn, node, turn.run(run.id), branch, **receipt)
        case Failure(reason, detail):
            return _fail(turn, node, turn.run(run.id), reason, detail)
        case Ended():
            return _after(turn, node, turn.run(run.id))
    return None


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
