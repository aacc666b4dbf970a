"""Effects of a journey: asked once, answered, retried, given up."""

from typing import Any

import pytest

from orchestrator.core.decider import EffectResult, TimerFired
from orchestrator.core.events import (
    CommandIgnored,
    EffectFailed,
    EffectRequested,
    EffectSucceeded,
    TimerArmed,
    TimerCancelled,
)
from orchestrator.journeys.effects import PENDING_MAX, EffectAttemptFailed, EffectPolicy, retry_delay_ms
from orchestrator.journeys.lifecycle.commands import Destroy, HandleEvent, Restart
from orchestrator.journeys.lifecycle.events import EventNoted, Moved
from tests.journeys.documents import CALLS
from tests.support.spec import NOW_MS, Story, spec_of

SPEC = spec_of(CALLS)
MINUTE_MS = 60_000


def asked() -> tuple[Story, str]:
    story = SPEC.given().when(HandleEvent("ASK", {"q": 1}))
    (effect,) = story.of(EffectRequested)
    return story, effect.effect


def failed(effect: str, attempt: int = 1, *, retryable: bool = False, **more: Any) -> EffectResult:
    return EffectResult(
        effect, attempt, "failed", error=more.pop("error", "boom"), retryable=retryable, **more
    )


def test_an_action_is_rendered_once_and_complete() -> None:
    """The request carries rendered parameters, an id unique in the stream, and a timer for its answer."""
    story, effect = asked()
    assert story.of(EffectRequested) == [
        EffectRequested(
            effect="e1-0",
            action="call",
            type="webhook",
            params={
                "url": "https://example.com/cus-1",
                "body": {"state": "WAITING", "payload": {"q": 1}},
                "headers": {"x-step": 0},
            },
            timeout_ms=5_000,
        )
    ]
    assert story.of(TimerArmed) == [TimerArmed(timer=f"effect:{effect}", due_ms=NOW_MS + MINUTE_MS)]
    assert SPEC.kind.deadline_ms(story.state, f"effect:{effect}") == NOW_MS + MINUTE_MS


def test_success_ends_it_and_sends_the_event() -> None:
    """A confirmed effect is settled, its timer cancelled, and `on_success` is handled in the same decision."""
    story, effect = asked()
    done = story.when(EffectResult(effect, 1, "succeeded", {"ref": "r-1"}), now_ms=NOW_MS + 5)
    first, second, _ = done.new
    (moved,) = done.of(Moved)
    assert first == EffectSucceeded(effect=effect, attempt=1, result={"ref": "r-1"})
    assert second == TimerCancelled(timer=f"effect:{effect}")
    assert (moved.from_state, moved.to_state, moved.trigger) == ("WAITING", "DONE", "CALL_DONE")
    assert done.state.context["note"] == "r-1"
    assert done.state.last_event_ms == NOW_MS, "an answer is no activity of the customer"
    assert not done.state.pending


def test_a_second_answer_is_ignored() -> None:
    """Once settled, further answers and timers of an effect change nothing."""
    story, effect = asked()
    done = story.when(EffectResult(effect, 1, "succeeded"))
    done.when(EffectResult(effect, 1, "succeeded")).then(CommandIgnored(reason="effect_already_settled"))
    done.when(failed(effect)).then(CommandIgnored(reason="effect_already_settled"))
    done.when(TimerFired(f"effect:{effect}", NOW_MS + MINUTE_MS)).then(
        CommandIgnored(reason="timer_not_armed")
    )


def test_a_retryable_failure_is_tried_again_with_the_same_effect() -> None:
    """The retry waits for its delay, then asks again with the same id and parameters and the next attempt."""
    story, effect = asked()
    waiting = story.when(failed(effect, retryable=True, detail="503"), now_ms=NOW_MS + 10)
    due_ms = NOW_MS + 10 + 1_000
    waiting.then(
        EffectAttemptFailed(effect=effect, attempt=1, error="boom", retry_at_ms=due_ms, detail="503"),
        TimerArmed(timer=f"effect:{effect}", due_ms=due_ms),
    )
    again = waiting.when(TimerFired(f"effect:{effect}", due_ms), now_ms=due_ms)
    (request,) = again.of(EffectRequested)
    (original,) = story.of(EffectRequested)
    assert (request.effect, request.attempt, request.params) == (effect, 2, original.params)
    assert again.of(TimerArmed) == [TimerArmed(timer=f"effect:{effect}", due_ms=due_ms + MINUTE_MS)]


def test_attempts_are_limited() -> None:
    """After the last attempt the effect has failed and `on_failure` is handled in the same decision."""
    story, effect = asked()
    timer = f"effect:{effect}"
    for attempt in (1, 2):
        story = story.when(failed(effect, attempt, retryable=True))
        due_ms = SPEC.kind.deadline_ms(story.state, timer)
        assert due_ms is not None
        story = story.when(TimerFired(timer, due_ms), now_ms=due_ms)
    last = story.when(failed(effect, 3, retryable=True))
    assert last.of(EffectFailed) == [EffectFailed(effect=effect, attempt=3, error="boom")]
    (moved,) = last.of(Moved)
    assert (moved.trigger, moved.to_state, moved.set) == (
        "CALL_FAILED",
        "READY",
        {"failures": 1, "note": "boom"},
    )
    assert not last.state.pending


def test_a_final_failure_is_not_retried() -> None:
    """An answer that isn't retryable ends the effect at once; its error decides where the journey goes."""
    story, effect = asked()
    assert story.when(failed(effect, error="gone")).label == "LOST"


def test_an_old_attempts_failure_is_ignored_but_its_success_counts() -> None:
    """Failures of attempts already given up say nothing new; a success from any attempt has happened."""
    story, effect = asked()
    waiting = story.when(failed(effect, retryable=True))
    waiting.when(failed(effect, retryable=True)).then(CommandIgnored(reason="effect_already_settled"))
    timer = f"effect:{effect}"
    again = waiting.when(TimerFired(timer, NOW_MS + 2_000), now_ms=NOW_MS + 2_000)
    again.when(failed(effect, 1)).then(CommandIgnored(reason="effect_already_settled"))
    assert waiting.when(EffectResult(effect, 1, "succeeded")).label == "DONE"
    assert again.when(EffectResult(effect, 1, "succeeded")).label == "DONE"


def test_silence_counts_as_unknown() -> None:
    """Without an answer in time the result is unknown: `call` fails then, `tell` is asked again, as they say."""
    story = SPEC.given().when(HandleEvent("ASK_MANY", {}))
    call, tell = (effect.effect for effect in story.of(EffectRequested))
    fails = story.when(TimerFired(f"effect:{call}", NOW_MS + MINUTE_MS), now_ms=NOW_MS + MINUTE_MS)
    assert fails.of(EffectFailed) == [EffectFailed(effect=call, attempt=1, error="no_answer", unknown=True)]
    assert [noted.trigger for noted in fails.of(EventNoted)] == ["CALL_FAILED"], (
        "no transition for it in READY"
    )
    later_ms = NOW_MS + 5 * MINUTE_MS
    retried = story.when(TimerFired(f"effect:{tell}", later_ms), now_ms=later_ms)
    (attempt,) = retried.of(EffectAttemptFailed)
    assert (attempt.error, attempt.unknown) == ("no_answer", True)


def test_an_unknown_answer_follows_the_policy() -> None:
    """A runner's `unknown` is treated like silence."""
    story, effect = asked()
    unknown = story.when(EffectResult(effect, 1, "unknown", error="timeout"))
    assert unknown.of(EffectFailed) == [EffectFailed(effect=effect, attempt=1, error="timeout", unknown=True)]


def test_a_providers_wish_to_wait_is_respected() -> None:
    """`retry_after_ms` lengthens the delay, up to a day."""
    story, effect = asked()
    waiting = story.when(failed(effect, retryable=True, retry_after_ms=90_000))
    assert waiting.of(TimerArmed)[0].due_ms == NOW_MS + 90_000
    waiting = story.when(failed(effect, retryable=True, retry_after_ms=10**12))
    assert waiting.of(TimerArmed)[0].due_ms == NOW_MS + 86_400_000


def test_delays_grow_and_their_jitter_is_repeatable() -> None:
    """Backoff doubles up to its limit; the jitter differs between effects and is the same in every replay."""
    policy = EffectPolicy(initial_ms=1_000, factor=2, max_ms=3_000, jitter=0.5)
    facts: Any = _Facts()
    delays = [retry_delay_ms(policy, facts, "e1-0", attempt) for attempt in range(1, 200)]
    assert delays == [retry_delay_ms(policy, facts, "e1-0", attempt) for attempt in range(1, 200)]
    assert all(500 <= delays[0] <= 1_000 and 1_500 <= delay <= 3_000 for delay in delays[2:])
    assert len({retry_delay_ms(policy, facts, f"e{n}-0", 1) for n in range(50)}) > 20


class _Facts:
    stream = SPEC.stream


def test_backfill_records_without_asking() -> None:
    """An import records what would have been done, suppressed, with no timer and nothing pending, unless asked for."""
    story = SPEC.given().when(HandleEvent("ASK_MANY", {}), backfill=True)
    assert [effect.suppressed for effect in story.of(EffectRequested)] == [True, True]
    assert not story.of(TimerArmed)
    assert not story.state.pending
    story = SPEC.given().when(HandleEvent("ASK_MANY", {}), backfill=True, perform_effects=True)
    assert len(story.state.pending) == 2


def test_a_retry_due_in_a_backfill_is_suppressed() -> None:
    """History replayed over an unanswered effect doesn't ask again: the effect ends, its timer is gone."""
    story, effect = asked()
    waiting = story.when(failed(effect, retryable=True))
    ended = waiting.when(TimerFired(f"effect:{effect}", NOW_MS + 1_000), now_ms=NOW_MS + 1_000, backfill=True)
    (request,) = ended.of(EffectRequested)
    assert (request.suppressed, request.attempt) == (True, 2)
    assert ended.of(TimerCancelled) == [TimerCancelled(timer=f"effect:{effect}")]
    assert not ended.state.pending


def test_unanswered_effects_are_limited() -> None:
    """A journey whose effects stay unanswered stops asking at the limit, and says so."""
    story = SPEC.given()
    for _ in range(PENDING_MAX // 2):
        story = story.when(HandleEvent("ASK_MANY", {}))
    assert len(story.state.pending) == PENDING_MAX
    full = story.when(HandleEvent("ASK_MANY", {}))
    assert [event.error for event in full.of(EffectFailed)] == ["too_many_pending"] * 2
    assert not full.of(EffectRequested)
    assert len(full.state.pending) == PENDING_MAX


def test_parameters_are_bounded() -> None:
    """Parameters that would blow up the journey's state are refused, and the journey moves without them."""
    spec = spec_of("""
kind: lifecycle
id: large
events: [E]
initial: S
states:
  S: {on: {E: {target: T, actions: [call]}}}
  T: {}
actions:
  call:
    type: log
    message: [{var: event.payload.t}, {var: event.payload.t}, {var: event.payload.t}, {var: event.payload.t}, {var: event.payload.t}]
""")
    small = spec.given().when(HandleEvent("E", {"t": "x" * 10_000}))
    assert len(small.of(EffectRequested)) == 1
    large = spec.given().when(HandleEvent("E", {"t": "x" * 15_000}))
    assert [(event.error, event.attempt) for event in large.of(EffectFailed)] == [("params_too_large", 0)]
    assert large.label == "T"


def test_ids_never_repeat() -> None:
    """Effects of one decision, of later ones and of a journey begun again all have ids of their own."""
    story = SPEC.given()
    seen: list[str] = []
    for command in (
        HandleEvent("ASK_MANY", {}),
        HandleEvent("ASK_MANY", {}),
        Destroy(),
        HandleEvent("ASK", {}),
    ):
        story = story.when(command)
        seen += [effect.effect for effect in story.of(EffectRequested)]
    assert len(seen) == len(set(seen)) == 5


@pytest.mark.parametrize("command", [Restart(), Destroy()])
def test_reset_and_destroy_forget_effects(command: Any) -> None:
    """Their timers are cancelled and late answers change nothing."""
    story, effect = asked()
    after = story.when(command)
    assert TimerCancelled(timer=f"effect:{effect}") in after.new
    assert after.state is None or not after.state.pending
    assert isinstance(after.when(EffectResult(effect, 1, "succeeded")).new[0], CommandIgnored)


def test_an_action_that_cannot_be_rendered_fails_alone() -> None:
    """The journey moves although a parameter's rule fails; the effect is recorded as failed and says why."""
    spec = spec_of("""
kind: lifecycle
id: broken
events: [E]
context: {failed: ""}
initial: S
states:
  S: {on: {E: {target: T, actions: [broken, fine]}}}
  T: {on: {OOPS: {set: {failed: {var: event.payload.error}}}}}
actions:
  broken: {type: log, message: {"+": [{var: event.payload.x}, 1]}, on_failure: {event: OOPS}}
  fine: {type: log, message: fine}
""")
    story = spec.given().when(HandleEvent("E", {"x": "many"}))
    assert story.label == "T"
    (failure,) = story.of(EffectFailed)
    assert (failure.attempt, failure.error) == (0, "type_error")
    assert [effect.action for effect in story.of(EffectRequested)] == ["fine"]
    assert story.state.context["failed"] == "type_error"


def test_events_a_journey_sends_itself_end() -> None:
    """An action that fails at once and runs again on its own failure stops after a bounded number of rounds."""
    spec = spec_of("""
kind: lifecycle
id: circle
events: [E]
initial: S
states:
  S: {on: {E: {actions: [broken]}, OOPS: {actions: [broken]}}}
actions:
  broken: {type: log, message: {"+": [{var: event.payload.x}, {cat: [x]}]}, on_failure: {event: OOPS}}
""")
    story = spec.given().when(HandleEvent("E", {"x": 1}))
    assert len(story.of(EffectFailed)) == 9


def test_events_a_journey_sends_itself_pass_its_triggers() -> None:
    """The guard is for what comes from outside: the result of an effect is handled even where it isn't listed."""
    spec = spec_of("""
kind: lifecycle
id: guarded
events: [E]
initial: S
states:
  S: {triggers: {events: [E]}, on: {E: {actions: [call]}, DONE: T}}
  T: {}
actions:
  call: {type: log, message: hello, on_success: {event: DONE}}
""")
    story = spec.given().when(HandleEvent("E", {}))
    (request,) = story.of(EffectRequested)
    assert story.when(EffectResult(request.effect, 1, "succeeded")).label == "T"


def test_a_failing_reaction_does_not_undo_the_result() -> None:
    """If the event sent on failure breaks a rule, the failure stays recorded and the trouble is noted."""
    spec = spec_of("""
kind: lifecycle
id: reaction
events: [E]
context: {n: 0}
initial: S
states:
  S: {on: {E: {actions: [call]}, OOPS: {set: {n: {"+": [{var: event.payload.error}, 1]}}}}}
actions:
  call: {type: log, message: hello, on_failure: {event: OOPS}}
""")
    story = spec.given().when(HandleEvent("E", {}))
    (request,) = story.of(EffectRequested)
    after = story.when(failed(request.effect))
    assert len(after.of(EffectFailed)) == 1
    (noted,) = after.of(EventNoted)
    assert noted.inputs["rejected"] == "lifecycle.rule_failed"
    assert not after.state.pending
