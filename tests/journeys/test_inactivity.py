"""`after`: silence as an event, counted from the last one."""

from orchestrator.core.decider import TimerFired
from orchestrator.core.events import (
    CommandIgnored,
    EffectRequested,
    JourneyStarted,
    TimerArmed,
    TimerCancelled,
)
from orchestrator.journeys.lifecycle.commands import Destroy, HandleEvent, Restart
from orchestrator.journeys.lifecycle.events import Destroyed, EventNoted, Moved
from tests.journeys.documents import IDLE
from tests.support.spec import NOW_MS, Story, spec_of

SPEC = spec_of(IDLE)
HOUR_MS = 3_600_000
MONTH_MS = 30 * 24 * HOUR_MS
EVERYWHERE, SHOP = "after:*", "after:SHOP"


def ping(story: Story, at_ms: int, type: str = "PING") -> Story:
    return story.when(HandleEvent(type, {}), now_ms=at_ms)


def deadline(story: Story, timer: str) -> int | None:
    return SPEC.kind.deadline_ms(story.state, timer)


def fire(
    story: Story, timer: str, now_ms: int, *, due_ms: int | None = None, backfill: bool = False
) -> Story:
    return story.when(
        TimerFired(timer, now_ms if due_ms is None else due_ms), now_ms=now_ms, backfill=backfill
    )


def test_the_timer_is_armed_once_and_its_deadline_moves() -> None:
    """Only the first event arms the timer; later ones move the deadline in the state without another row."""
    story = ping(SPEC.given(), NOW_MS)
    assert story.of(TimerArmed) == [TimerArmed(timer=EVERYWHERE, due_ms=NOW_MS + MONTH_MS)]
    for n in range(1, 4):
        story = ping(story, NOW_MS + n)
        story.then(EventNoted(trigger="PING", last_event_ms=NOW_MS + n))
        assert deadline(story, EVERYWHERE) == NOW_MS + n + MONTH_MS


def test_silence_moves_the_journey() -> None:
    """When the deadline has passed the journey moves, its actions run, and `lastEventAt` stays."""
    story = fire(ping(SPEC.given(), NOW_MS), EVERYWHERE, NOW_MS + MONTH_MS)
    (moved,) = story.of(Moved)
    assert (moved.from_state, moved.to_state, moved.trigger, moved.transition) == (
        "HOME",
        "GONE",
        "after",
        "/after",
    )
    assert moved.inputs == {"lastEventAt": NOW_MS, "dueAt": NOW_MS + MONTH_MS}
    assert story.state.last_event_ms == NOW_MS
    assert [effect.action for effect in story.of(EffectRequested)] == ["farewell"]
    assert story.of(TimerCancelled) == [TimerCancelled(timer=EVERYWHERE)]
    assert deadline(story, EVERYWHERE) is None


def test_a_timer_that_comes_early_is_armed_again() -> None:
    """A timer handed in before its deadline is neither obeyed nor lost."""
    story = ping(ping(SPEC.given(), NOW_MS), NOW_MS + 5)
    fire(story, EVERYWHERE, NOW_MS + MONTH_MS).then(
        TimerArmed(timer=EVERYWHERE, due_ms=NOW_MS + 5 + MONTH_MS)
    )


def test_a_timer_nobody_waits_for_is_ignored() -> None:
    """A timer of a scope that was left, or of no journey at all, does nothing."""
    story = ping(SPEC.given(), NOW_MS)
    ignored = CommandIgnored(reason="timer_not_armed")
    fire(story, SHOP, NOW_MS + MONTH_MS).then(ignored)
    fire(story, "nonsense", NOW_MS).then(ignored)
    fire(SPEC.given(), EVERYWHERE, NOW_MS).then(ignored)


def test_entering_and_leaving_a_scope() -> None:
    """A nested scope's timer is armed on entering, kept on moves inside, cancelled on leaving; the outer one stays."""
    story = ping(ping(SPEC.given(), NOW_MS), NOW_MS + 1, "OPEN")
    assert story.of(TimerArmed) == [TimerArmed(timer=SHOP, due_ms=NOW_MS + 1 + HOUR_MS)]
    inside = ping(story, NOW_MS + 2, "OPEN")
    assert inside.label == "SHOP.TILL"
    assert not inside.of(TimerArmed)
    assert not inside.of(TimerCancelled)
    assert deadline(inside, SHOP) == NOW_MS + 2 + HOUR_MS
    left = ping(inside, NOW_MS + 3, "CLOSE")
    assert left.of(TimerCancelled) == [TimerCancelled(timer=SHOP)]
    assert deadline(left, SHOP) is None
    assert deadline(left, EVERYWHERE) == NOW_MS + 3 + MONTH_MS


def test_scopes_follow_each_other() -> None:
    """The inner silence leads on first, with its assignment; the outer one counts from the same last event."""
    story = fire(ping(ping(SPEC.given(), NOW_MS), NOW_MS, "OPEN"), SHOP, NOW_MS + HOUR_MS)
    assert (story.label, story.state.context["abandoned"]) == ("HOME", 1)
    assert deadline(story, EVERYWHERE) == NOW_MS + MONTH_MS
    assert fire(story, EVERYWHERE, NOW_MS + MONTH_MS).label == "GONE"


def test_no_timer_in_its_own_target() -> None:
    """The state that silence leads to is quiet; returning from it arms the timer again from the new event."""
    gone = fire(ping(SPEC.given(), NOW_MS), EVERYWHERE, NOW_MS + MONTH_MS)
    quiet = ping(gone, NOW_MS + MONTH_MS + 1, "OPEN")
    assert quiet.label == "GONE"
    back = ping(quiet, NOW_MS + MONTH_MS + 2)
    assert back.label == "HOME"
    assert back.of(TimerArmed) == [TimerArmed(timer=EVERYWHERE, due_ms=NOW_MS + 2 * MONTH_MS + 2)]


def test_no_timer_after_the_end() -> None:
    """A terminal state cancels every inactivity timer."""
    story = ping(ping(SPEC.given(), NOW_MS, "OPEN"), NOW_MS + 1, "END")
    assert {timer.timer for timer in story.of(TimerCancelled)} == {SHOP, EVERYWHERE}
    assert not story.state.timers


def test_backfill_fires_at_the_due_time() -> None:
    """In an import the due time counts, whatever the lane's clock says, and the farewell is not performed."""
    story = fire(ping(SPEC.given(), NOW_MS), EVERYWHERE, NOW_MS, due_ms=NOW_MS + MONTH_MS, backfill=True)
    assert story.label == "GONE"
    (effect,) = story.of(EffectRequested)
    assert effect.suppressed
    assert not story.state.pending


def test_reset_and_destroy_leave_no_timer_behind() -> None:
    """Reset arms what the initial state needs; destroy cancels everything."""
    story = ping(ping(SPEC.given(), NOW_MS, "OPEN"), NOW_MS + 1, "OPEN")
    reset = story.when(Restart(), now_ms=NOW_MS + 9)
    assert (reset.label, dict(reset.state.timers)) == ("HOME", {EVERYWHERE: MONTH_MS})
    assert deadline(reset, EVERYWHERE) == NOW_MS + 9 + MONTH_MS
    gone = story.when(Destroy())
    assert gone.state is None
    assert {timer.timer for timer in gone.of(TimerCancelled)} == {SHOP, EVERYWHERE}
    assert gone.new[-1] == Destroyed()


def test_a_journey_can_begin_again_after_destroy() -> None:
    """After destroy the next event starts a new journey in the same stream."""
    story = ping(SPEC.given(), NOW_MS).when(Destroy())
    again = ping(story, NOW_MS + 7)
    assert isinstance(again.new[0], JourneyStarted)
    assert again.state.last_event_ms == NOW_MS + 7
