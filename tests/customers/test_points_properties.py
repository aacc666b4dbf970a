"""Whatever happens to an account: its balance is the sum of its transactions, and expiry is what a naive model says."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.decider import TimerFired
from orchestrator.core.events import TimerArmed, TimerCancelled
from orchestrator.customers.points import POINTS
from orchestrator.customers.points.commands import Award, Redeem, Reverse
from orchestrator.customers.points.events import Awarded, Expired, Redeemed, Reversed
from orchestrator.customers.points.state import REVERSIBLE_MAX
from tests.customers.specs import ledger, stored_and_read
from tests.support.spec import NOW_MS, Spec, Story

_HEAD = "{kind: points, id: ledger, currency: stars, "
SPECS = [
    ledger(_HEAD + "expiry: {after: 50ms}}"),
    ledger(_HEAD + "expiry: {after: 1s}, limits: {award: 20, balance: 60, overdraft: 15}}"),
    ledger(_HEAD + "limits: {balance: 100}}"),
]
TRANSACTIONS = (Awarded, Redeemed, Reversed, Expired)
_commands = st.one_of(
    st.builds(Award, st.integers(-1, 25), st.just("r")),
    st.builds(Redeem, st.integers(-1, 40), st.just("r")),
    st.builds(Reverse, st.integers(1, 30).map("t{}".format)),
    st.just(TimerFired("expiry", 0)),
)
_passes = st.sampled_from([0, 1, 7, 20, 60, 1_100])
_mixed = st.lists(st.tuples(st.sampled_from(SPECS), _commands, _passes), max_size=30)


class Naive:
    """One entry a point: when it ends (None: never). As slow and as plain as can be."""

    def __init__(self) -> None:
        self.points: list[int | None] = []
        self.debt = 0

    def award(self, points: int, expires_ms: int | None) -> None:
        for _ in range(points):
            if self.debt:
                self.debt -= 1
            else:
                self.points.append(expires_ms)

    def remove(self, points: int, *first: int | None) -> None:
        for _ in range(points):
            if not self.points:
                self.debt += 1
            elif first and first[0] in self.points:
                self.points.remove(first[0])
            else:
                self.points.remove(min(self.points, key=lambda end: (end is None, end or 0)))

    def expire(self, now_ms: int) -> None:
        self.points = [end for end in self.points if end is None or end > now_ms]

    @property
    def balance(self) -> int:
        return len(self.points) - self.debt


def at(command: Any, now_ms: int) -> Any:
    return TimerFired(command.timer, now_ms) if isinstance(command, TimerFired) else command


@settings(max_examples=200, deadline=None)
@given(_mixed)
def test_the_balance_is_the_sum_of_the_transactions(steps: list[tuple[Spec, Any, int]]) -> None:
    """And each says the balance after it; no step leads below its document's floor or, awarding, above its ceiling.

    `Story.when` asserts replay, snapshot and that no state is changed in place after every step.
    """
    story, now_ms, total = SPECS[0].given(), NOW_MS, 0
    for spec, command, passes in steps:
        now_ms += passes
        compiled = spec.definition.compiled
        story = Story(spec, story.events, state=story.state).when(at(command, now_ms), now_ms=now_ms)
        for event in story.new:
            assert stored_and_read(event) == event
            if isinstance(event, TRANSACTIONS):
                total += event.points
                assert event.balance == total
                assert event.points < 0 or not isinstance(event, Awarded) or total <= compiled.balance_max
                assert event.points > 0 or total >= min(compiled.lowest, 0)
        if story.state is None:
            continue
        assert story.state.balance == total
        assert sum(lot.points for lot in story.state.lots) == max(total, 0)
        assert all(lot.points > 0 for lot in story.state.lots)
        ids = [event.transaction for event in story.events if isinstance(event, TRANSACTIONS)]
        assert len(ids) == len(set(ids)) == story.state.transactions
        assert len(story.state.entries) <= REVERSIBLE_MAX


@settings(max_examples=200, deadline=None)
@given(_mixed)
def test_expiry_is_what_a_naive_model_says(steps: list[tuple[Spec, Any, int]]) -> None:
    """Point by point: what ends first goes first, what is due is gone, and overdrafts are paid back first."""
    story, now_ms, naive = SPECS[0].given(), NOW_MS, Naive()
    for spec, command, passes in steps:
        now_ms += passes
        story = Story(spec, story.events, state=story.state).when(at(command, now_ms), now_ms=now_ms)
        if story.rejected is not None:
            continue
        naive.expire(now_ms)
        for event in story.new:
            match event:
                case Awarded():
                    naive.award(event.points, event.expires_ms)
                case Redeemed():
                    naive.remove(-event.points)
                case Reversed(points=points) if points > 0:
                    naive.award(points, event.expires_ms)
                case Reversed():
                    naive.remove(-event.points, event.expires_ms)
        if story.state is not None:
            held = [lot.expires_ms for lot in story.state.lots for _ in range(lot.points)]
            assert story.state.balance == naive.balance
            assert held == sorted(naive.points, key=lambda end: (end is None, end or 0))


@settings(max_examples=200, deadline=None)
@given(_mixed)
def test_the_timer_is_armed_while_something_can_expire(steps: list[tuple[Spec, Any, int]]) -> None:
    """It never waits beyond the next end, and never for nothing."""
    story, now_ms, armed = SPECS[0].given(), NOW_MS, None
    for spec, command, passes in steps:
        now_ms += passes
        if isinstance(command, TimerFired):
            if armed is None or POINTS.deadline_ms(story.state, "expiry") > now_ms:
                continue  # the engine fires nothing that isn't armed and due
            armed = None
        story = Story(spec, story.events, state=story.state).when(at(command, now_ms), now_ms=now_ms)
        for event in story.new:
            if isinstance(event, TimerArmed):
                armed = event.due_ms
            elif isinstance(event, TimerCancelled):
                armed = None
        if story.state is not None:
            deadline_ms = POINTS.deadline_ms(story.state, "expiry")
            assert (armed is None) == (deadline_ms is None)
            assert armed == story.state.timer_ms
            assert armed is None or armed <= deadline_ms
