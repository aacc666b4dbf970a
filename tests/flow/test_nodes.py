"""Conditions, splits, loops and ends."""

from typing import Any

from orchestrator.journeys.flow.commands import Start
from orchestrator.journeys.flow.events import BranchTaken, NodeEntered, NodeFailed, RunEnded, RunStarted
from orchestrator.journeys.flow.travel import STEPS_MAX
from tests.flow.graphs import LOG, document, world
from tests.flow.world import World, definition

TIER = {
    "kind": "condition",
    "branches": [
        {"id": "gold", "when": {">=": [{"var": "points"}, 1000]}},
        {"id": "silver", "when": {">=": [{"var": "points"}, 100]}},
    ],
}
TIERS: list[tuple[str, ...]] = [
    ("tier", "gold", "gold"), ("tier", "silver", "silver"), ("tier", "done", "default")
]  # fmt: skip
ENDS = {"gold": {"kind": "end", "result": "gold"}, "silver": {"kind": "end", "result": "silver"}}


def test_the_first_branch_that_holds_is_taken() -> None:
    """Branches are asked in order; the receipt names the rule, its place, its branch and what it read."""
    for points, branch, index in ((5_000, "gold", 0), (500, "silver", 1), (5, "default", -1)):
        flow = world({"tier": TIER, **ENDS}, TIERS, context={"points": 0}).do(Start({"points": points}))
        (taken,) = flow.of(BranchTaken)
        assert (taken.branch, taken.index, taken.inputs) == (branch, index, {"points": points})
        assert taken.rule == ("" if index < 0 else f"/nodes/tier/branches/{index}/when")


def test_a_rule_that_fails_ends_the_run_by_name() -> None:
    """Nothing is guessed: the run fails with the reason, and the timeline says at which rule."""
    broken = {"kind": "condition", "branches": [{"id": "x", "when": {"-": [{"var": "points"}, 1]}}]}
    edges: list[tuple[str, ...]] = [("tier", "other", "x"), ("tier", "done", "default")]
    other = {"other": {"kind": "end"}}
    flow = world({"tier": broken, **other}, edges, context={"points": "many"}).do(Start())
    (failed,) = flow.of(NodeFailed)
    assert (failed.node, failed.reason, failed.detail) == (
        "tier",
        "type_error",
        "/nodes/tier/branches/0/when",
    )
    assert (flow.last.state, flow.last.reason) == ("FAILED", "type_error")


def test_a_rule_over_its_budget_goes_to_the_failure_edge() -> None:
    """The document says where: the run goes on there."""
    rule = {"!!": [{"map": [{"merge": [{"var": "list"}] * 60}, {"+": [{"var": ""}, 1]}]}]}
    tier = {"kind": "condition", "branches": [{"id": "x", "when": rule}]}
    edges: list[tuple[str, ...]] = [
        ("tier", "other", "x"), ("tier", "done", "default"), ("tier", "lost", "failure")
    ]  # fmt: skip
    ends = {"other": {"kind": "end"}, "lost": {"kind": "end", "result": "lost"}}
    flow = world({"tier": tier, **ends}, edges, context={"list": []}).do(Start({"list": [1] * 1_500}))
    assert flow.of(NodeFailed)[0].reason == "over_budget"
    assert flow.of(RunEnded)[0].result == "lost"
    assert flow.of(BranchTaken)[0].rule == "over_budget"


def _split(salt: str = "", **more: Any) -> dict[str, Any]:
    split = {
        "kind": "split",
        "salt": salt,
        "branches": [{"id": "a", "weight": 70}, {"id": "b", "weight": 29.5}, {"id": "c", "weight": 0.5}],
    }
    edges: list[tuple[str, ...]] = [("fork", "done", "a"), ("fork", "b", "b"), ("fork", "c", "c")]
    return document({"fork": split, "b": {"kind": "end"}, "c": {"kind": "end"}}, edges, **more)


def _bucket(customer: str, salt: str = "", version: int = 1) -> tuple[int, str]:
    flow = World(definition(_split(salt, reentry="always"), version), customer=customer)
    (taken,) = flow.do(Start()).of(BranchTaken)
    (again,) = flow.do(Start()).of(BranchTaken)
    assert (taken.bucket, taken.branch) == (again.bucket, again.branch), "sticky over runs"
    return taken.bucket, taken.branch


def test_a_split_is_sticky_and_shares_as_its_weights_say() -> None:
    """A customer has one bucket in every run and version; many customers share like the weights."""
    found = [_bucket(f"customer-{n}") for n in range(2_000)]
    assert found[:20] == [_bucket(f"customer-{n}", version=2) for n in range(20)]
    share = sum(branch == "a" for _, branch in found) / len(found)
    assert abs(share - 0.7) < 0.04
    for bucket, branch in found:
        assert branch == ("a" if bucket < 7_000 else "b" if bucket < 9_950 else "c")


def test_another_salt_mixes_anew() -> None:
    """Two experiments don't put the same customers together."""
    buckets = [(_bucket(f"c-{n}")[0], _bucket(f"c-{n}", "other")[0]) for n in range(50)]
    assert sum(one == other for one, other in buckets) < 3


def test_a_loop_ends_at_its_bound() -> None:
    """The node is entered max_visits times; then the branch exhausted is taken, or the run fails by name."""
    loop = {"again": {"kind": "wait", "for": "1h", "max_visits": 3}}
    edges: list[tuple[str, ...]] = [("ask", "again", "default"), ("ask", "done", "never")]
    ask = {"ask": {"kind": "condition", "branches": [{"id": "never", "when": {"==": [1, 2]}}]}}
    flow = world({**loop, **ask}, edges).do(Start()).wait(10**9)
    assert [event.visit for event in flow.all(NodeEntered) if event.node == "again"] == [1, 2, 3]
    assert (flow.last.state, flow.last.reason) == ("FAILED", "max_visits")
    flow = world({**loop, **ask}, [*edges, ("again", "ask", "failure")]).do(Start()).wait(10**9)
    assert flow.last.reason == "max_visits", "a failure edge back into the loop doesn't keep it going"
    flow = world({**loop, **ask}, [*edges, ("again", "done", "exhausted")]).do(Start()).wait(10**9)
    assert (flow.last.state, flow.all(BranchTaken)[-1].branch) == ("COMPLETED", "exhausted")


def test_a_run_that_goes_too_far_at_once_fails_alone() -> None:
    """A loop without a rest is stopped by the bound on nodes a decision; the customer's other run is unhurt."""
    ask = {
        "kind": "condition",
        "max_visits": 1_000,
        "branches": [{"id": "rest", "when": {"var": "calm"}}, {"id": "out", "when": {"var": "out"}}],
    }
    flow = world(
        {"ask": ask, "rest": {"kind": "wait", "for": "1d"}},
        [("ask", "ask", "default"), ("ask", "rest", "rest"), ("ask", "done", "out")],
        context={"calm": False, "out": False},
        reentry="always",
        runs_at_once=2,
    )
    flow.do(Start({"calm": True})).do(Start())
    assert len(flow.of(NodeEntered)) == STEPS_MAX
    assert (flow.last.run, flow.last.reason) == (flow.all(RunStarted)[1].run, "too_many_steps")
    assert flow.label == "WAITING rest"


def test_a_run_ends_with_the_label_of_its_end() -> None:
    """Completed, with the end's result; the label shows state and node, without runs NOT_STARTED is said."""
    flow = world({"act": {**LOG, "wait": False}}).do(Start())
    (ended,) = flow.of(RunEnded)
    assert (ended.state, ended.reason, ended.result, ended.node) == ("COMPLETED", "end", "done", "done")
    assert flow.label == "COMPLETED done"
