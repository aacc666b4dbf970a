"""Points end in time: those that would end first are spent first, and one timer waits for the next."""

from orchestrator.core.decider import TimerFired
from orchestrator.core.events import TimerArmed, TimerCancelled
from orchestrator.customers.points import POINTS
from orchestrator.customers.points.commands import Award, Redeem, Reverse
from orchestrator.customers.points.events import Awarded, Expired, Redeemed, Reversed
from orchestrator.customers.points.model import compile_document
from tests.customers.specs import LEDGER, ledger
from tests.support.spec import NOW_MS, Story

DAY_MS = 86_400_000
YEAR_MS = 365 * DAY_MS
SHORT = ledger("{kind: points, id: ledger, currency: stars, expiry: {after: 100ms}}")
BRIEF = ledger("{kind: points, id: ledger, currency: stars, expiry: {after: 40ms}}")
NEVER = ledger("{kind: points, id: ledger, currency: stars}")


def two_awards() -> Story:
    """100 that end at +100, 50 that end at +110."""
    return SHORT.given().when(Award(100, "a")).when(Award(50, "b"), now_ms=NOW_MS + 10)


def test_an_award_knows_its_end_and_a_timer_waits_for_it() -> None:
    """A second award that ends later needs no timer of its own."""
    first = SHORT.given().when(Award(100, "a"))
    assert first.of(Awarded)[0].expires_ms == NOW_MS + 100
    assert first.of(TimerArmed) == [TimerArmed("expiry", NOW_MS + 100)]
    assert not first.when(Award(50, "b"), now_ms=NOW_MS + 10).of(TimerArmed)


def test_what_is_due_expires_and_the_timer_goes_on() -> None:
    """Each award's remainder goes at its own time."""
    story = two_awards().when(TimerFired("expiry", NOW_MS + 100), now_ms=NOW_MS + 101)
    story.then(
        Expired("t5", -100, 50, NOW_MS + 101, NOW_MS + 100),
        TimerArmed("expiry", NOW_MS + 110),
    )
    story = story.when(TimerFired("expiry", NOW_MS + 110), now_ms=NOW_MS + 110)
    story.then(Expired("t7", -50, 0, NOW_MS + 110, NOW_MS + 110), TimerCancelled("expiry"))


def test_everything_due_goes_at_once() -> None:
    """After an outage one firing ends all that was due in it."""
    story = two_awards().when(TimerFired("expiry", NOW_MS + 100), now_ms=NOW_MS + 500)
    assert [event.points for event in story.of(Expired)] == [-100, -50]
    assert story.state.balance == 0


def test_those_that_end_first_are_spent_first() -> None:
    """Only what is left of an award expires."""
    story = two_awards().when(Redeem(30, "x"), now_ms=NOW_MS + 20)
    story = story.when(TimerFired("expiry", NOW_MS + 100), now_ms=NOW_MS + 100)
    assert [event.points for event in story.of(Expired)] == [-70]
    assert story.state.balance == 50


def test_a_spent_award_moves_the_deadline() -> None:
    """The timer stays where it is and looks again when it fires: the deadline is the next award's."""
    story = two_awards().when(Redeem(100, "x"), now_ms=NOW_MS + 20)
    story.then(Redeemed("t5", -100, 50, NOW_MS + 20, 1, "x"))
    assert POINTS.deadline_ms(story.state, "expiry") == NOW_MS + 110
    early = story.when(TimerFired("expiry", NOW_MS + 100), now_ms=NOW_MS + 100)
    early.then(TimerArmed("expiry", NOW_MS + 110))


def test_when_nothing_is_left_nothing_waits() -> None:
    """Spending the last point cancels the timer; the next award arms it again."""
    story = two_awards().when(Redeem(150, "x"), now_ms=NOW_MS + 20)
    assert story.of(TimerCancelled) == [TimerCancelled("expiry")]
    assert story.when(Award(5, "c"), now_ms=NOW_MS + 30).of(TimerArmed) == [
        TimerArmed("expiry", NOW_MS + 130)
    ]


def test_nobody_spends_points_after_their_time() -> None:
    """A command that comes before its timer ends what is due first, and is then decided."""
    story = two_awards().when(Redeem(50, "x"), now_ms=NOW_MS + 105)
    story.then(
        Expired("t5", -100, 50, NOW_MS + 105, NOW_MS + 100),
        Redeemed("t6", -50, 0, NOW_MS + 105, 1, "x"),
        TimerCancelled("expiry"),
    )
    two_awards().when(Redeem(51, "x"), now_ms=NOW_MS + 105).then_rejected(
        "points.insufficient_balance", balance=50
    )


def test_a_reversed_award_takes_its_own_points() -> None:
    """The newer award goes, the older keeps its time; what was spent of it is taken from others."""
    story = two_awards().when(Reverse("t4"), now_ms=NOW_MS + 20)
    assert story.of(Reversed)[0].expires_ms == NOW_MS + 110
    assert [(lot.points, lot.expires_ms) for lot in story.state.lots] == [(100, NOW_MS + 100)]
    spent = two_awards().when(Redeem(120, "x"), now_ms=NOW_MS + 20).when(Award(40, "c"), now_ms=NOW_MS + 30)
    spent = spent.when(Reverse("t4"), now_ms=NOW_MS + 40)
    assert [(lot.points, lot.expires_ms) for lot in spent.state.lots] == [(20, NOW_MS + 130)]


def test_an_expired_award_cant_be_taken_back() -> None:
    """Its points went once already."""
    story = two_awards().when(Reverse("t2"), now_ms=NOW_MS + 100)
    story.then_rejected("points.already_expired", transaction="t2")


def test_points_that_come_back_are_new() -> None:
    """A reversed redemption's points end as if they were awarded now."""
    story = two_awards().when(Redeem(120, "x"), now_ms=NOW_MS + 20).when(Reverse("t5"), now_ms=NOW_MS + 60)
    lots = [(lot.points, lot.expires_ms) for lot in story.state.lots]
    assert lots == [(30, NOW_MS + 110), (120, NOW_MS + 160)]


def test_a_shorter_span_arms_an_earlier_timer() -> None:
    """A newer document doesn't touch what was awarded; its own points may end before, and are spent before."""
    story = SHORT.given().when(Award(100, "a"))
    story = Story(BRIEF, story.events, state=story.state).when(Award(5, "b"), now_ms=NOW_MS + 10)
    assert story.of(TimerArmed) == [TimerArmed("expiry", NOW_MS + 50)]
    story = Story(NEVER, story.events, state=story.state).when(Award(7, "c"), now_ms=NOW_MS + 20)
    assert [lot.points for lot in story.state.lots] == [5, 100, 7]
    story = story.when(Redeem(10, "x"), now_ms=NOW_MS + 30)
    assert [lot.points for lot in story.state.lots] == [95, 7]


def test_a_years_points_end_at_midnight() -> None:
    """Ends are rounded up by at most a 365th of the span, so that a ledger never holds more instants than days."""
    expires_ms = LEDGER.given().when(Award(1, "a")).of(Awarded)[0].expires_ms
    assert expires_ms % DAY_MS == 0
    assert 0 <= expires_ms - (NOW_MS + YEAR_MS) < DAY_MS
    compiled = compile_document(LEDGER.definition.document)
    assert len({compiled.expires_ms(NOW_MS + n * 3_600_000) for n in range(365 * 24)}) <= 366
    same_day = LEDGER.given().when(Award(1, "a")).when(Award(2, "b"), now_ms=NOW_MS + 1)
    assert [lot.points for lot in same_day.state.lots] == [3]


def test_views_say_what_ends_next() -> None:
    """Those who show a balance can show what will be lost, and when."""
    expected = {"points": 100, "at": NOW_MS + 100}
    assert POINTS.view(two_awards().state)["nextExpiry"] == expected
