"""The auction under random interleavings, expiries, retries and late timers, in both styles."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from orchestrator.core.events import Event, Told
from orchestrator.distributions.auction import AUCTION
from orchestrator.distributions.auction.settling import settle
from orchestrator.distributions.auction.verifying import verify
from tests.distributions.machine import PEOPLE, Machine, name_of, people, word

ENGLISH = {
    "style": "english", "start": 10, "reserve": 30, "increment": 5, "payment": "8s", "quantity": 2,
    "opens_at": "2023-11-14T22:13:22Z", "closes_at": "2023-11-14T22:14:00Z",
    "extend": {"within": "5s", "by": "7s", "limit": 3},
}  # fmt: skip
DUTCH = {
    "style": "dutch", "start": 60, "reserve": 20, "drop": {"by": 7, "every": "3s"}, "payment": "8s", "quantity": 2,
}  # fmt: skip


class AuctionMachine(Machine):
    kind = AUCTION
    part = ENGLISH
    timers = frozenset({"open", "close", "tick", "expiry"})

    def set_up(self, part: Any) -> None:
        super().set_up(part)
        self.won: set[str] = set()  # by journeys that were ever admitted
        self.over: set[str] = set()

    @initialize(english=st.booleans(), quantity=st.integers(1, 3))
    def begin(self, english: bool, quantity: int) -> None:
        self.set_up((ENGLISH if english else DUTCH) | {"quantity": quantity})

    def take_in(self, events: list[Event], told: list[Told]) -> None:
        super().take_in(events, told)
        for one in told:
            who = name_of(one)
            if word(one) == "admitted":
                self.won.add(who)
            if word(one) == "not_selected":
                assert who not in self.over, "told twice that it is over"
                assert who not in self.holding
                self.over.add(who)
            for other in PEOPLE:
                assert other == who or other not in repr(one.data), "somebody else's name is told"

    @rule(several=st.lists(people, min_size=1, max_size=4))
    def enter(self, several: list[str]) -> None:
        for who in several:
            self.ask(who, "enter")

    @rule(
        bids=st.lists(
            st.tuples(people, st.sampled_from((-1, 0, 0, 0, 3, 25)), st.booleans()), min_size=1, max_size=4
        )
    )
    def bid(self, bids: list[tuple[str, int, bool]]) -> None:
        """Bids around what is just enough; a refused one changes nothing."""
        for who, more, odd in bids:
            state = self.room.state
            if state is None or state.sale.config.style == "english":
                least = 10 if state is None else state.standing.minimum(who, state.sale.config)
            else:
                least = state.sale.price_at(self.room.now_ms)
            before = 0 if state is None else state.sale.bids
            told = self.ask(who, "bid", amount="much" if odd and more < 0 else least + more)
            refused = [t for t in told if word(t) == "refused"]
            assert self.room.state.sale.bids == before + (not refused)
            if more < 0:
                assert refused

    @rule(type=st.sampled_from(("open", "pause", "resume", "resume", "close")))
    def steers(self, type: str) -> None:
        self.operate(type)

    @rule(reserve=st.sampled_from((0, 20, 30, 40)), increment=st.integers(1, 5))
    def configures(self, reserve: int, increment: int) -> None:
        state = self.room.state
        bids, before = (0, reserve) if state is None else (state.sale.bids, state.sale.config.reserve)
        done = self.operate("configure", reserve=reserve, increment=increment)
        assert not (done and bids and reserve > before)

    @invariant()
    def units_add_up(self) -> None:
        """Held, sold and free units are the quantity; nobody has two."""
        state = self.room.state
        if state is None:
            return
        sale, admissions = state.sale, state.admissions
        assert sale.held == admissions.held == len(state.prices) == len(self.holding)
        assert sale.sold == admissions.redeemed == len(state.sold_to)
        assert sale.free >= 0
        assert sale.held + sale.sold + sale.free == sale.config.quantity
        assert not state.sold_to & set(self.holding)

    @invariant()
    def the_log_proves_the_outcome(self) -> None:
        """The bids alone say who won, and who comes next."""
        assert list(verify(self.room.events)) == []
        state = self.room.state
        if state is None or state.sale.config.style == "dutch":
            return
        bids = [event.bid for event in self.room.events if type(event).__name__ == "BidPlaced"]
        for event in self.room.events:
            if type(event).__name__ == "AuctionClosed":
                assert list(event.winners) == settle(bids, state.sale.config)
                if state.sale.free:
                    assert state.promoted == len(state.line), (
                        "a unit is free while somebody who bid enough waits"
                    )
                assert self.won == set(state.line[: state.promoted])

    @invariant()
    def everybody_hears_the_end(self) -> None:
        state = self.room.state
        if state is None or state.sale.phase != "closed" or self.rows.get("tick"):
            return
        losers = set(state.losers)
        assert losers <= self.over
        waiting = set(state.line[state.promoted :])
        if state.sale.final:
            assert waiting <= self.over
        else:
            assert all(self.heard[who, "settling"] >= 1 for who in waiting)
        if (
            state.sale.config.style == "english"
        ):  # in a Dutch one, who lost a unit unpaid may hear the end too
            assert self.won.isdisjoint(self.over)

    @invariant()
    def the_close_is_looked_after(self) -> None:
        state = self.room.state
        if state is not None and state.sale.phase == "open" and state.sale.closes_ms:
            assert self.rows["close"] <= state.sale.closes_ms
            assert state.sale.extended <= state.sale.config.extensions


TestAuction = AuctionMachine.TestCase
TestAuction.__doc__ = (
    "Conservation, order of bids, answers, timers and replay hold in every life of an auction."
)
TestAuction.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
