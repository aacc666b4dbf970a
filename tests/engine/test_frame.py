from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from orchestrator.core.errors import Undecidable
from orchestrator.engine.envelope import Recorded
from orchestrator.engine.frame import Frame, Snapshot
from tests.support.memory import NOW_MS, SECRET, STREAM, Engine, command, frame, same

_TIMERS = st.sampled_from(["a", "b#1", "#"])
_PRIVATE: st.SearchStrategy[dict[str, str]] = st.just({}) | st.dictionaries(
    st.sampled_from(["name", "mail"]), st.text(max_size=3), min_size=1
)
_COMMANDS: st.SearchStrategy[tuple[str, dict[str, Any]]] = st.one_of(
    st.tuples(st.just("add"), st.builds(lambda n, p: {"n": n, "private": p}, st.integers(-2, 5), _PRIVATE)),
    st.tuples(
        st.just("arm"), st.builds(lambda t, d: {"timer": t, "delay_ms": d}, _TIMERS, st.integers(0, 300))
    ),
    st.tuples(st.just("disarm"), st.builds(lambda t: {"timer": t}, _TIMERS)),
    st.tuples(
        st.just("arm"),
        st.builds(lambda t, d: {"timer": t, "delay_ms": d, "carried": True}, _TIMERS, st.integers(0, 300)),
    ),
    st.tuples(st.just("disarm"), st.builds(lambda t: {"timer": t, "carried": True}, _TIMERS)),
    st.tuples(st.just("ask"), st.just({})),
    st.tuples(
        st.just("misbehave"), st.sampled_from([{"how": "raise"}, {"how": "unstorable"}, {"how": "evolve"}])
    ),
)


class Lane(RuleBasedStateMachine):
    """A working frame beside its log: batches, repeats, timers, snapshots, failures."""

    @initialize()
    def begin(self) -> None:
        self.engine = Engine()
        self.frame = frame()
        self.now_ms = NOW_MS
        self.rows: dict[str, Any] = {}
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.snapshots: list[tuple[Snapshot, int, bytes]] = []

    @rule(
        new=st.lists(_COMMANDS, max_size=5),
        again=st.lists(st.integers(0, 50), max_size=3),
        late_ms=st.integers(0, 200),
    )
    def handle(self, new: list[tuple[str, dict[str, Any]]], again: list[int], late_ms: int) -> None:
        self.now_ms += late_ms
        batch = self.engine.batch(self.now_ms)
        known = len(self.sent)
        self.sent += new
        numbers = [*range(known, len(self.sent)), *(n % len(self.sent) for n in again if self.sent)]
        for number in numbers:
            type_, data = self.sent[number]
            try:
                batch.decide(self.frame, command(type_, id=f"k{number}", data=data))
            except Undecidable:
                assert type_ == "misbehave"
        self._keep(batch)

    @rule(late_ms=st.integers(0, 400))
    def fire(self, late_ms: int) -> None:
        self.now_ms += late_ms
        batch = self.engine.batch(self.now_ms)
        for row in sorted(self.rows.values(), key=lambda r: r.due_ms):
            if row.due_ms <= self.now_ms:
                batch.fire(self.frame, row, self.now_ms)
        self._keep(batch)

    @rule(late_ms=st.integers(0, 400))
    def backfill(self, late_ms: int) -> None:
        batch = self.engine.batch(self.now_ms)
        self.sent.append(("add", {"n": 1}))
        moment = self.now_ms + late_ms
        batch.decide(
            self.frame, command(id=f"k{len(self.sent) - 1}", data={"n": 1}, time_ms=moment, backfill=True)
        )
        self._keep(batch)

    @rule()
    def snapshot(self) -> None:
        one = self.frame
        state = None if one.state is None else one.kind.dump(one.state)
        timers: Any = {name: tuple(timer) for name, timer in one.timers.items()}
        taken = Snapshot(STREAM.text, self.now_ms, one.definition_version, state, timers)
        stored = self.engine.codec.encode_snapshot(taken, self.engine.keys.key_for_writing)
        self.engine.keys.make_durable()
        key_of = self.engine.keys.fetch({STREAM.owner.text}).__getitem__
        read = self.engine.codec.decode_snapshot(stored, key_of)
        self.snapshots.append((read, one.version, bytes(one.keys.packed)))

    @rule()
    def forget(self) -> None:
        self.frame = self.engine.rebuilt()

    @invariant()
    def the_log_says_the_same(self) -> None:
        same(self.engine.rebuilt(), self.frame)
        assert [r.version for r in self.engine.log] == list(range(1, len(self.engine.log) + 1))

    @invariant()
    def timers_are_rows(self) -> None:
        assert set(self.rows) == set(self.frame.timers)

    @invariant()
    def every_snapshot_and_its_tail_say_the_same(self) -> None:
        for snapshot, version, keys in self.snapshots:
            one = Frame(STREAM, self.frame.kind)
            one.restore(snapshot, version, keys)
            for recorded in self.engine.log[version:]:
                one.apply(self.engine.decoded(recorded), SECRET)
            same(one, self.frame)

    def _keep(self, batch: Any) -> None:
        events: list[Recorded] = self.engine.commit(batch)
        assert not events or events[0].envelope.index == 0
        for (_, name), row in batch.timers.items():
            if row is None:
                self.rows.pop(name, None)
            else:
                self.rows[name] = row


TestAFrameIsItsLog = Lane.TestCase
TestAFrameIsItsLog.__doc__ = "Whatever happened, a frame in memory, one rebuilt from the log, and one from any snapshot and its tail are equal."
TestAFrameIsItsLog.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
