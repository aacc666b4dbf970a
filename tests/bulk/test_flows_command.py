"""`orchestrator flows` and `orchestrator bulk` as operators use them, with a worker running."""

import json
import secrets
from typing import Any

import pytest

from tests.bulk.scenes import DEFINITION
from tests.cli.conftest import Shop

pytestmark = pytest.mark.xdist_group("bulk-shop")  # one installation for all


def start(shop: Shop, customers: list[str], times: int = 1) -> None:
    lines = [
        json.dumps({"subject": f"default/c/{name}/flow:{DEFINITION}", "type": "start", "id": f"{name}-{n}"})
        for name in customers
        for n in range(times)
    ]
    assert {row["outcome"] for row in shop.publish(*lines)} == {"applied"}


def runs(shop: Shop, customer: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = shop.ask("flows", "runs", DEFINITION, "--customer", customer)
    return found


def test_a_customers_runs_are_paused_resumed_and_cancelled(shop: Shop, customers: list[str], until) -> None:
    """Each operation ends DONE with the previewed count, and the runs are as it says."""
    name, other, _ = customers
    start(shop, [name, other], times=2)
    only = ("--customer", name, "--yes")
    done = shop.ask("flows", "pause", DEFINITION, *only, "--reason", "a test")
    assert (done["state"], done["told"], done["expected"], done["reason"]) == ("DONE", 2, 2, "a test")
    until(lambda: {run["state"] for run in runs(shop, name)} == {"PAUSED"})
    assert {run["state"] for run in runs(shop, other)} == {"WAITING"}
    assert shop.ask("flows", "resume", DEFINITION, *only)["told"] == 2
    until(lambda: {run["state"] for run in runs(shop, name)} == {"WAITING"})
    assert shop.ask("flows", "cancel", DEFINITION, *only, "--run", "r1")["told"] == 1
    until(lambda: len(runs(shop, name)) == 1)
    assert len(runs(shop, other)) == 2
    operations = {row["operation"]: row["state"] for row in shop.ask("bulk", "list", "--limit", "1000")}
    assert done["operation"] in operations
    assert shop.ask("bulk", "show", done["operation"])["told"] == 2


def test_a_dry_run_counts_and_does_nothing(shop: Shop, customers: list[str]) -> None:
    """The count is by state and node, and no operation is made."""
    start(shop, customers[:1], times=2)
    before = shop.ask("bulk", "list", "--limit", "1000")
    found = shop.ask("flows", "cancel", DEFINITION, "--customer", customers[0], "--dry-run")
    assert [(row["state"], row["runs"]) for row in found] == [("WAITING", 2)]
    assert {run["state"] for run in runs(shop, customers[0])} == {"WAITING"}
    assert len(shop.ask("bulk", "list", "--limit", "1000")) == len(before)


def test_it_asks_before_it_begins(shop: Shop, customers: list[str]) -> None:
    """The preview is shown, and a no ends with 1 and leaves the runs alone."""
    start(shop, customers[:1])
    refused = shop.call("flows", "cancel", DEFINITION, "--customer", customers[0], stdin="n\n")
    assert refused.code == 1
    assert "1 WAITING at wait" in refused.err
    assert "Cancel 1 runs?" in refused.err
    assert len(runs(shop, customers[0])) == 1


def test_what_does_not_fit_is_said(shop: Shop, customers: list[str]) -> None:
    """Unknown flows, operations and options that contradict end with their codes and a cure."""
    assert shop.call("flows", "cancel", DEFINITION, "--run", "r1", "--yes").code == 2
    assert shop.call("flows", "pause", DEFINITION, "--state", "LOST").code == 2
    assert shop.call("flows", "pause", DEFINITION, "--started-after", "yesterday").code == 2
    assert shop.call("flows", "pause", DEFINITION, "--reason", "x" * 201, "--yes").code == 2
    assert shop.call("bulk", "pause", "any", "--reason", "x" * 201).code == 2
    nobody = shop.call("flows", "pause", DEFINITION, "--customer", customers[2], "--yes")
    assert (nobody.code, "nothing to pause" in nobody.err) == (1, True)
    unknown = shop.call("flows", "show", "no-such-flow")
    assert (unknown.code, "orchestrator flows list" in unknown.err) == (1, True)
    lost = shop.call("bulk", "show", "no-such-operation")
    assert (lost.code, "orchestrator bulk list" in lost.err) == (1, True)


def test_an_operation_that_is_over_takes_no_command(shop: Shop, customers: list[str]) -> None:
    """What can't be done any more is refused by name."""
    start(shop, customers[:1])
    done = shop.ask("flows", "cancel", DEFINITION, "--customer", customers[0], "--yes")
    for verb in ("pause", "resume", "cancel"):
        refused = shop.call("bulk", verb, done["operation"])
        assert refused.code == 1
        assert "bulk.over" in refused.err


def begun_and_paused(shop: Shop, customer: str) -> str:
    """An operation that was paused before it found anything: both commands are decided in one batch."""
    operation = f"held-{customer}"
    subject = f"default/r/bulk-{operation}/bulk:operation"
    query = {"definition": DEFINITION, "customer": customer}
    begin = {"subject": subject, "type": "begin", "data": {"command": "cancel", "query": query}}
    pause = {"subject": subject, "type": "pause", "data": {"reason": "look first"}}
    outcomes = shop.publish(json.dumps(begin), json.dumps(pause))
    assert [row["outcome"] for row in outcomes] == ["applied", "applied"]
    return operation


def test_a_held_operation_goes_on_or_is_given_up(shop: Shop, customers: list[str]) -> None:
    """Paused it tells nobody; resumed it goes to its end; cancelled it is over, and following it says so."""
    goes_on, given_up, first_ever = customers
    start(shop, customers)
    shop.ask("flows", "cancel", DEFINITION, "--customer", first_ever, "--yes")  # publishes the document
    first, second = begun_and_paused(shop, goes_on), begun_and_paused(shop, given_up)
    for operation in (first, second):
        held = shop.ask("bulk", "show", operation)
        assert (held["state"], held["told"]) == ("PAUSED", 0)
    assert shop.ask("bulk", "resume", first)["state"] in {"RUNNING", "DONE"}
    done = shop.ask("bulk", "show", first, "--follow")
    assert (done["state"], done["told"]) == ("DONE", 1)
    assert shop.ask("bulk", "cancel", second, "--reason", "not needed")["state"] == "CANCELLED"
    assert shop.call("bulk", "show", second, "--follow").code == 1
    assert [run["state"] for run in runs(shop, given_up)] == ["WAITING"]


def test_detached_it_goes_on_by_itself(shop: Shop, customers: list[str]) -> None:
    """Whoever doesn't wait finds it later."""
    start(shop, customers)
    began = shop.ask("flows", "cancel", DEFINITION, "--node", "wait", "--detach", "--yes")
    done = shop.ask("bulk", "show", began["operation"], "--follow")
    assert done["state"] == "DONE"
    assert done["told"] >= len(customers)


def test_flows_tell_where_their_runs_are(shop: Shop, customers: list[str], until) -> None:
    """The list counts customers by state, the flow its runs by version, state and node."""
    start(shop, customers, times=2)

    def waiting() -> int:
        found = shop.ask("flows", "show", DEFINITION)["runs"]
        return sum(row["runs"] for row in found if (row["state"], row["node"]) == ("WAITING", "wait"))

    def listed() -> Any:
        (row,) = [row for row in shop.ask("flows", "list") if row["flow"] == DEFINITION]
        return row

    until(lambda: waiting() >= 2 * len(customers))
    until(lambda: listed()["waiting"] >= len(customers))  # other tests' runs may have been counted above
    row = listed()
    assert row["version"] == shop.ask("flows", "show", DEFINITION)["newest"]
    assert len(shop.ask("flows", "runs", DEFINITION, "--limit", "2")) == 2
    assert "WAITING" in shop.call("flows", "show", DEFINITION).out


def test_another_organization_is_not_concerned(shop: Shop, customers: list[str]) -> None:
    """An operation sees the customers of its own organization alone."""
    start(shop, customers[:1])
    ended = shop.call(
        "flows", "cancel", DEFINITION, "--organization", f"other{secrets.token_hex(3)}", "--yes"
    )
    assert ended.code == 1
    assert len(runs(shop, customers[0])) == 1


def test_operations_are_what_their_log_says(shop: Shop, customers: list[str], until) -> None:
    """Folded again from the log, an operation and the runs it ended are the rows that were saved."""
    start(shop, customers)
    operations = [
        shop.ask("flows", "cancel", DEFINITION, "--customer", name, "--yes")["operation"]
        for name in customers
    ]
    until(lambda: not any(runs(shop, name) for name in customers))
    until(
        lambda: set(operations) <= {row["operation"] for row in shop.ask("bulk", "list", "--limit", "1000")}
    )
    verified = shop.call("replay", "--verify")
    assert verified.code == 0, verified.out + verified.err
