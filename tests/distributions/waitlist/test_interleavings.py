from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from orchestrator.core.errors import Rejected
from orchestrator.core.events import CommandIgnored, Told
from orchestrator.distributions.waitlist import mechanism
from tests.distributions.waitlist.lists import MINUTE_MS, List, plain
from tests.support.room import answers

PEOPLE = st.sampled_from("abcdefgh")
ANSWER = {
    "enter": {"entered", "refused"},
    "leave": {"left", "refused"},
    "cancel": {"left", "refused"},
    "claim": {"completed", "refused"},
    "refresh": {"updated", "refused"},
}


QUICK = (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)  # explaining a failure takes minutes here


class Interleavings(RuleBasedStateMachine):
    """Anybody asks anything at any time, operators too; timers fire late, or many at once. A plain list is the model."""

    def __init__(self) -> None:
        super().__init__()
        self.room = List()
        self.order: list[str] = []
        self.ends: dict[str, int] = {}

    @initialize(people=st.integers(0, 8))
    def join(self, people: int) -> None:
        for who in "abcdefgh"[:people]:
            self.follow(self.room.ask(who, "enter"))

    @rule(who=PEOPLE, action=st.sampled_from(["enter", *sorted(ANSWER)]), times=st.integers(1, 2))
    def ask(self, who: str, action: str, times: int) -> None:
        for _ in range(times):
            told = self.room.ask(who, action)
            words = [t.type.removeprefix("distribution.") for t in answers(told, who)]
            assert sum(word in ANSWER[action] for word in words) == 1, (action, words)
            if action == "claim" and "completed" in words:
                assert self.ends.get(who, 0) > self.room.now_ms
            self.follow(told)

    @rule(data=st.data(), type=st.sampled_from(["promote", "move", "remove", "configure"]))
    def operate(self, data: Any, type: str) -> None:
        given = {
            "promote": {"count": data.draw(st.sampled_from([1, 1, 2, 3]))},
            "move": {
                "participant": data.draw(PEOPLE),
                "to": data.draw(st.integers(1, 4)),
                "reason": "chance",
            },
            "remove": {"participant": data.draw(PEOPLE), "reason": "chance"},
            "configure": {"capacity": data.draw(st.none() | st.integers(1, 8))},
        }[type]
        self.command(type, **given)

    @rule(type=st.sampled_from(["pause", "resume", "resume", "drain", "close", "open", "open"]))
    def steer(self, type: str) -> None:
        self.command(type)

    @rule(minutes=st.integers(1, 40), then=st.sampled_from(["nothing", "one", "all"]))
    def wait(self, minutes: int, then: str) -> None:
        self.room.now_ms += minutes * MINUTE_MS
        if then == "all" and self.room.state is not None:
            before = len(self.room.events)
            self.room.fire_due()
            for event in self.room.events[before:]:
                self.follow(list(event.tells()) if event.TELLS else [])
        elif then == "one" and self.room.state is not None and self.room.state.armed:
            self.follow(self.room.fire(min(self.room.state.armed)))

    def command(self, type: str, **data: Any) -> None:
        try:
            told = self.room.operate(type, **data)
        except Rejected:
            return
        if type == "move" and not isinstance(self.room.last[-1], CommandIgnored):
            self.order.remove(data["participant"])
            self.order.insert(data["to"] - 1, data["participant"])
        self.follow(told)

    def follow(self, told: list[Told]) -> None:
        """What the participants were told is all the model knows."""
        for one in told:
            who, word = one.stream.split("/")[2], one.type.removeprefix("distribution.")
            match word:
                case "entered" if who not in self.order and who not in self.ends:
                    self.order.append(who)
                case "offered" if who not in self.ends:
                    assert self.order[0] == who, "offered out of order"
                    self.order.remove(who)
                    self.ends[who] = one.data["expires_ms"]
                case "left" | "ended" | "completed" | "expired":
                    if word == "expired":
                        assert self.ends[who] <= self.room.now_ms
                    if who in self.order:
                        self.order.remove(who)
                    self.ends.pop(who, None)

    @invariant()
    def places_are_conserved(self) -> None:
        state = self.room.state
        if state is None:
            return
        assert state.promised == state.claimed + len(state.offers) + state.free
        assert min(state.claimed, state.free) >= 0
        assert self.room.waiting == self.order
        assert self.room.offered == self.ends
        assert set(state.tickets) == {*self.order, *self.ends}
        assert len(state.armed) <= 4

    @invariant()
    def nothing_is_forgotten(self) -> None:
        state = self.room.state
        if state is None:
            return
        if state.free and self.order and not state.paused and not state.closed:
            assert state.armed.get("tick", 10**18) <= self.room.now_ms
        if self.ends:
            assert state.armed["expiry"] <= max(min(self.ends.values()), self.room.now_ms)
        if state.closed and self.order:
            assert "tick" in state.armed

    def teardown(self) -> None:
        if self.room.state is not None:
            assert plain(self.room.replayed()) == plain(self.room.state)


class SmallPortions(Interleavings):
    """The same with two participants a decision."""

    def __init__(self) -> None:
        super().__init__()
        self.portion, mechanism.AT_ONCE_MAX = mechanism.AT_ONCE_MAX, 2  # type: ignore[misc]

    def teardown(self) -> None:
        mechanism.AT_ONCE_MAX = self.portion  # type: ignore[misc]
        super().teardown()


def test_no_interleaving_loses_a_place_or_an_answer() -> None:
    """Offers go in order, one each, promised = claimed + offered + free, every ask has one answer, state == replay."""
    Interleavings.TestCase.settings = settings(
        max_examples=120, stateful_step_count=40, deadline=None, phases=QUICK
    )
    Interleavings.TestCase("runTest").runTest()


def test_portions_change_nothing_of_that() -> None:
    """Deciding in portions keeps the same promises."""
    SmallPortions.TestCase.settings = settings(
        max_examples=80, stateful_step_count=40, deadline=None, phases=QUICK
    )
    SmallPortions.TestCase("runTest").runTest()
