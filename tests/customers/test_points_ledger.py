"""Awards, redemptions and reversals: what each does to the account, and when the ledger says no."""

from typing import Any

import pytest

from orchestrator.core.decider import EffectResult, TimerFired
from orchestrator.core.errors import Malformed
from orchestrator.core.events import CommandIgnored, TimerArmed
from orchestrator.customers.points import POINTS
from orchestrator.customers.points.commands import Award, Redeem, Reverse
from orchestrator.customers.points.events import AccountOpened, Awarded, Redeemed, Reversed
from orchestrator.customers.points.model import POINTS_MAX
from orchestrator.customers.points.state import REVERSIBLE_MAX
from tests.customers.specs import LEDGER, ledger
from tests.support.spec import NOW_MS, Story

DAY_MS = 86_400_000
PLAIN = ledger("{kind: points, id: ledger, currency: stars}")
LENT = ledger("{kind: points, id: ledger, currency: stars, limits: {balance: 100, overdraft: 50}}")


def rich(points: int = 100) -> Story:
    return PLAIN.given().when(Award(points, "welcome"))


def test_the_first_award_opens_the_account() -> None:
    """Nobody has to ask for an account; the transaction says its change and the balance after it."""
    rich().then(
        AccountOpened("stars", 1, NOW_MS),
        Awarded("t2", 100, 100, NOW_MS, 1, "welcome"),
    )


def test_later_awards_find_it() -> None:
    """An account is opened once; transactions are named by their place in the stream."""
    story = rich().when(Award(20, "order", "order-7"), now_ms=NOW_MS + 5)
    story.then(Awarded("t3", 20, 120, NOW_MS + 5, 1, "order", "order-7"))
    assert POINTS.view(story.state) == {"currency": "stars", "balance": 120, "transactions": 2}


def test_points_are_spent() -> None:
    """A redemption takes them away; the whole balance can be spent, and not a point more."""
    rich().when(Redeem(30, "voucher", "v-1")).then(Redeemed("t3", -30, 70, NOW_MS, 1, "voucher", "v-1"))
    assert rich().when(Redeem(100, "all")).state.balance == 0
    rich().when(Redeem(101, "more")).then_rejected(
        "points.insufficient_balance", balance=100, points=101, lowest=0
    )


def test_an_award_can_be_taken_back() -> None:
    """Once, as a whole."""
    story = rich().when(Award(20, "order")).when(Reverse("t3", "returned"))
    story.then(Reversed("t4", "t3", -20, 100, NOW_MS, 1, "returned"))
    story.when(Reverse("t3")).then_rejected("points.already_reversed", transaction="t3")


def test_an_award_already_spent_cant_be_taken_back() -> None:
    """Unless the document lets the account be overdrawn."""
    rich().when(Redeem(90, "voucher")).when(Reverse("t2")).then_rejected("points.insufficient_balance")
    lent = LENT.given().when(Award(100, "welcome")).when(Redeem(50, "voucher")).when(Reverse("t2"))
    assert (lent.state.balance, lent.label) == (-50, "OVERDRAWN")
    lent.when(Redeem(1, "more")).then_rejected("points.insufficient_balance", balance=-50, lowest=-50)


def test_what_comes_in_pays_an_overdraft_first() -> None:
    """Only the rest can be spent."""
    lent = LENT.given().when(Award(10, "welcome")).when(Redeem(40, "voucher"))
    story = lent.when(Award(35, "order"))
    assert (story.state.balance, sum(lot.points for lot in story.state.lots)) == (5, 5)


def test_spent_points_can_come_back() -> None:
    """A reversed redemption returns them, even above the highest balance of an award."""
    story = LENT.given().when(Award(100, "welcome")).when(Redeem(60, "voucher")).when(Award(60, "order"))
    story = story.when(Reverse("t3", "sold out"))
    story.then(Reversed("t5", "t3", 60, 160, NOW_MS, 1, "sold out"))
    story.when(Reverse("t3")).then_rejected("points.already_reversed")


def test_limits_of_the_document() -> None:
    """Too much at once, or too much in all, is refused with the limit's name and number."""
    LEDGER.given().when(Award(10_001, "x")).then_rejected("points.over_limit", limit="award", maximum=10_000)
    story = LENT.given().when(Award(90, "x"))
    story.when(Award(11, "x")).then_rejected("points.over_limit", limit="balance", maximum=100, balance=90)
    assert story.when(Award(10, "x")).state.balance == 100


def test_balances_have_64_bits() -> None:
    """The largest number can be reached, and not passed: neither by an award nor by a reversal."""
    story = rich(POINTS_MAX)
    story.when(Award(1, "x")).then_rejected("points.over_limit", maximum=POINTS_MAX)
    story = story.when(Redeem(5, "x")).when(Award(5, "x"))
    story.when(Reverse("t3")).then_rejected("points.over_limit", limit="balance", maximum=POINTS_MAX)


@pytest.mark.parametrize("command", [Award(0, "x"), Award(-5, "x"), Redeem(0, "x"), Redeem(-5, "x")])
def test_points_are_positive(command: Any) -> None:
    """An award of nothing is a mistake, and a negative one no way to redeem."""
    rich().when(command).then_rejected("points.not_positive", points=command.points)


@pytest.mark.parametrize("command", [Redeem(1, "x"), Reverse("t2")])
def test_without_an_account_there_is_nothing_to_spend(command: Any) -> None:
    """Only an award opens one."""
    PLAIN.given().when(command).then_rejected("points.no_account")


def test_unknown_transactions_are_named() -> None:
    """Reversals themselves, and transactions long past, can't be reversed."""
    story = rich().when(Award(20, "order")).when(Reverse("t3"))
    for transaction in ("t1", "t4", "t99", "nonsense"):
        story.when(Reverse(transaction)).then_rejected(
            "points.unknown_transaction", transaction=transaction, remembered=REVERSIBLE_MAX
        )


def test_the_memory_of_transactions_is_bounded() -> None:
    """The newest awards and redemptions can be reversed, as many as are remembered."""
    story = rich()
    for _ in range(REVERSIBLE_MAX):
        story = story.when(Award(1, "x"))
    story.when(Reverse("t2")).then_rejected("points.unknown_transaction")
    assert story.when(Reverse("t3")).of(Reversed)
    assert len(story.state.entries) == REVERSIBLE_MAX


def test_the_newest_document_counts() -> None:
    """Accounts aren't pinned: a new limit holds for everybody at once. The currency stays."""
    story = rich(100)
    story = Story(LENT, story.events, state=story.state)
    story.when(Award(1, "x")).then_rejected("points.over_limit", maximum=100)
    assert story.when(Redeem(150, "x")).state.balance == -50
    assert Story(LEDGER, story.events, state=story.state).when(Award(1, "x")).state.currency == "stars"


@pytest.mark.parametrize(
    "command", [TimerFired("expiry", NOW_MS), TimerFired("x", NOW_MS), EffectResult("e1-0", 1, "failed")]
)
def test_strange_answers_are_ignored(command: Any) -> None:
    """A timer that isn't armed and an effect nobody asked for change nothing."""
    for story in (PLAIN.given(), rich()):
        assert isinstance(story.when(command).new[0], CommandIgnored)


def test_an_account_without_expiry_arms_no_timer() -> None:
    """Points that never expire wait for nothing."""
    assert not rich().of(TimerArmed)
    assert POINTS.deadline_ms(rich().state, "expiry") is None


@pytest.mark.parametrize(
    ("type", "data", "command"),
    [
        ("award", {"points": 5, "reason": "r"}, Award(5, "r")),
        ("award", {"points": 5, "reason": "r", "reference": "o-1"}, Award(5, "r", "o-1")),
        ("award", {"points": -5, "reason": "r"}, Award(-5, "r")),
        ("redeem", {"points": POINTS_MAX, "reason": "r"}, Redeem(POINTS_MAX, "r")),
        ("reverse", {"transaction": "t2"}, Reverse("t2")),
        ("reverse", {"transaction": "t2", "reason": "r"}, Reverse("t2", "r")),
    ],
)
def test_commands_are_read(type: str, data: dict[str, Any], command: Any) -> None:
    """Each command's data becomes its typed form."""
    assert POINTS.parse(type, data) == command


@pytest.mark.parametrize(
    ("type", "data", "word"),
    [
        ("award", {"reason": "r"}, "points"),
        ("award", {"points": 5}, "reason"),
        ("award", {"points": 5.0, "reason": "r"}, "whole"),
        ("award", {"points": "5", "reason": "r"}, "whole"),
        ("award", {"points": True, "reason": "r"}, "whole"),
        ("award", {"points": 2**63, "reason": "r"}, "64"),
        ("award", {"points": 5, "reason": ""}, "reason"),
        ("award", {"points": 5, "reason": "r" * 201}, "200"),
        ("award", {"points": 5, "reason": "r", "reference": 7}, "reference"),
        ("award", {"points": 5, "reason": "r", "program": 1}, "program"),
        ("reverse", {}, "transaction"),
        ("earn", {}, "award, redeem, reverse"),
    ],
)
def test_malformed_commands_name_the_field(type: str, data: dict[str, Any], word: str) -> None:
    """What doesn't have a command's shape is refused with the field's name."""
    with pytest.raises(Malformed, match=word):
        POINTS.parse(type, data)
    with pytest.raises(Malformed):
        POINTS.parse_raw(type, data)
