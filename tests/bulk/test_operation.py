"""A bulk operation decides page by page; nobody outside has to remember how far it came."""

from typing import Any

import pytest

from orchestrator.core.addresses import parse_stream
from orchestrator.core.decider import TimerFired
from orchestrator.core.errors import Malformed
from orchestrator.core.events import (
    CommandIgnored,
    EffectRequested,
    EffectSucceeded,
    JourneyStarted,
    Told,
)
from orchestrator.journeys.bulk import BULK
from orchestrator.journeys.bulk.commands import Begin, Cancel, Pause, Resume
from orchestrator.journeys.bulk.events import BulkBegun, BulkEnded, BulkFailed, BulkPaused, PageSent
from orchestrator.journeys.bulk.query import ActiveRun, Cursor, Query, fits
from tests.bulk.specs import BEGIN, begun, failed, page, runs, spec, state
from tests.support.spec import NOW_MS, Spec


def test_it_begins_by_looking_for_the_first_page() -> None:
    """Beginning keeps what is to be done and why, and asks for runs of the query from the first lane on."""
    story = begun()
    assert story.of(JourneyStarted) == [JourneyStarted(definition_version=1, at_ms=NOW_MS)]
    assert story.of(BulkBegun) == [BulkBegun("cancel", BEGIN.query, NOW_MS, "wrong price", 5)]
    (asked,) = story.of(EffectRequested)
    assert (asked.type, asked.params["limit"], asked.params["cursor"]) == ("find_runs", 200, {})
    assert asked.params["query"] == {"definition": "welcome", "state": "WAITING"}
    assert story.label == "RUNNING"


def test_each_run_of_a_page_is_sent_its_command_by_the_log() -> None:
    """The page's event tells every run once, counts it, and the next page begins where this one ended."""
    story = begun()
    story = story.when(page(story, "anna", "bob"))
    (sent,) = story.of(PageSent)
    assert sent.tells() == tuple(
        Told(stream, "cancel", {"run": run, "reason": "wrong price"}) for stream, run in runs("anna", "bob")
    )
    (asked,) = story.of(EffectRequested)
    assert asked.params["cursor"] == {"after": "bob"}
    assert (state(story).told, state(story).pages, story.label) == (2, 1, "RUNNING")


def test_a_resumed_run_is_told_no_reason() -> None:
    """What is told is what a flow understands: its `resume` takes no reason."""
    sent = PageSent("resume", (("acme/c/anna/flow:welcome", "r1"),), Cursor(), 1, NOW_MS, "all is well")
    assert [told.data for told in sent.tells()] == [{"run": "r1"}]


def test_the_last_page_ends_it() -> None:
    """DONE with the count of all that was told, and nothing is looked for any more."""
    story = begun()
    story = story.when(page(story, "anna", "bob"))
    story = story.when(page(story, "carl", last=True, lane=8))
    assert story.of(BulkEnded) == [BulkEnded("DONE", 3, NOW_MS)]
    assert story.of(EffectRequested) == []
    assert (story.label, state(story).told, state(story).pending) == ("DONE", 3, {})


def test_an_answer_that_comes_twice_sends_once() -> None:
    """The runner may answer again after a crash: the second answer, even another one, is ignored."""
    story = begun()
    first, other = page(story, "anna"), page(story, "anna", "bob")
    story.when(first).when(other).then(CommandIgnored(reason="effect_already_settled"))


def test_the_answer_is_kept_once() -> None:
    """The runs stand in the page that is sent; the effect's own event has only their number."""
    story = begun()
    story = story.when(page(story, "anna", "bob"))
    assert story.of(EffectSucceeded)[0].result == {"runs": 2, "last": False}


def test_paused_nothing_more_is_sent() -> None:
    """A page that arrives in the pause is dropped whole; resuming looks for it again from the same place."""
    story = begun()
    story = story.when(page(story, "anna"))
    story = story.when(Pause("check first"))
    assert story.of(BulkPaused) == [BulkPaused(at_ms=NOW_MS, reason="check first")]
    story = story.when(page(story, "bob", "carl"))
    assert story.of(PageSent) == []
    assert (state(story).told, state(story).cursor) == (1, Cursor(0, "anna"))
    story = story.when(Resume())
    assert story.of(EffectRequested)[0].params["cursor"] == {"after": "anna"}
    story = story.when(page(story, "bob", "carl", last=True))
    assert (story.label, state(story).told) == ("DONE", 3)


def test_resumed_before_the_answer_came_it_looks_once() -> None:
    """The search under way is used: no second one is asked for beside it."""
    story = begun().when(Pause()).when(Resume())
    assert story.of(EffectRequested) == []
    story = story.when(page(story, "anna", last=True))
    assert (story.label, state(story).told) == ("DONE", 1)


def test_cancelled_the_search_is_forgotten() -> None:
    """CANCELLED is the end: the timer is cancelled, a late page sends nothing, and nothing else is taken."""
    story = begun()
    late = page(story, "anna")
    story = story.when(Cancel("enough"))
    assert story.of(BulkEnded) == [BulkEnded("CANCELLED", 0, NOW_MS, "enough")]
    assert state(story).pending == {}
    story.when(late).then(CommandIgnored(reason="effect_already_settled"))
    for command in (Pause(), Resume(), Cancel()):
        story.when(command).then_rejected("bulk.over", state="CANCELLED")


def test_a_search_that_fails_is_tried_again_and_then_told() -> None:
    """What may pass is tried again; what won't fails by name, and an operator resumes from the same place."""
    story = begun()
    story = story.when(page(story, "anna"))
    story = story.when(failed(story, "rows_unavailable", retryable=True))
    assert story.label == "RUNNING"
    (effect,) = state(story).pending.values()
    story = story.when(TimerFired(f"effect:{effect.effect}", effect.due_ms), now_ms=effect.due_ms)
    assert story.of(EffectRequested)[0].attempt == 2
    story = story.when(failed(story, "rows_unreadable"))
    assert [(e.error, e.at_ms) for e in story.of(BulkFailed)] == [("rows_unreadable", NOW_MS)]
    assert (story.label, state(story).error) == ("FAILED", "rows_unreadable")
    story = story.when(Resume())
    assert story.of(EffectRequested)[0].params["cursor"] == {"after": "anna"}
    assert (story.label, state(story).error) == ("RUNNING", "")


@pytest.mark.parametrize("result", [{}, {"runs": "all", "cursor": {}, "last": True}, {"runs": [["x"]]}])
def test_an_answer_that_is_no_page_fails_it(result: dict[str, Any]) -> None:
    """Whatever answers, only a page of the agreed shape sends commands."""
    story = begun()
    answer = page(story)
    story = story.when(type(answer)(answer.effect, answer.attempt, "succeeded", result))
    assert [event.error for event in story.of(BulkFailed)] == ["bad_answer"]
    assert story.of(PageSent) == []


def test_silence_is_asked_about_again() -> None:
    """A search changes nothing: without an answer in time it is repeated, not given up."""
    story = begun()
    (effect,) = state(story).pending.values()
    early = story.when(TimerFired(f"effect:{effect.effect}", NOW_MS), now_ms=NOW_MS)
    assert early.of(EffectRequested) == []
    story = story.when(TimerFired(f"effect:{effect.effect}", effect.due_ms), now_ms=effect.due_ms)
    (waiting,) = state(story).pending.values()
    assert (waiting.waits_for_retry, story.label) == (True, "RUNNING")


def test_what_does_not_fit_is_rejected() -> None:
    """It begins once, on a resource, not in imported history, and is paused and resumed in turn."""
    story = begun()
    story.when(BEGIN).then_rejected("bulk.begun_already")
    story.when(Resume()).then_rejected("bulk.not_paused")
    story.when(Pause()).when(Pause()).then_rejected("bulk.not_running")
    spec().given().when(Pause()).then_rejected("bulk.not_begun")
    spec().given().when(BEGIN, backfill=True).then_rejected("bulk.no_history")
    made = spec()
    wrong = Spec(made.definition, made.kind, parse_stream("acme/c/anna/bulk:operation"))
    wrong.given().when(BEGIN).then_rejected("bulk.not_a_resource")


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({}, "command"),
        ({"command": "destroy", "query": {"definition": "x"}}, "pause, resume, cancel"),
        ({"command": "pause", "query": {"definition": ""}}, "query.definition"),
        ({"command": "pause", "query": {"definition": "x", "state": "LOST"}}, "query.state"),
        ({"command": "pause", "query": {"definition": "x", "run": "r1"}}, "query.customer"),
        ({"command": "pause", "query": {"definition": "x", "label": "y"}}, "label"),
        ({"command": "pause", "query": {"definition": "x"}, "reason": "y" * 201}, "reason"),
    ],
)
def test_data_of_another_shape_is_refused(data: dict[str, Any], named: str) -> None:
    """What is wrong is named, before anything is decided."""
    with pytest.raises(Malformed, match=named):
        BULK.parse("begin", data)


def test_data_of_the_right_shape_is_read() -> None:
    """All four commands come as the page on operating shows them."""
    query = {"definition": "welcome", "version": 2, "node": "wait"}
    begin = BULK.parse("begin", {"command": "pause", "query": query, "expected": 7})
    assert begin == Begin("pause", Query("welcome", version=2, node="wait"), "", 7)
    assert BULK.parse("pause", {"reason": "x"}) == Pause("x")
    assert BULK.parse("resume", {}) == Resume()
    assert BULK.parse("cancel", {}) == Cancel()
    with pytest.raises(Malformed, match="begin, pause, resume, cancel"):
        BULK.parse("stop", {})
    with pytest.raises(Malformed, match="no events"):
        BULK.parse_raw("VIEW", {})


RUN = ActiveRun("r1", "wait", 1_000, 2, "WAITING")


@pytest.mark.parametrize(
    ("command", "query", "hit"),
    [
        ("cancel", Query("f"), True),
        ("resume", Query("f"), False),
        ("cancel", Query("f", run="r1"), True),
        ("cancel", Query("f", run="r2"), False),
        ("cancel", Query("f", state="WAITING"), True),
        ("cancel", Query("f", state="PAUSED"), False),
        ("cancel", Query("f", node="wait"), True),
        ("cancel", Query("f", node="wai"), False),
        ("cancel", Query("f", version=2), True),
        ("cancel", Query("f", version=1), False),
        ("cancel", Query("f", started_after_ms=1_000), True),
        ("cancel", Query("f", started_after_ms=1_001), False),
        ("cancel", Query("f", started_before_ms=1_000), False),
        ("cancel", Query("f", started_before_ms=1_001), True),
    ],
)
def test_every_field_narrows_the_query(command: str, query: Query, hit: bool) -> None:
    """A run is meant when all that is asked holds, and the command can be done with it."""
    assert fits(query, command, RUN) is hit


def test_paused_runs_are_resumed_and_not_paused_again() -> None:
    """No command is sent that could only be rejected."""
    paused = ActiveRun("r1", "wait", 1_000, 2, "PAUSED", paused=True)
    done = {command: fits(Query("f"), command, paused) for command in ("pause", "resume", "cancel")}
    assert done == {"pause": False, "resume": True, "cancel": True}
