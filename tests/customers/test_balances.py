"""Balances: what a ledger tells the record, and what rules read of it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.decider import TimerFired
from orchestrator.core.events import CommandSent
from orchestrator.customers.points.commands import Award, Redeem, Reverse
from orchestrator.customers.points.events import Redeemed
from orchestrator.customers.record import shown
from orchestrator.customers.record.account import LEDGERS_MAX
from orchestrator.customers.record.events import BalanceTold, Described
from tests.customers.specs import PROFILE, ledger
from tests.customers.told import Kept
from tests.support.spec import NOW_MS, Story

RECORD = "acme/c/anna/customer:profile"
LEDGER = "acme/c/anna/points:ledger"
TELLING = ledger("{kind: points, id: ledger, currency: stars, record: profile, expiry: {after: 30d}}")


def told(story: Story) -> list[dict[str, Any]]:
    """What the last events tell."""
    assert {event.stream for event in story.of(CommandSent)} <= {RECORD}
    return [event.data for event in story.of(CommandSent) if event.type == "account.balance"]


def balance(points: int, revision: int, ledger: str = "ledger") -> dict[str, Any]:
    return {"ledger": ledger, "balance": points, "currency": "stars", "revision": revision}


def test_a_ledger_tells_every_new_balance() -> None:
    """Awards, redemptions, reversals and expiries, each once, with the version of the stream it stands for."""
    story = TELLING.given().when(Award(100, "welcome"))
    assert told(story) == [balance(100, len(story.events) - 1)]
    story = story.when(Redeem(30, "voucher"))
    assert told(story) == [balance(70, len(story.events) - 1)]
    story = story.when(Reverse(story.of(Redeemed)[0].transaction))
    assert told(story) == [balance(100, len(story.events) - 1)]
    due_ms = story.state.next_expiry_ms
    story = story.when(TimerFired("expiry", due_ms), now_ms=due_ms)
    assert told(story)[-1]["balance"] == story.state.balance < 100


def test_one_decision_tells_one_balance() -> None:
    """The one it ends with, however many transactions it took; a balance that stays the same isn't told."""
    story = TELLING.given().when(Award(100, "a"))
    later_ms = story.state.next_expiry_ms
    after = story.when(Award(5, "b"), now_ms=later_ms)
    assert told(after) == [balance(5, len(after.events) - 1)]
    assert told(story.when(Award(100, "b"), now_ms=later_ms)) == []


def test_a_ledger_whose_document_names_no_record_tells_nobody() -> None:
    """No event more than before."""
    plain = ledger("{kind: points, id: ledger, currency: stars}")
    assert told(plain.given().when(Award(100, "welcome"))) == []


def test_rules_read_the_balance_the_ledger_told() -> None:
    """Of a customer nobody described, too; the account makes nobody known."""
    kept = Kept(PROFILE).told(LEDGER, "account.balance", balance(140, 3))
    assert kept.new == [BalanceTold("ledger", 140, "stars", 3, NOW_MS)]
    account = {"ledger": {"balance": 140, "currency": "stars"}, "points_balance": 140}
    assert shown(kept.state) == {"account": account}
    assert not kept.of(Described)
    kept.send("identify", {"attributes": {"tier": "gold"}})
    assert shown(kept.state)["account"] == account


@given(st.permutations(range(1, 8)), st.integers(0, 6))
def test_a_balance_never_goes_back(order: list[int], again: int) -> None:
    """In whatever order, and told again: the one of the ledger's latest version stays."""
    kept = Kept(PROFILE)
    for revision in [*order, order[again]]:
        kept.told(LEDGER, "account.balance", balance(revision * 10, revision))
    assert kept.state.accounts["ledger"].balance == 70
    assert kept.reason == "older_than_stored"


@pytest.mark.parametrize(
    "sender",
    ["acme/c/anna/points:other", "acme/c/bob/points:ledger", "acme/c/anna/flow:news", ""],
    ids=["another-ledger", "another-customer", "a-flow", "outside"],
)
def test_only_the_ledger_itself_tells_its_balance(sender: str) -> None:
    """Neither another ledger, nor somebody else's, nor a service outside."""
    kept = Kept(PROFILE)
    data = balance(1_000_000, 9)
    (kept.told(sender, "account.balance", data) if sender else kept.send("account.balance", data))
    assert kept.rejected == "customer.not_told_by_the_ledger"


def test_of_several_ledgers_the_main_one_is_meant() -> None:
    """`points_balance` is the one called ledger; without it, and with several, none is."""
    kept = Kept(PROFILE)
    for name, points in (("miles", 5), ("stars", 7)):
        kept.told(f"acme/c/anna/points:{name}", "account.balance", balance(points, 2, name))
    account = shown(kept.state)["account"]
    assert (account["miles"]["balance"], account["stars"]["balance"]) == (5, 7)
    assert "points_balance" not in account
    kept.told(LEDGER, "account.balance", balance(9, 2))
    assert shown(kept.state)["account"]["points_balance"] == 9


def test_a_record_keeps_so_many_ledgers_and_no_more() -> None:
    """One more is refused; those that are kept go on telling."""
    kept = Kept(PROFILE)
    for n in range(LEDGERS_MAX + 1):
        kept.told(f"acme/c/anna/points:l{n}", "account.balance", balance(n, 1, f"l{n}"))
    assert kept.rejected == "customer.too_many_ledgers"
    kept.told("acme/c/anna/points:l0", "account.balance", balance(8, 2, "l0"))
    assert len(kept.state.accounts) == LEDGERS_MAX
    assert kept.state.accounts["l0"].balance == 8


def test_forgetting_forgets_balances() -> None:
    """What was told before is gone and doesn't come back; the ledger's next change is told again."""
    kept = Kept(PROFILE).told(LEDGER, "account.balance", balance(140, 3))
    kept.wait(1_000).send("forget", {})
    kept.told(LEDGER, "account.balance", balance(150, 4), occurred_ms=kept.now_ms - 1)
    assert kept.reason == "older_than_forgetting"
    assert shown(kept.state) == {}
    kept.told(LEDGER, "account.balance", balance(160, 5))
    assert shown(kept.state)["account"]["points_balance"] == 160
