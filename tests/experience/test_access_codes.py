"""Access codes: hashed, limited, throttled."""

import json

import pytest

from orchestrator.journeys.experience.codes import code_hash, prepare
from orchestrator.journeys.experience.events import CodeMissed, NeedMet
from tests.experience.documents import GATED
from tests.experience.world import MINUTE, SALT, SECOND, World, parsed

COUNTER = "acme/r/gated.codes/access_code:gated"


def ready() -> World:
    """A journey that needs an access code and nothing else before it."""
    return (
        World(GATED, secrets=("VIP2026", "vip2026", "FEW2026", "GUESS"))
        .do("start")
        .trusted("authenticate")
        .trusted("complete_bot_check")
    )


def test_a_stored_document_holds_no_code() -> None:
    """Preparing replaces each code by a keyed hash, once and for all."""
    stored = parsed(GATED)
    assert "2026" not in json.dumps(stored["access_codes"])
    assert prepare(stored, "ff" * 16) == stored
    assert stored["access_codes"]["salt"] == SALT


def test_the_same_code_has_another_hash_in_another_document() -> None:
    """The salt keeps hashes of two documents apart."""
    assert code_hash("VIP2026", b"a" * 16) != code_hash("VIP2026", b"b" * 16)


@pytest.mark.parametrize("typed", ["VIP2026", "vip2026", "  Vip2026\t", "ＶＩＰ２０２６"])  # noqa: RUF001
def test_a_code_is_recognized_as_people_type_it(typed: str) -> None:
    """Case, spaces around it and wide letters don't matter."""
    journey = ready().do("provide_access_code", access_code=typed)
    assert journey.of(NeedMet)[0].code == "vip"
    assert journey.state.seat.sequence == "vip"


def test_case_can_matter() -> None:
    """A document may ask for codes exactly as written."""
    strict = {**GATED, "access_codes": {**GATED["access_codes"], "ignore_case": False}}
    journey = World(strict).do("start")
    assert journey.do("provide_access_code", access_code="vip2026").rule == "access_code.wrong"
    assert not journey.do("provide_access_code", access_code="VIP2026").rule


def test_a_code_can_come_with_the_start() -> None:
    """`start` takes a code; a wrong one doesn't keep the journey from beginning."""
    assert World(GATED).do("start", access_code="VIP2026").state.codes == ("vip",)
    wrong = World(GATED).do("start", access_code="GUESS")
    assert not wrong.rule
    assert wrong.of(CodeMissed)
    assert wrong.shot["events"][-1]["message"] == "This code is not accepted."


def test_a_skipped_code_leads_to_the_general_sequence() -> None:
    """Whoever has no code belongs to the first sequence that asks for none."""
    assert ready().do("skip_access_code").state.seat.sequence == "general"


def test_a_code_given_after_skipping_leads_to_its_sequence() -> None:
    """Finding the code later is not too late, as long as nothing is entered."""
    journey = ready().do("skip_access_code").do("provide_access_code", access_code="VIP2026")
    assert journey.state.seat.sequence == "vip"
    entered = ready().do("skip_access_code").do("enter_draw")
    assert entered.do("provide_access_code", access_code="VIP2026").rule == "experience.engaged"


def test_a_wrong_code_is_rejected_and_counted() -> None:
    """The outcome says no and how many guesses are left; the log holds no guess."""
    journey = ready().do("provide_access_code", access_code="GUESS")
    assert journey.rule == "access_code.wrong"
    assert journey.new[0].inputs == {"guesses_left": 4}
    assert len(journey.state.guesses) == 1


def test_an_expired_code_has_its_own_word() -> None:
    """A code that was right once is refused as expired."""
    assert ready().do("provide_access_code", access_code="OLD2025").rule == "access_code.expired"


def test_a_thousand_guesses_are_throttled_and_counted() -> None:
    """After five wrong ones in a quarter of an hour nothing is tried any more, not even the right code."""
    journey = ready()
    rules = [journey.do("provide_access_code", access_code=f"GUESS{n}").rule for n in range(30)]
    assert rules == ["access_code.wrong"] * 5 + ["access_code.throttled"] * 25
    assert journey.new[0].inputs == {"retry_after_ms": 15 * MINUTE}
    assert journey.do("provide_access_code", access_code="VIP2026").rule == "access_code.throttled"
    assert journey.state.throttled == 26
    assert "provide_access_code" not in journey.actions["journey"]


def test_guessing_may_go_on_when_the_first_guess_is_old_enough() -> None:
    """The window slides: each guess counts for a quarter of an hour."""
    journey = ready()
    for n in range(5):
        journey.do("provide_access_code", access_code=f"GUESS{n}").wait(MINUTE)
    assert journey.do("provide_access_code", access_code="VIP2026").new[0].inputs == {
        "retry_after_ms": 10 * MINUTE
    }
    journey.wait(10 * MINUTE - SECOND)
    assert journey.do("provide_access_code", access_code="VIP2026").rule == "access_code.throttled"
    journey.wait(SECOND)
    assert not journey.do("provide_access_code", access_code="VIP2026").rule


@pytest.mark.parametrize("way", ["reset", "destroy", "start"])
def test_no_way_around_the_throttle(way: str) -> None:
    """Neither a reset nor a journey begun anew forgets wrong guesses."""
    journey = ready()
    for n in range(5):
        journey.do("provide_access_code", access_code=f"GUESS{n}")
    if way == "reset":
        journey.do("start", reset=True, access_code="VIP2026")
        assert journey.rule == "access_code.throttled"
        assert (
            journey.do("start", reset=True).do("provide_access_code", access_code="VIP2026").rule
            == "access_code.throttled"
        )
    else:
        journey.do("destroy")
        if way == "start":
            assert journey.do("start", access_code="VIP2026").rule == "access_code.throttled"
        assert (
            journey.do("start").do("provide_access_code", access_code="VIP2026").rule
            == "access_code.throttled"
        )


def test_a_limited_code_is_counted_by_its_resource() -> None:
    """The journey waits for the resource that counts uses, and goes on with its yes."""
    journey = ready().do("provide_access_code", access_code="FEW2026")
    (ask,) = journey.asks
    assert (ask.stream, ask.type, ask.data) == (COUNTER, "code.use", {"code": "few"})
    assert journey.shot["journeyStage"] == "needs_access_code"
    journey.told_by(COUNTER, "code.used", code="few")
    assert journey.state.seat.sequence == "vip"


def test_an_exhausted_code_opens_the_requirement_again() -> None:
    """A no of the resource is a journey event; another code may be tried."""
    journey = ready().do("provide_access_code", access_code="FEW2026")
    journey.told_by(COUNTER, "code.refused", code="few", reason="exhausted")
    assert journey.shot["events"][-1]["severity"] == "error"
    assert "exhausted" not in json.dumps(journey.view)
    assert journey.do("provide_access_code", access_code="VIP2026").state.seat.sequence == "vip"


def test_only_the_counter_may_say_that_a_code_was_used() -> None:
    """Another stream, or another producer, is no counter."""
    journey = ready().do("provide_access_code", access_code="FEW2026")
    assert journey.do("code.used", code="few").rule == "experience.not_the_code_counter"
    other = "acme/r/other.codes/access_code:other"
    assert journey.told_by(other, "code.used", code="few").rule == "experience.not_the_code_counter"
    assert journey.shot["journeyStage"] == "needs_access_code"


def test_a_counter_that_does_not_answer_can_be_asked_again() -> None:
    """After the wait `retry` sends the same question."""
    journey = ready().do("provide_access_code", access_code="FEW2026").wait(MINUTE)
    assert journey.actions["journey"] == ["retry"]
    assert journey.do("retry").asks[0].data == {"code": "few"}
    assert journey.told_by(COUNTER, "code.used", code="few").state.seat.sequence == "vip"


def test_an_unasked_yes_changes_nothing() -> None:
    """A late or doubled answer of the counter is ignored."""
    journey = ready()
    before = journey.shot["journeyStage"]
    journey.told_by(COUNTER, "code.used", code="few")
    assert journey.shot["journeyStage"] == before
    assert journey.new[0].NAME == "journey.command_ignored.v1"
