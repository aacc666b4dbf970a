"""The timed release under random interleavings, expiries, retries and late timers."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from orchestrator.core.events import Event, Told
from orchestrator.distributions.timed_release import TIMED_RELEASE
from tests.distributions.machine import PEOPLE, Machine, people, word

WINDOWS = [
    {"at": "2023-11-14T22:13:20Z", "quantity": 2},
    {"at": "2023-11-14T22:13:30Z", "quantity": 3},
    {"at": "2023-11-14T22:14:30Z", "quantity": 1},
]


class ReleaseMachine(Machine):
    kind = TIMED_RELEASE
    part = {"windows": WINDOWS, "hold": "8s", "limit": 3}
    timers = frozenset({"window", "close", "expiry"})

    def set_up(self, part: Any) -> None:
        super().set_up(part)
        self.bought: dict[str, int] = {}
        self.units: dict[str, int] = {}  # of live holds

    @initialize(closes=st.booleans())
    def begin(self, closes: bool) -> None:
        self.set_up(dict(ReleaseMachine.part) | ({"closes_at": "2023-11-14T22:15:00Z"} if closes else {}))

    def believe(self, told: Told) -> None:
        super().believe(told)
        who = told.stream.split("/")[2]
        if word(told) == "admitted":
            self.units[who] = told.data["quantity"]
        elif word(told) == "redeemed":
            self.bought[who] = self.bought.get(who, 0) + self.units.pop(who)
        elif word(told) in {"expired", "left"}:
            self.units.pop(who, None)

    def take_in(self, events: list[Event], told: list[Told]) -> None:
        super().take_in(events, told)
        for event in events:
            if type(event).__name__ == "Granted":
                assert event.expires_ms - event.at_ms in {8_000, 2_000}

    @rule(who=people, quantity=st.sampled_from((1, 1, 2, 3, 4, 0, "two", None, True)))
    def enter(self, who: str, quantity: Any) -> None:
        self.ask(who, "enter", **({} if quantity is None else {"quantity": quantity}))

    @rule(type=st.sampled_from(("open", "pause", "resume", "resume", "close", "open")))
    def steers(self, type: str) -> None:
        self.operate(type)

    @rule(first=st.integers(1, 6), hold=st.sampled_from(("8s", "2s")), limit=st.integers(1, 3))
    def configures(self, first: int, hold: str, limit: int) -> None:
        windows = [WINDOWS[0] | {"quantity": first}, *WINDOWS[1:]]
        taken = sum(self.bought.values()) + sum(self.units.values())
        done = self.operate("configure", windows=windows, hold=hold, limit=limit)
        stock = self.room.state.stock.stock if self.room.state else 0
        assert taken <= stock or not done

    @invariant()
    def units_add_up(self) -> None:
        """Held, sold and free units are the stock; the limits of each customer hold."""
        state = self.room.state
        if state is None:
            return
        stock, admissions = state.stock, state.admissions
        assert stock.held == admissions.held == sum(self.units.values())
        assert stock.sold == admissions.redeemed == sum(self.bought.values())
        assert stock.free >= 0
        assert stock.held + stock.sold + stock.free == stock.stock == stock.config.stock(stock.windows)
        assert state.bought == self.bought
        assert set(state.participations) == set(self.holding)
        assert all(self.bought.get(who, 0) + self.units.get(who, 0) <= 3 for who in PEOPLE)

    @invariant()
    def windows_come(self) -> None:
        state = self.room.state
        if state is not None and state.stock.next_ms is not None:
            assert self.rows["window"] <= state.stock.next_ms


TestTimedRelease = ReleaseMachine.TestCase
TestTimedRelease.__doc__ = (
    "Conservation, limits, answers, timers and replay hold in every life of a timed release."
)
TestTimedRelease.settings = settings(max_examples=80, stateful_step_count=50, deadline=None)
