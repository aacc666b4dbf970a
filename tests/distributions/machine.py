"""Random lives of a distribution: what has to hold for every mechanism at every step, whatever happens to it."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from orchestrator.core.errors import Rejected
from orchestrator.core.events import Event, Told
from orchestrator.distributions.admissions import Granted
from orchestrator.distributions.base import Distribution
from tests.support.room import RoomTest
from tests.support.timers import move_timers

PEOPLE = ("anna", "bert", "cleo", "dora", "emil", "fred")
ANSWERS = {
    "enter": {"entered"},
    "leave": {"left"},
    "complete": {"completed"},
    "refresh": {"updated"},
    "bid": {"updated"},
}
people = st.sampled_from(PEOPLE)


def word(told: Told) -> str:
    return told.type.removeprefix("distribution.")


def name_of(told: Told) -> str:
    return told.stream.split("/")[2]


class Machine(RuleBasedStateMachine):
    """Base of the mechanisms' machines: time, timers, asks and grants; they add their own commands and invariants."""

    kind: Distribution
    part: Mapping[str, Any]
    timers: frozenset[str]

    def __init__(self) -> None:
        super().__init__()
        self.set_up(self.part)

    def set_up(self, part: Mapping[str, Any]) -> None:
        """A new life under other rules."""
        self.room = RoomTest(self.kind, part)
        self.rows: dict[str, int] = {}  # the engine's table of timers
        self.holding: dict[str, str] = {}  # what journeys believe: participant -> jti
        self.jtis: list[str] = []
        self.heard: Counter[tuple[str, str]] = Counter()

    # What happens.

    def ask(self, who: str, action: str, **data: Any) -> list[Told]:
        """A journey asks and is answered exactly once, by the right word or by a refusal."""
        told = self.room.ask(who, action, **data)
        self.take_in(self.room.last, told)
        answers = [
            t for t in told if name_of(t) == who and word(t) in ANSWERS.get(action, set()) | {"refused"}
        ]
        assert len(answers) == 1, f"{action} of {who} was answered by {[t.type for t in told]}"
        if word(answers[0]) == "refused":
            assert answers[0].data["reason"].count(".") == 1, "a refusal has a name"
        return told

    def operate(self, type: str, **data: Any) -> bool:
        """A command from outside; False when it was rejected."""
        try:
            told = self.room.operate(type, **data)
        except Rejected:
            return False
        self.take_in(self.room.last, told)
        return True

    def take_in(self, events: list[Event], told: list[Told]) -> None:
        for event in events:
            move_timers(self.rows, event)
            if isinstance(event, Granted):
                assert 0 < len(event.grants) <= 1_000
        for one in told:
            self.heard[name_of(one), word(one)] += 1
            self.believe(one)

    def believe(self, told: Told) -> None:
        """What a journey makes of what it is told about its grant."""
        who, jti = name_of(told), told.data.get("jti")
        match word(told):
            case "admitted":
                assert self.holding.get(who, jti) == jti, "two live grants of one participant"
                if who not in self.holding:
                    assert jti not in self.jtis, "a grant's id is used twice"
                    self.jtis.append(jti)
                self.holding[who] = jti
            case "redeemed" | "expired":
                assert self.holding.pop(who) == jti, "the end of a grant nobody holds"
            case "left":
                self.holding.pop(who, None)

    @rule(ms=st.sampled_from((1, 400, 1_000, 3_000, 10_000, 61_000)), late=st.booleans())
    def time_passes(self, ms: int, late: bool) -> None:
        """Rows that are due fire, but may do so late."""
        self.room.now_ms += ms
        if not late:
            self.timers_fire()

    def timers_fire(self) -> None:
        """As the engine does."""
        for _ in range(50):
            due = [timer for timer, due_ms in self.rows.items() if due_ms <= self.room.now_ms]
            if not due:
                return
            for timer in due:
                del self.rows[timer]
                told = self.room.fire(timer)
                assert self.room.last, "a row that is due is decided"
                self.take_in(self.room.last, told)
        raise AssertionError("timers fire without end")

    @rule(who=people, action=st.sampled_from(("leave", "complete", "complete", "refresh", "claim")))
    def asks(self, who: str, action: str) -> None:
        self.ask(who, action)

    @rule(data=st.data(), type=st.sampled_from(("redeem", "revoke")))
    def ends_a_grant(self, data: st.DataObject, type: str) -> None:
        if not self.jtis:
            return
        jti = data.draw(st.sampled_from([*self.holding.values(), *self.jtis[-2:]]))
        held = jti in self.holding.values()
        done = self.operate(type, jti=jti)
        assert held or not done, "a grant that ended was used"

    # What holds.

    @invariant()
    def journeys_and_distribution_agree(self) -> None:
        if self.room.state is not None:
            live = {who: one.jti for who, one in self.room.state.admissions.live.items()}
            assert live == self.holding

    @invariant()
    def rows_are_known(self) -> None:
        """Few timers, by purpose; the state knows when each row is due; every end of a grant is looked after."""
        state = self.room.state
        if state is None:
            return
        assert state.armed == self.rows
        assert set(self.rows) <= self.timers
        end_ms = state.admissions.next_end_ms()
        if end_ms is not None:
            assert self.rows["expiry"] <= end_ms

    @invariant()
    def a_restart_changes_nothing(self) -> None:
        if self.room.state is not None:
            assert self.picture(self.room.replayed()) == self.picture(self.room.state)

    @invariant()
    def the_view_shows_no_name(self) -> None:
        if self.room.state is not None:
            view, label = self.kind.view(self.room.state), self.kind.label(self.room.state)
            assert label == self.kind.capture(self.room.state).label
            assert not [who for who in PEOPLE if who in repr(view) + label]

    def picture(self, state: Any) -> Any:
        """Everything a state holds, in a form that can be compared."""
        return deep(state)


def deep(value: Any) -> Any:
    """A comparable form of any state."""
    slots = [name for one in type(value).__mro__ for name in getattr(one, "__slots__", ())]
    if slots and not hasattr(value, "__struct_fields__"):
        return {name: deep(getattr(value, name)) for name in slots if name != "_heap"}
    if isinstance(value, dict):
        return {key: deep(one) for key, one in value.items()}
    return list(value) if hasattr(value, "typecode") else value
