"""One decision under way: the events so far, and the ledger as they leave it."""

from typing import Any

from orchestrator.core.decider import Facts
from orchestrator.core.errors import Rejected
from orchestrator.core.events import CommandSent, Event, TimerArmed, TimerCancelled
from orchestrator.customers.contact import BALANCE, record_of
from orchestrator.customers.points.events import AccountOpened, Expired
from orchestrator.customers.points.evolve import evolve
from orchestrator.customers.points.model import POINTS_MAX, Compiled
from orchestrator.customers.points.state import EXPIRY_TIMER, LedgerState


class Turn:
    """What happens in a decision, in order. Nothing of it counts if the decision is rejected."""

    def __init__(self, state: LedgerState | None, facts: Facts, now_ms: int) -> None:
        self.events: list[Event] = []
        self.now_ms = now_ms
        self.compiled: Compiled = facts.definition.compiled
        self.definition_version = facts.definition.version
        self._stream = facts.stream
        self._version = facts.version
        self._state = state
        self._before = None if state is None else state.balance

    @property
    def state(self) -> LedgerState:
        """The account as it stands now. Raises Rejected if there is none."""
        if self._state is None:
            raise Rejected("points.no_account")
        return self._state

    @property
    def transaction(self) -> str:
        """The id of the transaction that comes next: its event's version, which never comes again."""
        return f"t{self._version + len(self.events) + 1}"

    def add(self, event: Event) -> None:
        self.events.append(event)
        self._state = evolve(self._state, event)

    def open(self) -> None:
        """Find the account or open it."""
        if self._state is None:
            self.add(AccountOpened(self.compiled.currency, self.definition_version, self.now_ms))

    def expire(self) -> None:
        """End what is due, whether or not its timer has fired: nobody spends points after their time."""
        while self._state is not None:
            due_ms = self._state.next_expiry_ms
            if due_ms is None or due_ms > self.now_ms:
                break
            points = self._state.lots[0].points
            balance = self._state.balance - points
            self.add(Expired(self.transaction, -points, balance, self.now_ms, due_ms))

    def tell(self) -> None:
        """Tell the customer's record a balance that has changed, as the event before this one left it."""
        if not self.compiled.record or self._state is None or self._state.balance == self._before:
            return
        data = {
            "ledger": self._stream.definition,
            "balance": self._state.balance,
            "currency": self._state.currency,
            "revision": self._version + len(self.events),
        }
        self.add(CommandSent(record_of(self._stream.owner, self.compiled.record), BALANCE, data))

    def keep_timer(self, *, fired: bool) -> None:
        """One timer for the soonest expiry. It stays where it is when that moves away: firing early moves it."""
        if self._state is None:
            return
        due_ms, armed_ms = self._state.next_expiry_ms, self._state.timer_ms
        if due_ms is None:
            if armed_ms is not None:
                self.add(TimerCancelled(EXPIRY_TIMER))
        elif fired or armed_ms is None or due_ms < armed_ms:
            self.add(TimerArmed(EXPIRY_TIMER, due_ms))

    def within(self, change: int, maximum: int = POINTS_MAX) -> int:
        """The balance after points come in. Raises Rejected above `maximum`."""
        balance = self._state.balance if self._state is not None else 0
        if balance + change > maximum:
            raise Rejected("points.over_limit", **self._numbers("balance", maximum, change), balance=balance)
        return balance + change

    def enough(self, change: int) -> int:
        """The balance after points leave. Raises Rejected below the lowest that the document allows."""
        balance, lowest = self.state.balance, self.compiled.lowest
        if balance + change < lowest:
            raise Rejected(
                "points.insufficient_balance",
                balance=balance,
                points=-change,
                lowest=lowest,
                definition_version=self.definition_version,
            )
        return balance + change

    def check_award(self, points: int) -> None:
        """Raises Rejected for more points than one award may have."""
        if points > self.compiled.award_max:
            raise Rejected("points.over_limit", **self._numbers("award", self.compiled.award_max, points))

    def _numbers(self, limit: str, maximum: int, points: int) -> dict[str, Any]:
        return {
            "limit": limit,
            "maximum": maximum,
            "points": points,
            "definition_version": self.definition_version,
        }
