"""Start, reset, destroy, resuming from what a server knows, and the journey's events."""

from typing import Any

import pytest

from orchestrator.core.events import CommandIgnored, JourneyStarted
from orchestrator.journeys.experience.kind import Experience
from orchestrator.journeys.experience.state import NOTES_MAX
from tests.experience.documents import GATED, one
from tests.experience.world import HOUR, MINUTE, SECOND, World


def test_a_journey_begins_once() -> None:
    """A second start is rejected, another customer's is another journey."""
    journey = World(one()).do("start")
    assert journey.label == "routed.active_enterable"
    assert journey.do("start").rule == "experience.already_started"
    assert len(journey.all(JourneyStarted)) == 1


def test_nothing_happens_before_the_start() -> None:
    """Every other action is rejected by the same name."""
    for action in (
        "request_reroute",
        "retry",
        "enter_queue",
        "leave_participation",
        "refresh_distribution",
        "destroy",
    ):
        assert World(one()).do(action).rule == "experience.not_started"
    assert World(one()).shot["availableActions"] == {"journey": ["start"], "sequence": []}
    assert World(one()).shot["journeyStage"] == "not_started"


def test_an_experience_that_is_over_takes_nobody() -> None:
    """After its closing a start is rejected with the time."""
    closed = {**one(), "closes_at": "2026-01-05T10:00:00Z"}
    journey = World(closed).do("start")
    assert journey.rule == "experience.closed"
    assert journey.state is None


def test_an_experience_opens_all_its_sequences() -> None:
    """Before the opening of the whole nothing in it is open."""
    later = {**one(), "opens_at": "2026-01-05T11:00:00Z", "closes_at": "2026-01-05T12:00:00Z"}
    journey = World(later).do("start")
    assert journey.label == "routed.upcoming"
    assert journey.wait(HOUR).label == "routed.active_enterable"
    assert journey.wait(HOUR).label == "routed.ended"


def test_a_reset_begins_anew_and_gives_places_back() -> None:
    """Requirements are open again, what a distribution held is left, timers are gone, revisions go on."""
    journey = (
        World(GATED).do("start").trusted("authenticate").do("skip_access_code").trusted("complete_bot_check")
    )
    journey.do("enter_draw").told("entered", "drawing", participation="d-1")
    before = journey.shot["revision"]
    journey.do("start", reset=True)
    assert journey.asked == [("drawing", "leave")]
    assert journey.shot["journeyStage"] == "needs_auth"
    assert journey.shot["revision"] > before
    assert journey.shot["events"] == []
    assert journey.timers == {}


def test_a_reset_while_an_answer_is_on_its_way_gives_that_place_back_too() -> None:
    """The leave follows the enter on the same way, so the distribution ends with nobody."""
    journey = World(one()).do("start").do("enter_queue").do("start", reset=True)
    assert journey.asked == [("line", "leave")]
    journey.told("entered", "line", participation="line-1")
    assert journey.told("left", "line", reason="left").label == "routed.active_enterable"


def test_a_destroyed_journey_leaves_nothing() -> None:
    """No state, no timer; what came after begins at the beginning."""
    journey = World(one()).do("start").do("enter_queue").do("destroy")
    assert journey.state is None
    assert journey.timers == {}
    assert journey.shot["journeyStage"] == "not_started"
    assert journey.do("destroy").rule == "experience.not_started"
    assert journey.do("start").label == "routed.active_enterable"


def test_destroying_does_not_take_back_what_was_bought() -> None:
    """A used grant is the distribution's business; nobody is asked to leave."""
    journey = (
        World(one())
        .do("start")
        .told("admitted", "line", jti="j", expires_ms=0)
        .told("redeemed", "line", jti="j")
    )
    assert journey.do("destroy").asked == []


def server(**more: Any) -> dict:
    return {"sequenceId": "general", **more}


def test_a_journey_is_rebuilt_from_a_server() -> None:
    """Participation, waitlist and admission are taken over, then the distribution is asked how things stand."""
    waits = one(waitlist="wait")
    journey = World(waits).trusted(
        "resume_from_server", **server(waitlist={"waitlistId": "wait", "enteredAt": "2024-01-15T12:00:00Z"})
    )
    assert journey.label == "routed.waitlist_entered"
    assert journey.shot["context"]["participation"]["enteredAt"] == 1_705_320_000_000
    assert journey.asked == [("wait", "refresh")]
    part = {"id": "p-1", "type": "queue"}
    assert (
        World(waits).trusted("resume_from_server", **server(participation=part)).label
        == "routed.participating"
    )
    grant = {"jti": "j", "expiresAt": journey.now_ms + MINUTE}
    held = World(waits).trusted("resume_from_server", **server(admittance=grant))
    assert held.label == "routed.admitted"
    assert held.wait(MINUTE).label == "routed.admission_expired"
    late = World(waits).trusted("resume_from_server", **server(admittance={"jti": "j", "expiresAt": 1}))
    assert late.label == "routed.admission_expired"


def test_resumed_requirements_are_met() -> None:
    """What the server vouches for isn't asked for again."""
    journey = World(GATED).trusted(
        "resume_from_server", **server(requirementsMet=["authentication", "bot_check"])
    )
    assert [need["status"] for need in journey.shot["requirements"]] == ["met", "open", "met"]


def test_resuming_is_for_trusted_producers() -> None:
    """A page can't say where its customer stands."""
    for type, data in (("resume_from_server", server()), ("resume_from_me", {"experiences": []})):
        assert World(one()).do(type, **data).rule == "experience.untrusted_source"


def test_resume_from_me_picks_its_own_experience() -> None:
    """Of everything a server knows of the customer only this experience's part counts; without one nothing happens."""
    mine = {"experienceId": "exp_1", "sequenceId": "general", "participation": {"id": "p", "type": "queue"}}
    other = {"experienceId": "exp_2", "sequenceId": "elsewhere"}
    assert World(one()).trusted("resume_from_me", experiences=[other, mine]).label == "routed.participating"
    journey = World(one()).trusted("resume_from_me", experiences=[other])
    assert [event.reason for event in journey.of(CommandIgnored)] == ["nothing_to_resume"]
    assert journey.state is None


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        ({"sequenceId": "gone"}, "experience.unknown_sequence"),
        (server(waitlist={"waitlistId": "other"}), "experience.unknown_waitlist"),
        (server(participation={"id": "p", "type": "auction"}), "experience.other_mechanism"),
    ],
)
def test_what_the_document_does_not_know_is_rejected(data: dict, rule: str) -> None:
    """A server that speaks of another document is refused by name."""
    assert World(one(waitlist="wait")).trusted("resume_from_server", **data).rule == rule


def test_a_journey_under_way_is_not_overwritten() -> None:
    """The distribution is nearer the truth than what a server remembers."""
    journey = World(one()).do("start").do("enter_queue")
    journey.trusted("resume_from_server", **server())
    assert [event.reason for event in journey.of(CommandIgnored)] == ["already_under_way"]


@pytest.mark.parametrize(
    "data",
    [
        {"sequenceId": 5},
        {"waitlist": "w"},
        {"waitlist": {"waitlistId": "w", "enteredAt": "yesterday"}},
        {"participation": {"id": "p", "type": "waitlist"}},
        {"waitlist": {"waitlistId": "w"}, "participation": {"id": "p", "type": "queue"}},
        {"requirementsMet": ["height"]},
        {"admittance": {"expiresAt": 5}},
        {"unknown": 1},
    ],
)
def test_server_data_of_the_wrong_shape_names_the_field(data: dict) -> None:
    """Malformed, with the field and what it should be."""
    with pytest.raises(Exception, match="resume_from_server: "):
        World(one()).trusted("resume_from_server", **data)


def test_journey_events_have_ids_in_order_and_are_bounded() -> None:
    """The newest fifty are kept; an id never comes twice."""
    journey = World(one()).do("start")
    for _ in range(40):
        journey.do("enter_queue").told("refused", "line", action="enter", reason="queue.full")
        journey.do("refresh_distribution").wait(31 * SECOND).do("retry").told("updated", "line", phase="open")
    ids = [int(note["id"]) for note in journey.shot["events"]]
    assert len(ids) == NOTES_MAX
    assert ids == sorted(set(ids))
    assert set(journey.shot["events"][0]) == {"id", "ts", "kind", "severity", "audience", "message", "detail"}


def test_events_are_acknowledged_up_to_one_or_all() -> None:
    """`lastSeenEventId` only moves forward; unknown ids are rejected."""
    journey = (
        World(GATED).do("start").trusted("authenticate").do("skip_access_code").trusted("complete_bot_check")
    )
    first, *_, last = (note["id"] for note in journey.shot["events"])
    assert "lastSeenEventId" not in journey.shot
    assert journey.do("ack_event", id=first).shot["lastSeenEventId"] == first
    assert journey.do("ack_all_events").shot["lastSeenEventId"] == last
    assert journey.do("ack_event", id=first).of(CommandIgnored)
    assert journey.shot["lastSeenEventId"] == last
    assert journey.do("ack_all_events").of(CommandIgnored)
    assert journey.do("ack_event", id="999").rule == "experience.unknown_event"
    assert World(one()).do("ack_all_events").rule == "experience.not_started"


def test_a_rejected_command_counts_as_a_revision_but_as_no_change() -> None:
    """`revision` is the stream's version; `updatedAt` moves with what happened."""
    journey = World(one()).do("start")
    changed_ms = journey.shot["updatedAt"]
    journey.now_ms += MINUTE
    journey.do("start")
    assert journey.shot["revision"] == len(journey.events)
    assert journey.shot["updatedAt"] == changed_ms


def test_only_a_customers_own_stream_is_a_journey() -> None:
    """Neither a run nor a resource's stream: distributions couldn't answer it."""
    from orchestrator.core.addresses import parse_stream

    for text in ("acme/c/anna/experience:exp_1:second", "acme/r/anna/experience:exp_1"):
        journey = World(one())
        journey.stream = parse_stream(text)
        assert journey.do("start").rule == "experience.one_per_customer"


@pytest.mark.parametrize(
    ("type", "data"),
    [
        ("start", {"reset": "yes"}),
        ("start", {"access_code": 5}),
        ("start", {"acces_code": "canary"}),
        ("provide_access_code", {}),
        ("provide_access_code", {"access_code": "canary" * 100}),
        ("authenticate", {"token": "canary"}),
        ("complete_bot_check", {"token": ["canary"]}),
        ("enter_queue", {"nested": {"canary": 1}}),
        ("retry", {"canary": 1}),
        ("set_attributes", {}),
        ("ack_event", {}),
        ("mark_admitted", {"jti": "", "expires_ms": 1}),
        ("mark_admitted", {"jti": "j", "expires_ms": -1}),
        ("start", {"segments": ["canary", 1]}),
        ("distribution.unheard", {"distribution": "line"}),
        ("jump", {}),
    ],
)
def test_commands_of_the_wrong_shape_are_malformed_without_quoting_values(type: str, data: dict) -> None:
    """The message names the command and the field; values may be secrets."""
    from orchestrator.core.errors import Malformed

    with pytest.raises(Malformed) as refused:
        Experience().parse(type, data)
    assert type in str(refused.value)
    assert "canarycanary" not in str(refused.value)
    assert "['canary']" not in str(refused.value)
