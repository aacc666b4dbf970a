"""Random commands against random documents: no surprise, whatever comes in whatever order."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.core.decider import EffectResult, TimerFired
from orchestrator.core.messages import TELLING_SOURCE
from orchestrator.journeys.effects import PENDING_MAX
from orchestrator.journeys.flow.commands import (
    SEGMENT_ENTERED,
    Cancel,
    ContactReply,
    Continue,
    HandleEvent,
    Pause,
    Resume,
    Start,
)
from orchestrator.journeys.flow.state import RUNS_MAX, WATCHED_MAX
from orchestrator.journeys.flow.travel import STEPS_MAX
from tests.flow.documents import EVENTS, flows
from tests.flow.world import DAY, World, definition

SECRETS = ("secret-record@example.com", "secret-event@example.com", "secret-context@example.com", "Annabel")
RECORD = {
    "attributes": {"n": 4},
    "private": {"email": SECRETS[0], "name": SECRETS[3]},
    "zone": "Europe/Berlin",
    "consent": {"email": True},
    "contact": {"record": "profile", "capped": ("email",), "exempt": ["exempt"], "unasked": []},
}
PROFILE = "acme/c/anna/customer:profile"
_payloads = st.fixed_dictionaries(
    {},
    optional={
        "n": st.sampled_from([1, 5, "5", None, [], 10**30, 1.5]),
        "email": st.just(SECRETS[1]),
        "x": st.text(max_size=3),
    },
)
_contexts = st.sampled_from([{}, {"flag": True}, {"hidden": SECRETS[2]}, {"unknown": 1}])


@st.composite
def _command(draw: st.DrawFn, world: World) -> Any:
    state = world.state
    runs = [] if state is None else list(state.runs)
    pending = [] if state is None else list(state.pending.values())
    kind = draw(
        st.sampled_from(
            [
                "event",
                "event",
                "start",
                "answer",
                "answer",
                "timer",
                "run",
                "run",
                "stray",
                "record",
                "record",
            ]
        )
    )
    if kind == "record":
        waiting = [run.wait.reference for run in state.runs.values() if run.wait] if state is not None else []
        return draw(_replies(st.sampled_from([*filter(None, waiting), "r1/n0/1/1"]), world.now_ms))
    if kind == "run" and runs:
        run = st.sampled_from(["", *runs])
        return draw(
            st.one_of(
                st.builds(Continue, _payloads, run),
                st.builds(Pause, run),
                st.builds(Resume, run),
                st.builds(Cancel, run),
            )
        )
    if kind == "answer" and pending:
        one = draw(st.sampled_from(pending))
        return draw(_answers(one.effect, one.attempt))
    if kind == "timer" and world.timers:
        return TimerFired(draw(st.sampled_from(sorted(world.timers))), world.now_ms)
    if kind == "start":
        return draw(st.builds(Start, _contexts, st.sampled_from(["", "", "mine"])))
    if kind != "stray":
        return draw(
            st.one_of(
                st.builds(HandleEvent, st.sampled_from(EVENTS), _payloads),
                st.builds(HandleEvent, st.sampled_from(EVENTS), _payloads, st.integers(0, 2 * world.now_ms)),
                st.builds(HandleEvent, st.just(SEGMENT_ENTERED), st.just({"segment": "s"})),
            )
        )
    strays = [
        HandleEvent("UNLISTED", {}), Continue(run="other"), Pause("other"), Resume(), Cancel("other"),
        TimerFired("nonsense", world.now_ms), TimerFired("effect:e1-0", world.now_ms),
        EffectResult("e1-0", 1, "succeeded"),
    ]  # fmt: skip
    return draw(st.sampled_from(strays))


def _replies(reference: st.SearchStrategy[str], now_ms: int) -> st.SearchStrategy[ContactReply]:
    reasons = st.sampled_from(["cap", "cap", "cap", "no_consent", "late"])
    free_at = st.none() | st.integers(now_ms - 1_000, now_ms + 10 * DAY)
    return st.one_of(
        st.builds(ContactReply, reference, st.just(True), st.booleans()),
        st.builds(ContactReply, reference, st.just(False), reason=reasons, free_at_ms=free_at),
    )


def _answers(effect: str, attempt: int) -> st.SearchStrategy[EffectResult]:
    return st.builds(
        EffectResult,
        effect=st.just(effect),
        attempt=st.sampled_from([attempt, attempt, 1]),
        status=st.sampled_from(["succeeded", "failed", "unknown"]),
        result=st.sampled_from([{}, {"ref": "x" * 5_000}]),
        error=st.sampled_from(["", "gone"]),
        retryable=st.booleans(),
    )


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(data=st.data())
def test_any_walk_through_any_flow_replays_and_comes_to_rest(data: st.DataObject) -> None:
    """Whatever comes, a decision is bounded events or Rejected, and all that `World` checks after each holds."""
    first = definition(data.draw(flows(), label="document"))
    second = definition(data.draw(st.just(first.document) | flows(), label="newer version"), version=2)
    world = World(first, record=RECORD, secrets=SECRETS)
    for step in range(data.draw(st.integers(3, 25), label="steps")):
        if step == 5:
            world.definitions[2] = world.newest = second
        if data.draw(st.booleans(), label="time passes"):
            world.wait(data.draw(st.sampled_from([1, 60_000, 5 * 3_600_000, 40 * DAY]), label="ms"))
        before = len(world.events)
        command, old = data.draw(_command(world), label="command"), data.draw(st.booleans(), label="old")
        told = (TELLING_SOURCE, f"{PROFILE}/{step}/0") if isinstance(command, ContactReply) else ("", "")
        world.do(command, backfill=old, key=told)
        state = world.state
        if state is None:
            continue
        assert len(world.events) - before <= RUNS_MAX * 5 * (STEPS_MAX + 2)
        assert len(state.runs) <= RUNS_MAX
        assert len(state.watched) <= WATCHED_MAX
        assert len(state.pending) <= PENDING_MAX
        for run in state.runs.values():
            resting = run.wait is not None or run.effect or run.paused
            assert resting, "a run that waits for nothing would never go on"
            assert not run.effect or run.effect in state.pending
    world.wait(10_000 * DAY)
    assert all(timer.startswith("run:") is False for timer in world.timers), (
        "time alone ends every timed wait"
    )
