"""Contacts: before it reaches the customer a run asks the record, and what it doesn't use it gives back."""

from typing import Any

import pytest

from orchestrator.core.events import CommandIgnored, CommandSent, EffectRequested
from orchestrator.journeys.effects import PENDING_MAX
from orchestrator.journeys.flow.acting import ANSWER_MS
from orchestrator.journeys.flow.commands import Cancel, Continue, HandleEvent, Pause, Resume, Start
from orchestrator.journeys.flow.events import (
    ActionSkipped,
    ActionStarted,
    BranchTaken,
    ContactAnswered,
    NodeFailed,
    Resumed,
    Waiting,
)
from tests.flow.graphs import world
from tests.flow.world import DAY, HOUR, MINUTE, NOW_MS, World
from tests.support.timers import cancelled

RECORD = "acme/c/anna/customer:profile"
MAIL = {"kind": "action", "type": "send_email", "params": {"template": "news"}, "contact": "email"}
CAPPED = {
    "record": "profile",
    "capped": ("email",),
    "exempt": ["transactional"],
    "unasked": ["transactional"],
}
ANNA: dict[str, Any] = {
    "consent": {"email": True},
    "addresses": {"email": "anna@example.com"},
    "contact": CAPPED,
}
REFERENCE = "r1/mail/1/1"


def asking(mail: dict[str, Any] | None = None, edges: Any = (), record: Any = None, **more: Any) -> World:
    """A run whose mail has been asked for."""
    nodes = {"mail": MAIL | (mail or {}), **more.pop("after", {})}
    flow = world(nodes, list(edges), customer=ANNA | (record or {}), secrets=("anna@example.com",), **more)
    return flow.do(Start())


def grant(flow: World, reference: str = "", *, counted: bool = True) -> World:
    return flow.told(RECORD, "contact.granted", {"reference": reference or asked(flow), "counted": counted})


def refuse(flow: World, reason: str = "cap", **more: Any) -> World:
    return flow.told(RECORD, "contact.refused", {"reference": asked(flow), "reason": reason, **more})


def asked(flow: World) -> str:
    """The reference of the question asked last."""
    sent = [one for event in flow.events for one in event.tells() if one.type == "contact.ask"]
    return str(sent[-1].data["reference"])


def given_back(flow: World) -> list[str]:
    """References of all contacts that were given back."""
    sent = [one for event in flow.events for one in event.tells() if one.type == "contact.release"]
    assert {one.stream for one in sent} <= {RECORD}
    return [str(one.data["reference"]) for one in sent]


def test_a_run_asks_the_record_before_it_sends() -> None:
    """The question names channel, class and the place in the flow; nothing is requested until the answer."""
    flow = asking({"class": "marketing"})
    (sent,) = flow.of(CommandSent)
    data = {"channel": "email", "class": "marketing", "reference": REFERENCE, "until_ms": NOW_MS + ANSWER_MS}
    assert (sent.stream, sent.type, sent.data) == (RECORD, "contact.ask", data)
    assert flow.of(EffectRequested) == []
    assert (flow.label, flow.timers) == ("WAITING mail", {"run:r1:mail:1": NOW_MS + ANSWER_MS})


def test_a_grant_is_used_once() -> None:
    """The message is asked for, the log says under which contact; the same grant again sends nothing."""
    flow = grant(asking())
    (answered,), (started,) = flow.of(ContactAnswered), flow.of(ActionStarted)
    assert (answered.granted, answered.reference) == (True, REFERENCE)
    assert (started.contact, started.record) == (REFERENCE, RECORD)
    assert len(flow.of(EffectRequested)) == 1
    assert cancelled(flow.new)[0] == "run:r1:mail:1"
    flow.answer("mail")
    assert flow.last.state == "COMPLETED"
    assert len(flow.all(EffectRequested)) == 1
    assert given_back(flow) == []


def test_without_a_cap_nobody_is_asked() -> None:
    """The record's own word decides then, in the same decision; so it does for exempt classes."""
    flow = asking(record={"contact": CAPPED | {"capped": ("sms",)}})
    assert len(flow.of(EffectRequested)) == 1
    assert len(asking({"class": "transactional"}).of(EffectRequested)) == 1
    assert len(asking(record={"contact": {}}).of(EffectRequested)) == 1
    transactional = asking({"class": "transactional"}, record={"consent": {"email": False}})
    assert len(transactional.of(EffectRequested)) == 1


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"consent": {}}, "no_consent"),
        ({"consent": {"email": False}}, "no_consent"),
        ({"suppressed": {"email": "complaint"}}, "suppressed"),
    ],
    ids=["unsaid", "withdrawn", "suppressed"],
)
def test_who_may_not_be_reached_is_not_asked_for(record: dict[str, Any], reason: str) -> None:
    """The action is skipped at once, with its reason, by the edge `failure` if there is one."""
    flow = asking(record=record)
    assert flow.of(CommandSent) == []
    assert [event.reason for event in flow.of(ActionSkipped)] == [reason]
    assert flow.last.state == "COMPLETED"
    flow = asking(edges=[("mail", "done", "failure")], record=record)
    assert (flow.of(BranchTaken)[0].rule, flow.last.state) == (reason, "COMPLETED")


def test_a_customer_without_a_record_is_not_reached() -> None:
    """A contact needs a record that knows of consent."""
    flow = world({"mail": MAIL}, customer={"account": {"points_balance": 3}}).do(Start())
    assert [event.reason for event in flow.of(ActionSkipped)] == ["no_record"]


@pytest.mark.parametrize("reason", ["cap", "no_consent", "suppressed", "no_record"])
def test_a_refusal_skips_the_action(reason: str) -> None:
    """The run goes on, or by its edge `failure`; later rules read the reason."""
    flow = refuse(asking(), reason)
    assert (flow.of(ContactAnswered)[0].reason, flow.of(ActionSkipped)[0].reason) == (reason, reason)
    assert flow.last.state == "COMPLETED"
    ask = {
        "kind": "condition",
        "branches": [{"id": "no", "when": {"===": [{"var": "action_result_mail.error"}, reason]}}],
    }
    flow = refuse(
        asking(
            edges=[("mail", "ask", "failure"), ("ask", "done", "no"), ("ask", "done", "default")],
            after={"ask": ask},
        ),
        reason,
    )
    assert [event.branch for event in flow.of(BranchTaken)] == ["failure", "no"]


def test_a_cap_that_is_held_is_asked_again_when_it_frees() -> None:
    """Under a new reference; granted, the message is sent."""
    flow = refuse(asking({"over_cap": "hold"}), free_at_ms=NOW_MS + 5 * HOUR)
    (waiting,) = flow.of(Waiting)
    assert (waiting.reason, waiting.due_ms, waiting.hold_until_ms) == (
        "cap",
        NOW_MS + 5 * HOUR,
        NOW_MS + 7 * DAY,
    )
    flow.wait(5 * HOUR)
    assert asked(flow) != REFERENCE
    assert len(grant(flow).of(EffectRequested)) == 1


def test_a_hold_ends_when_it_was_long_enough() -> None:
    """However often it was refused: the time counts from the first refusal, quiet hours in between included."""
    quiet = {"from": "21:00", "to": "08:00"}
    mail = {"over_cap": "hold", "hold_for": "1d", "quiet_hours": quiet, "zone": "UTC"}
    flow = refuse(asking(mail), free_at_ms=NOW_MS + 12 * HOUR)  # 22:00, in the quiet
    flow.wait(12 * HOUR)
    assert flow.of(Waiting)[-1].reason == "quiet_hours"
    flow.wait(10 * HOUR)
    refuse(flow, free_at_ms=NOW_MS + 3 * DAY)
    assert flow.of(Waiting)[0].due_ms == NOW_MS + DAY
    flow.wait(2 * HOUR)
    refuse(flow, free_at_ms=NOW_MS + 3 * DAY)
    assert (flow.of(ActionSkipped)[0].reason, flow.last.state) == ("cap", "COMPLETED")


def test_a_hold_at_the_next_visit_has_its_own_time() -> None:
    """What was waited for at one visit of a node isn't taken from the next."""
    mail = {"over_cap": "hold", "hold_for": "1d", "max_visits": 2}
    again = {
        "kind": "condition",
        "branches": [{"id": "again", "when": {"<": [{"var": "run.visits.mail"}, 2]}}],
    }
    edges = [("again", "mail", "again"), ("again", "done", "default"), ("mail", "done", "exhausted")]
    flow = refuse(asking(mail, edges, after={"again": again}), free_at_ms=NOW_MS + 5 * DAY)
    flow.wait(DAY)
    refuse(flow, free_at_ms=NOW_MS + 5 * DAY)
    refuse(flow, free_at_ms=NOW_MS + 5 * DAY)
    assert flow.of(Waiting)[0].hold_until_ms == NOW_MS + 2 * DAY


def test_a_record_that_stays_silent_fails_the_node() -> None:
    """By name; a grant that comes later is given back, a refusal is ignored."""
    flow = asking().wait(ANSWER_MS)
    assert [event.by for event in flow.of(Resumed)] == ["timeout"]
    assert (flow.of(NodeFailed)[0].reason, flow.last.state) == ("no_answer", "FAILED")
    grant(flow)
    assert flow.new == [CommandSent(RECORD, "contact.release", {"reference": REFERENCE})]
    flow = asking().wait(ANSWER_MS)
    assert refuse(flow).new == [CommandIgnored("contact_not_awaited")]
    assert grant(asking().wait(ANSWER_MS), counted=False).new == [CommandIgnored("contact_not_awaited")]


def test_an_answer_is_for_the_question_it_names() -> None:
    """The first question's late grant isn't taken for the second's answer, which is still to come."""
    again = {"mail2": MAIL}
    flow = asking(edges=[("mail", "mail2", "failure")], after=again).wait(ANSWER_MS)
    second = asked(flow)
    grant(flow, REFERENCE)
    assert (flow.label, given_back(flow), flow.of(EffectRequested)) == ("WAITING mail2", [REFERENCE], [])
    assert len(grant(flow, second).of(EffectRequested)) == 1


def test_an_answer_that_came_too_late_is_silence() -> None:
    """The record didn't count it: the node fails as if it had said nothing."""
    assert refuse(asking(), "late").of(NodeFailed)[0].reason == "no_answer"


def test_only_the_record_answers() -> None:
    """Other streams, other customers' records and services outside are refused, and the run waits on."""
    flow = asking()
    for sender in ("acme/c/anna/flow:other", "acme/c/bob/customer:profile", "acme/c/anna2/customer:profile"):
        flow.told(sender, "contact.granted", {"reference": REFERENCE, "counted": True})
        assert flow.rejected is not None
        assert flow.rejected.rule == "flow.not_told_by_the_record"
    assert flow.label == "WAITING mail"


def test_nobody_ends_the_question_by_hand() -> None:
    """`continue` is for waits that people may end; a message is never sent past a cap by it."""
    flow = asking().do(Continue())
    assert flow.rejected is not None
    held = refuse(asking({"over_cap": "hold"}), free_at_ms=NOW_MS + HOUR).do(Continue())
    assert held.rejected is not None


def test_a_cancelled_run_gives_its_grant_back() -> None:
    """The answer finds nobody: the contact doesn't count, whichever run asks next."""
    flow = asking().do(Cancel())
    assert flow.timers == {}
    grant(flow)
    assert given_back(flow) == [REFERENCE]
    assert flow.pinned == 0


def test_a_paused_run_asks_again_when_it_goes_on() -> None:
    """The answer that came meanwhile is given back, the run stays paused; nothing is sent by an old answer."""
    flow = asking().do(Pause())
    grant(flow)
    assert (flow.label, given_back(flow)) == ("PAUSED mail", [REFERENCE])
    flow.do(Resume())
    assert asked(flow) != REFERENCE
    assert flow.of(EffectRequested) == []
    assert len(grant(flow).of(EffectRequested)) == 1


def test_a_pause_shorter_than_the_question_changes_nothing() -> None:
    """The answer comes after the run went on: it is used, and nobody asked twice."""
    flow = asking().do(Pause()).wait(MINUTE).do(Resume())
    assert flow.timers == {"run:r1:mail:1": NOW_MS + MINUTE + ANSWER_MS}
    assert len(grant(flow, REFERENCE).of(EffectRequested)) == 1
    assert given_back(flow) == []


@pytest.mark.parametrize(
    ("ending", "back"),
    [
        ({"status": "failed", "error": "status_400"}, [REFERENCE]),
        ({"status": "failed", "error": "timeout"}, []),
        ({"status": "failed", "error": "connection_lost"}, []),
        ({"status": "unknown", "error": "interrupted"}, []),
        ({"status": "succeeded"}, []),
    ],
    ids=["refused", "timeout", "lost", "unknown", "sent"],
)
def test_what_was_not_sent_for_certain_is_given_back(ending: dict[str, Any], back: list[str]) -> None:
    """A provider's no frees the contact; whatever may have reached the customer counts."""
    assert given_back(grant(asking()).answer("mail", **ending)) == back


@pytest.mark.parametrize("first", [{"error": "timeout"}, {"error": "status_503"}], ids=["in-doubt", "told"])
def test_an_attempt_in_doubt_counts_whatever_the_next_one_says(first: dict[str, Any]) -> None:
    """The first may have been sent although the second was refused."""
    flow = grant(asking({"retry": {"attempts": 2, "initial": "1s"}}))
    flow.answer("mail", "failed", retryable=True, **first).wait(2_000)
    flow.answer("mail", "failed", error="status_400")
    assert flow.last.reason == "status_400"
    assert given_back(flow) == ([] if first["error"] == "timeout" else [REFERENCE])


def test_a_provider_that_never_answers_may_have_sent() -> None:
    """Silence is no proof: the contact counts."""
    flow = grant(asking()).wait(HOUR)
    assert flow.last.reason == "no_answer"
    assert given_back(flow) == []


def test_a_message_that_cannot_be_made_gives_its_contact_back() -> None:
    """A missing value, or too many unanswered effects: nothing was asked for."""
    flow = grant(asking({"params": {"subject": "Hi {{customer.first_name}}"}}))
    assert (flow.of(NodeFailed)[0].reason, given_back(flow)) == ("missing_variable", [REFERENCE])
    logs = {
        f"log{n}": {"kind": "action", "type": "log", "params": {"message": "x"}, "wait": False}
        for n in range(PENDING_MAX)
    }
    flow = world({**logs, "mail": MAIL}, customer=ANNA).do(Start())
    grant(flow)
    assert flow.last.reason == "too_many_pending"
    assert given_back(flow) == [asked(flow)]


def test_an_effect_nobody_waits_for_gives_its_contact_back_too() -> None:
    """`wait: false`: the run asks, goes on with the grant, and the provider's later no frees the contact."""
    flow = grant(asking({"wait": False}))
    assert flow.last.state == "COMPLETED"
    flow.answer("mail", "failed", error="status_400")
    assert given_back(flow) == [REFERENCE]


def test_a_run_cancelled_while_the_provider_works_keeps_its_contact() -> None:
    """The message may be on its way."""
    flow = grant(asking()).do(Cancel())
    assert given_back(flow) == []
    assert flow.state is not None
    assert flow.state.contacts == {}


def test_imported_history_asks_nobody() -> None:
    """Neither caps nor answers: actions of the past are recorded as suppressed."""
    flow = world({"mail": MAIL}, customer=ANNA, events=["GO"], entry=[{"event": "GO"}])
    flow.do(HandleEvent("GO", {}), backfill=True)
    assert flow.of(CommandSent) == []
    assert flow.of(EffectRequested)[0].suppressed
    assert flow.last.state == "COMPLETED"


BERLIN = {"quiet_hours": {"from": "21:00", "to": "08:00"}, "zone": "Europe/Berlin"}
SPRING_MS = (
    1_774_728_000_000  # Saturday, 28 March 2026, 20:00 UTC, 21:00 in Berlin; the clocks go ahead at 2:00
)
AUTUMN_MS = 1_792_868_400_000  # Saturday, 24 October 2026, 19:00 UTC, 21:00 in Berlin; they go back at 3:00


@pytest.mark.parametrize(("start_ms", "hours"), [(SPRING_MS, 10), (AUTUMN_MS, 12), (NOW_MS + 11 * HOUR, 10)])
def test_quiet_hours_hold_before_anybody_is_asked(start_ms: int, hours: int) -> None:
    """The question comes when they end by the customer's clock, in the nights of the change as well."""
    flow = world({"mail": MAIL | BERLIN}, customer=ANNA)
    flow.now_ms = start_ms
    flow.do(Start())
    assert (flow.tells(), flow.label) == ([], "WAITING mail")
    flow.wait(hours * HOUR - 1)
    assert flow.all(CommandSent) == []
    flow.wait(1)
    assert [told.type for told in flow.tells()] == ["contact.ask"]
    assert len(grant(flow).of(EffectRequested)) == 1


@pytest.mark.parametrize("start_ms", [SPRING_MS, AUTUMN_MS], ids=["spring", "autumn"])
def test_consent_withdrawn_in_the_night_stops_the_message(start_ms: int) -> None:
    """What the customer says before the message leaves counts, not what was so when it was planned."""
    flow = world({"mail": MAIL | BERLIN}, customer=ANNA)
    flow.now_ms = start_ms
    flow.do(Start()).wait(2 * HOUR)
    flow.record = ANNA | {"consent": {"email": False}}
    flow.wait(11 * HOUR)
    assert [event.reason for event in flow.all(ActionSkipped)] == ["no_consent"]
    assert (flow.all(CommandSent), flow.all(EffectRequested)) == ([], [])


def test_an_answer_in_the_quiet_is_given_back() -> None:
    """Asked just before nine, answered just after: the contact is free again, and asked for in the morning."""
    flow = world({"mail": MAIL | BERLIN}, customer=ANNA)
    flow.now_ms = SPRING_MS - 1_000
    flow.do(Start()).wait(2_000)
    first = asked(flow)
    grant(flow)
    assert (flow.of(Waiting)[0].reason, given_back(flow), flow.of(EffectRequested)) == (
        "quiet_hours",
        [first],
        [],
    )
    flow.wait(10 * HOUR)
    assert asked(flow) != first


def test_consent_withdrawn_between_the_grant_and_the_message_counts() -> None:
    """The record's newest word stands: the contact is given back, nothing is sent."""
    flow = asking()
    flow.record = ANNA | {"consent": {"email": False}}
    grant(flow)
    assert ([event.reason for event in flow.of(ActionSkipped)], given_back(flow)) == (
        ["no_consent"],
        [REFERENCE],
    )


def test_consent_withdrawn_while_a_cap_is_held_stops_the_message() -> None:
    """It is asked when the cap frees."""
    flow = refuse(asking({"over_cap": "hold"}), free_at_ms=NOW_MS + HOUR)
    flow.record = ANNA | {"consent": {"email": False}}
    flow.wait(HOUR)
    assert [event.reason for event in flow.of(ActionSkipped)] == ["no_consent"]


def test_a_paused_hold_ends_at_its_instant() -> None:
    """A pause doesn't move when the cap frees; past it, the run asks as soon as it goes on."""
    flow = refuse(asking({"over_cap": "hold"}), free_at_ms=NOW_MS + HOUR).do(Pause())
    flow.wait(2 * HOUR).do(Resume()).wait(0)
    assert asked(flow) != REFERENCE
