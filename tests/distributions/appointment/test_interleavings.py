from collections import Counter
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from orchestrator.core.errors import Rejected
from orchestrator.core.events import Told
from orchestrator.distributions.appointment import mechanism
from tests.distributions.appointment.bookings import HOUR_MS, MINUTE_MS, Bookings, plain, slot
from tests.support.room import answers

PEOPLE = st.sampled_from("abcdef")
SLOTS = st.sampled_from(["early", "late", "night"])
QUICK = (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)  # explaining a failure takes minutes here
ANSWER = {
    "enter": {"entered", "refused"},
    "book": {"admitted", "refused"},
    "cancel": {"left", "refused"},
    "leave": {"left", "refused"},
    "refresh": {"updated", "refused"},
}


class Interleavings(RuleBasedStateMachine):
    """Anybody asks anything at any time; grants are used, revoked and missed; slots change; timers fire late or at once."""

    def __init__(self) -> None:
        super().__init__()
        slots = [slot("early", 5, 2), slot("late", 10, 1), slot("night", 20, 3)]
        self.room = Bookings(slots=slots, again=True, cancel_until="1h", visit={"early": "1h", "late": "1h"})
        self.has: dict[str, tuple[str, str]] = {}  # by participant: held or booked, and the slot
        self.jtis: dict[str, str] = {}  # of live grants, by participant
        self.used: Counter[str] = Counter()  # by jti
        self.all: set[str] = set()

    @initialize(people=st.integers(0, 6))
    def begin(self, people: int) -> None:
        for number, who in enumerate("abcdef"[:people]):
            action, id = ("book", "enter")[number % 2], ("early", "late", "night")[number % 3]
            self.follow(self.room.ask(who, action, slot=id))

    @rule(
        who=PEOPLE,
        action=st.sampled_from(["book", *sorted(ANSWER)]),
        id=SLOTS | st.none(),
        times=st.integers(1, 2),
    )
    def ask(self, who: str, action: str, id: str | None, times: int) -> None:
        data = {} if id is None or action not in {"enter", "book"} else {"slot": id}
        for _ in range(times):
            told = self.room.ask(who, action, **data)
            words = [t.type.removeprefix("distribution.") for t in answers(told, who)]
            assert sum(word in ANSWER[action] for word in words) == 1, (action, words)
            assert len(told) == len(words), "somebody else is told"
            self.follow(told)

    @rule(who=PEOPLE, action=st.sampled_from(["enter", "book"]), id=SLOTS)
    def take(self, who: str, action: str, id: str) -> None:
        self.ask(who, action, id, 1)

    @rule(who=PEOPLE, type=st.sampled_from(["redeem", "redeem", "revoke"]), times=st.integers(1, 2))
    def use(self, who: str, type: str, times: int) -> None:
        jti = self.jtis.get(who, "0" * 24)
        for _ in range(times):
            if self.command(type, jti=jti) and type == "redeem":
                self.used[jti] += 1

    @rule(
        early=st.integers(1, 3),
        late=st.integers(0, 2),
        night=st.integers(1, 4),
        minutes=st.sampled_from([5, 10, 60]),
    )
    def configure(self, early: int, late: int, night: int, minutes: int) -> None:
        slots = [slot("early", 5, early), slot("night", 20, night)] + (
            [slot("late", 10, late)] if late else []
        )
        self.command("configure", slots=slots, hold=f"{minutes}m")

    @rule(type=st.sampled_from(["pause", "close", *["resume", "open"] * 3]))
    def steer(self, type: str) -> None:
        self.command(type)

    @rule(
        ms=st.sampled_from([MINUTE_MS, MINUTE_MS, 9 * MINUTE_MS, 2 * HOUR_MS]),
        then=st.sampled_from(["nothing", "all"]),
    )
    def wait(self, ms: int, then: str) -> None:
        self.room.now_ms += ms
        if then == "all":
            before = len(self.room.events)
            self.room.fire_due()
            for event in self.room.events[before:]:
                self.follow(list(event.tells()) if event.TELLS else [])

    def command(self, type: str, **data: Any) -> bool:
        try:
            self.follow(self.room.operate(type, **data))
        except Rejected:
            return False
        return True

    def follow(self, told: list[Told]) -> None:
        """What the participants were told is all the model knows."""
        for one in told:
            who, word, data = one.stream.split("/")[2], one.type.removeprefix("distribution."), one.data
            match word:
                case "entered":
                    self.has[who] = ("held", data["slot"])
                case "admitted":
                    assert data["jti"] == self.jtis.get(who) or data["jti"] not in self.all, (
                        "an old grant came back"
                    )
                    self.jtis[who] = data["jti"]
                    self.all.add(data["jti"])
                    if "slot" in data:
                        assert self.has[who] == ("booked", data["slot"])
                case "updated" if data["phase"] == "booked":
                    self.has[who] = ("booked", data["slot"])
                case "left" | "ended" | "expired" | "redeemed":
                    self.has.pop(who, None)
                    self.jtis.pop(who, None)

    @invariant()
    def nothing_is_oversold(self) -> None:
        state = self.room.state
        if state is None:
            return
        model = Counter(self.has.values())
        for id, places in state.slots.items():
            assert min(places.held, places.booked, places.used, places.free) >= 0
            assert (places.held, places.booked) == (model["held", id], model["booked", id])
        assert {id for _, id in self.has.values()} <= set(state.slots)
        assert {who: live.jti for who, live in state.admissions.live.items()} == self.jtis
        assert set(state.booked) == set(self.jtis)
        assert max(self.used.values(), default=0) <= 1
        assert state.admissions.held == len(self.jtis)

    @invariant()
    def nothing_is_forgotten(self) -> None:
        state = self.room.state
        if state is None:
            return
        assert len(state.armed) <= 4
        ends = [state.holds.get(who) for who in state.held]
        ends += [live.expires_ms for live in state.admissions.live.values()]
        if ends:
            assert state.armed["expiry"] <= max(min(ends), self.room.now_ms)
        if state.closed and state.held:
            assert "tick" in state.armed

    def teardown(self) -> None:
        if self.room.state is not None:
            assert plain(self.room.replayed()) == plain(self.room.state)


class SmallPortions(Interleavings):
    """The same with two holds a decision."""

    def __init__(self) -> None:
        super().__init__()
        self.portion, mechanism.AT_ONCE_MAX = mechanism.AT_ONCE_MAX, 2  # type: ignore[misc]

    def teardown(self) -> None:
        mechanism.AT_ONCE_MAX = self.portion  # type: ignore[misc]
        super().teardown()


def test_no_interleaving_oversells_a_slot_or_loses_an_answer() -> None:
    """Held + booked + used + free = capacity, one live grant each, used once, every ask has one answer, state == replay."""
    Interleavings.TestCase.settings = settings(
        max_examples=100, stateful_step_count=40, deadline=None, phases=QUICK
    )
    Interleavings.TestCase("runTest").runTest()


def test_portions_change_nothing_of_that() -> None:
    """Deciding in portions keeps the same promises."""
    SmallPortions.TestCase.settings = settings(
        max_examples=60, stateful_step_count=40, deadline=None, phases=QUICK
    )
    SmallPortions.TestCase("runTest").runTest()
