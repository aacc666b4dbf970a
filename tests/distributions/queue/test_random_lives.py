"""The queue under random interleavings, expiries, retries and late timers."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from orchestrator.core.events import Event, Told
from orchestrator.distributions.admissions import Granted
from orchestrator.distributions.queue import QUEUE, position
from orchestrator.distributions.queue.flow import BURST_MS
from tests.distributions.machine import PEOPLE, Machine, people, word

SECRET = "0123456789abcdef" * 4


class QueueMachine(Machine):
    kind = QUEUE
    part = {
        "opens_at": "2023-11-14T22:13:40Z",  # 20 s after the test's first moment
        "pre_queue": {"secret": SECRET},
        "rate_per_minute": 60,
        "concurrent": 3,
        "capacity": 5,
        "admission": {"valid": "30s"},
        "presence": {"timeout": "30s", "grace": "5s"},
    }
    timers = frozenset({"open", "close", "tick", "expiry", "absence"})

    def set_up(self, part: Any) -> None:
        super().set_up(part)
        self.line: list[str] = []  # in the order that has to hold, once the lot has decided it
        self.opened = False

    @initialize(
        slot=st.sampled_from(("until_redeemed", "until_expired")), again=st.booleans(), pre=st.booleans()
    )
    def begin(self, slot: str, again: bool, pre: bool) -> None:
        part: dict[str, Any] = dict(QueueMachine.part) | {
            "admission": {"valid": "30s", "slot": slot, "again": again}
        }
        if not pre:
            del part["pre_queue"], part["opens_at"]
        self.set_up(part)

    def take_in(self, events: list[Event], told: list[Told]) -> None:
        for event in events:
            name = type(event).__name__
            if name == "QueueOpened" and not self.opened:
                self.opened = True
                tickets = self.room.state.tickets  # who leaves by the same decision has none any more
                self.line.sort(key=lambda who: self.room.state.place(tickets[who]) if who in tickets else -1)
            elif name == "QueueEntered":
                self.line.append(event.participant)
            elif isinstance(event, Granted):
                chosen = [grant.participant for grant in event.grants]
                assert chosen == self.line[: len(chosen)], "admission is in turn"
                self.line = self.line[len(chosen) :]
                limit = self.room.state.flow.config.concurrent
                assert not limit or self.room.state.flow.inside <= limit
            elif name == "QueueLeft" and not event.inside:
                self.line.remove(event.participant)
            elif name in {"QueuePlacesFreed", "QueueDismissed"}:
                self.line = [who for who in self.line if who not in event.participants]
        super().take_in(events, told)

    @rule(several=st.lists(people, min_size=1, max_size=4))
    def enter(self, several: list[str]) -> None:
        for who in several:
            before = self.room.state.tickets.get(who) if self.room.state else None
            waited = who in self.line
            told = self.ask(who, "enter")
            entered = [t for t in told if word(t) == "entered"]
            if entered and (waited or who in self.holding):
                assert entered[0].data["ticket"] == before, "entering twice gives the same ticket"

    @rule(type=st.sampled_from(("open", "pause", "resume", "resume", "drain", "close", "open", "open")))
    def steers(self, type: str) -> None:
        self.operate(type)

    @rule(
        rate=st.sampled_from((6, 60, 6_000, None)),
        concurrent=st.sampled_from((1, 3, None)),
        capacity=st.integers(2, len(PEOPLE)),
    )
    def configures(self, rate: int | None, concurrent: int | None, capacity: int) -> None:
        state = self.room.state
        people_in = 0 if state is None else state.flow.waiting + state.flow.inside
        done = self.operate("configure", rate_per_minute=rate, concurrent=concurrent, capacity=capacity)
        assert done == (capacity >= people_in)

    @rule(count=st.integers(1, 3))
    def admits(self, count: int) -> None:
        self.operate("admit", count=count)

    @rule(
        who=st.lists(people, min_size=2, max_size=6),
        type=st.sampled_from(("absent", "absent", "present")),
        skew_ms=st.integers(-(10**9), 10**9),
    )
    def presence(self, who: list[str], type: str, skew_ms: int) -> None:
        data = {"participants": who}
        if type == "absent":
            data["since_ms"] = max(0, self.room.now_ms + skew_ms)
        self.operate(type, **data)

    @invariant()
    def numbers_add_up(self) -> None:
        state = self.room.state
        if state is None:
            return
        flow, admissions = state.flow, state.admissions
        assert flow.waiting == state.line.waiting == len(self.line)
        assert flow.inside == len(admissions.live) + len(state.slots)
        assert (
            admissions.granted
            == admissions.held + admissions.redeemed + admissions.expired + admissions.revoked
        )
        assert admissions.held == len(admissions.live)
        assert 0 <= flow.credit <= max(60_000, max(6_000, flow.config.rate_per_minute) * BURST_MS)

    @invariant()
    def positions_are_exact(self) -> None:
        state = self.room.state
        if state is None:
            return
        assert sorted(state.awaited()) == sorted(who for who in self.line if who not in state.absences)
        for who in PEOPLE:
            found = position(state, who)
            assert (found is not None) == (who in self.line)
            if found is not None and (self.opened or not state.flow.config.pre_queue):
                assert found.ahead == self.line.index(who)
        assert list(state.next(10)) == (
            self.line if self.opened or not state.flow.config.pre_queue else list(state.next(10))
        )

    @invariant()
    def whoever_can_go_on_will(self) -> None:
        state = self.room.state
        if state is None:
            return
        due_ms = state.flow.next_tick_ms(self.room.now_ms)
        if due_ms is not None:
            assert self.rows["tick"] <= max(due_ms, self.room.now_ms)
        if len(state.absences):
            assert self.rows["absence"] <= state.absences.next_ms


TestQueue = QueueMachine.TestCase
TestQueue.__doc__ = "Order, limits, answers, timers and replay hold in every life of a queue."
TestQueue.settings = settings(max_examples=80, stateful_step_count=50, deadline=None)
