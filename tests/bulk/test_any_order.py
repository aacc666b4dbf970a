"""Whatever comes in whatever order: every run is told once, and nothing is told that was not found."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.decider import EffectResult, TimerFired
from orchestrator.journeys.bulk.commands import Cancel, Pause, Resume
from orchestrator.journeys.bulk.events import PageSent
from orchestrator.journeys.bulk.query import Cursor
from tests.bulk.specs import begun, runs, state
from tests.support.spec import NOW_MS, Story

CUSTOMERS = [f"cus-{n:02d}" for n in range(11)]
SIZE = 3
STEPS = st.lists(st.sampled_from(["answer", "again", "fail", "timer", "pause", "resume"]), max_size=40)


def search(story: Story) -> EffectResult | None:
    """What the provider answers to the search under way: the customers after the cursor."""
    for effect in state(story).pending.values():
        cursor = effect.params["cursor"].get("after", "")
        left = [name for name in CUSTOMERS if name > cursor]
        found, last = left[:SIZE], len(left) <= SIZE
        result: dict[str, Any] = {"runs": runs(*found), "cursor": {"after": found[-1]}, "last": last}
        return EffectResult(effect.effect, effect.attempt, "succeeded", result)
    return None


def step(story: Story, name: str, answers: list[EffectResult], now_ms: int) -> Story:
    answer = search(story)
    match name:
        case "answer" if answer is not None:
            answers.append(answer)
            return story.when(answer, now_ms=now_ms)
        case "again" if answers:
            return story.when(answers[-1], now_ms=now_ms)
        case "fail" if answer is not None:
            lost = EffectResult(answer.effect, answer.attempt, "failed", error="lost", retryable=True)
            return story.when(lost, now_ms=now_ms)
        case "timer" if answer is not None:
            (effect,) = state(story).pending.values()
            return story.when(TimerFired(f"effect:{effect.effect}", effect.due_ms), now_ms=effect.due_ms)
        case "pause":
            return story.when(Pause(), now_ms=now_ms)
        case "resume":
            return story.when(Resume(), now_ms=now_ms)
    return story


def told(story: Story) -> list[str]:
    return [one.stream for event in story.events if isinstance(event, PageSent) for one in event.tells()]


@given(STEPS)
def test_every_run_is_told_once(steps: list[str]) -> None:
    """After any pauses, repeats, failures and silences the rest goes through, and the count is that of the commands."""
    story, answers = begun(), list[EffectResult]()
    for number, name in enumerate(steps):
        story = step(story, name, answers, NOW_MS + number)
        assert state(story).told == len(told(story)) == len(set(told(story)))
        assert len(state(story).pending) <= 1
    if state(story).status not in {"RUNNING", "DONE"}:
        story = story.when(Resume())
    while not state(story).over:
        story = step(story, "timer", answers, NOW_MS) if waits(story) else story
        story = step(story, "answer", answers, NOW_MS)
    assert told(story) == [stream for stream, _ in runs(*CUSTOMERS)]
    assert state(story).told == len(CUSTOMERS)


def waits(story: Story) -> bool:
    return any(effect.waits_for_retry for effect in state(story).pending.values())


@given(STEPS, st.integers(0, 40))
def test_cancelled_at_any_point_nothing_more_is_told(steps: list[str], at: int) -> None:
    """What was sent stays counted; whatever comes afterwards sends nothing."""
    story, answers = begun(), list[EffectResult]()
    for number, name in enumerate(steps):
        if number == at and not state(story).over:
            late = search(story)
            story = story.when(Cancel())
            answers += [late] if late is not None else []
        before, over = told(story), state(story).over
        story = step(story, name, answers, NOW_MS + number)
        assert not over or told(story) == before
    assert state(story).cursor == Cursor() or told(story)
