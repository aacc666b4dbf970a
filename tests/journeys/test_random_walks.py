"""Random commands against every example: no surprise, whatever comes in whatever order."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.core.decider import EffectResult, TimerFired
from orchestrator.journeys.effects import PENDING_MAX
from orchestrator.journeys.lifecycle.commands import Destroy, HandleEvent, Restart, SetContext, Start
from tests.journeys.documents import CALLS, IDLE, NESTED, PERSONAL
from tests.support.spec import NOW_MS, Spec, Story, example, spec_of

SPECS = {
    "shop": example("shop"),
    "onboarding": example("onboarding"),
    "journey-config": example("journey-config"),
    "journey-config-corrected": example("journey-config-corrected"),
    "nested": spec_of(NESTED),
    "idle": spec_of(IDLE),
    "calls": spec_of(CALLS),
    "personal": spec_of(PERSONAL),
}
_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.text(max_size=5)
    | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["x", "name", "email"]), inner, max_size=2)
    ),
    max_leaves=5,
)
_payloads = st.dictionaries(
    st.sampled_from(["x", "email", "name", "phone", "source", "error"]), _values, max_size=3
)


@st.composite
def _command(draw: st.DrawFn, spec: Spec, story: Story) -> Any:
    state = story.state
    timers = ["after:*", "effect:e1-0", "nonsense"]
    effects = ["e1-0"]
    if state is not None:
        timers += [*state.timers, *(f"effect:{name}" for name in state.pending)]
        effects += list(state.pending)
    types = st.sampled_from([*sorted(spec.definition.listens), "UNLISTED"])
    times = st.none() | st.integers(NOW_MS - 10**10, NOW_MS + 10**10)
    names = st.sampled_from(
        ["stepIndex", "metadata.source", "metadata", "views", "profile", "email", "state"]
    )
    contexts = st.dictionaries(names, _values, min_size=1, max_size=2)
    return draw(
        st.one_of(
            st.builds(HandleEvent, types, _payloads, times),
            st.builds(HandleEvent, types, _payloads),
            st.builds(TimerFired, st.sampled_from(timers), st.integers(NOW_MS, NOW_MS + 10**11)),
            st.builds(
                EffectResult,
                effect=st.sampled_from(effects),
                attempt=st.integers(1, 4),
                status=st.sampled_from(["succeeded", "failed", "unknown"]),
                result=_payloads,
                error=st.sampled_from(["", "gone", "boom"]),
                retryable=st.booleans(),
                retry_after_ms=st.none() | st.integers(0, 10**9),
            ),
            st.builds(Start, contexts | st.just({}), st.sampled_from(["", *spec.definition.compiled.leaves])),
            st.builds(SetContext, contexts),
            st.just(Restart()),
            st.just(Destroy()),
        )
    )


@pytest.mark.parametrize("name", sorted(SPECS))
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(data=st.data())
def test_any_walk_replays(name: str, data: st.DataObject) -> None:
    """Whatever commands come, the decision is events or Rejected; replay and snapshots give the same state again.

    `Story.when` asserts replay, snapshot and that no state is changed in place after every step.
    """
    spec = SPECS[name]
    story = spec.given()
    now_ms = NOW_MS
    for _ in range(data.draw(st.integers(1, 15), label="steps")):
        now_ms += data.draw(st.sampled_from([0, 1, 60_000, 3_600_000, 40 * 86_400_000]), label="passes")
        command = data.draw(_command(spec, story), label="command")
        story = story.when(command, now_ms=now_ms, backfill=data.draw(st.booleans(), label="backfill"))
        if story.state is None:
            continue
        leaf = spec.definition.compiled.leaves[story.state.state]
        assert dict(story.state.timers) == dict(leaf.timers), "armed timers are exactly those of the state"
        assert len(story.state.pending) <= PENDING_MAX
        for effect in story.state.pending:
            assert spec.kind.deadline_ms(story.state, f"effect:{effect}") is not None, (
                "no effect waits for ever"
            )


def test_a_late_event_can_be_older_than_the_timer() -> None:
    """A journey begun by a very old event is due at once: its deadline lies in the past, not in a month."""
    spec = SPECS["shop"]
    story = spec.given().when(HandleEvent("PRODUCT_VIEWED", {}, NOW_MS - 40 * 86_400_000))
    due_ms = spec.kind.deadline_ms(story.state, "after:*")
    assert due_ms == NOW_MS - 10 * 86_400_000
    assert story.when(TimerFired("after:*", due_ms)).label == "CHURNED"
