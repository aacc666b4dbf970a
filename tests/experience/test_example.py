"""The example document, played with the real distributions it names."""

import json
from pathlib import Path

import pytest

from orchestrator.distributions.fairness.seeds import commitment
from orchestrator.distributions.reading import instant_ms
from tests.experience.town import KIND, Town
from tests.experience.world import HOUR, MINUTE, SECOND, problems

FILE = Path(__file__).parents[2] / "examples" / "experiences" / "sneaker-drop.yaml"
NOON = instant_ms("2027-03-05T12:00:00Z")
QUEUE_OPENS = instant_ms("2027-03-06T09:00:00Z")
DRAW_OPENS = instant_ms("2027-03-06T10:00:00Z")
DRAW_CLOSES = instant_ms("2027-03-06T18:00:00Z")
VIP, FRIENDS = "VIP-SNKR-7Q4M", "FRIENDS-2XK9"


SECRET = bytes(range(32))
BEACON = {"round": 5_800_000, "value": "ab" * 32}


@pytest.fixture
def town() -> Town:
    """The experience as operators prepare it: the draw's secret is committed before anybody enters."""
    town = Town(FILE.read_bytes(), NOON)
    town.operate("general-draw", "commit", commitment=commitment(SECRET).hex(), salt_key="cd" * 32)
    return town


def gate(town: Town, customer: str, code: str = "") -> None:
    """Through all requirements, as a page and its providers do it."""
    assert town.do(customer, "start", **({"access_code": code} if code else {})) == ""
    assert town.do(customer, "authenticate", id_token="token") == ""
    town.answer(customer, "authentication", subject=customer)
    if not code:
        assert town.do(customer, "skip_access_code") == ""
    assert town.do(customer, "complete_bot_check", token="token") == ""
    town.answer(customer, "bot_check", success=True)


def test_the_example_has_no_problem() -> None:
    """No error and no warning by the schemas and checks of the mechanisms themselves."""
    assert problems(FILE.read_bytes(), KIND) == []


def test_a_vip_goes_through_the_queue_to_a_used_grant(town: Town) -> None:
    """Code, queue, admission, redemption, completion: each step shows on both renderings."""
    gate(town, "anna", VIP)
    assert town.label("anna") == "routed.upcoming"
    assert town.view("anna")["sequence"]["phase"] == "scheduled"
    town.until(QUEUE_OPENS)
    assert town.do("anna", "enter_queue") == ""
    town.until(QUEUE_OPENS + MINUTE)
    assert town.label("anna") == "routed.admitted"
    admission = town.journey("anna").state.admission
    town.operate("vip-queue", "redeem", jti=admission.jti, reference="order-1")
    assert town.view("anna")["sequence"]["grant"]["used"] is True


def test_an_admission_not_used_in_time_may_be_had_again(town: Town) -> None:
    """The queue says that it has expired; the document lets the customer enter once more."""
    gate(town, "anna", VIP)
    town.until(QUEUE_OPENS)
    town.do("anna", "enter_queue")
    town.until(QUEUE_OPENS + 20 * MINUTE)
    assert town.label("anna") == "routed.admission_expired"
    assert town.do("anna", "enter_queue") == ""
    town.until(QUEUE_OPENS + 21 * MINUTE)
    assert town.label("anna") == "routed.admitted"


def test_a_vip_whom_the_queue_refuses_finds_the_draw(town: Town) -> None:
    """The document's rule sends whoever the queue didn't take to the general sequence."""
    gate(town, "anna", VIP)
    town.until(QUEUE_OPENS)
    town.operate("vip-queue", "close")
    assert town.do("anna", "enter_queue") == ""
    assert town.shot("anna")["events"][-1]["message"] == "That was not possible."
    assert town.do("anna", "request_reroute") == ""
    assert town.shot("anna")["context"]["sequenceId"] == "general"


def test_everybody_else_waits_and_enters_the_draw(town: Town) -> None:
    """The waitlist until the opening, then the draw, which is settling after its close."""
    gate(town, "bob")
    assert town.shot("bob")["context"]["sequenceId"] == "general"
    assert town.do("bob", "enter_waitlist") == ""
    assert town.view("bob")["sequence"] == {
        "phase": "participating", "mechanism": "waitlist", "opensAt": DRAW_OPENS, "closesAt": DRAW_CLOSES,
        "progress": {"phase": "waiting", "ticket": 1},
    }  # fmt: skip
    town.until(DRAW_OPENS)
    assert town.do("bob", "enter_draw") == ""
    assert town.label("bob") == "routed.participating"
    assert "bob" not in town.place("general-list").state.tickets
    assert town.shot("bob")["context"]["distribution"]["progress"]["receipt"]["ticket"] == 1
    town.until(DRAW_CLOSES + MINUTE)
    assert town.view("bob")["sequence"]["phase"] == "settling"


def test_the_draw_offers_and_the_winner_claims(town: Town) -> None:
    """Beacon and secret decide; a winner accepts within the claim window and is admitted, another lets it pass."""
    for customer in ("bob", "cem"):
        gate(town, customer)
    town.until(DRAW_OPENS)
    for customer in ("bob", "cem"):
        assert town.do(customer, "enter_draw") == ""
    town.until(DRAW_CLOSES + HOUR)
    town.operate("general-draw", "beacon", **BEACON)
    town.operate("general-draw", "draw", secret=SECRET.hex())
    town.until(town.now_ms + MINUTE)
    assert town.view("bob")["sequence"]["phase"] == "enterable"
    assert "accept_offer" in town.view("bob")["actions"]
    assert town.do("bob", "accept_offer") == ""
    assert town.view("bob")["sequence"]["phase"] == "granted"
    town.until(town.now_ms + 3 * HOUR)
    assert town.label("bob") == "routed.admitted"
    assert town.label("cem") == "routed.ended"
    assert town.do("cem", "accept_offer") == "experience.no_offer"


def test_a_customer_who_leaves_gives_the_place_back(town: Town) -> None:
    """Leaving, starting over and being forgotten all empty the place in the draw."""
    for way in ("leave_participation", "reset", "destroy"):
        gate(town, way)
    town.until(DRAW_OPENS)
    for way in ("leave_participation", "reset", "destroy"):
        assert town.do(way, "enter_draw") == ""
        assert town.place("general-draw").state.ticket_of(way)
        town.do(way, *(["start"] if way == "reset" else [way]), **({"reset": True} if way == "reset" else {}))
        assert not town.place("general-draw").state.ticket_of(way)
    assert town.label("leave_participation") == "routed.active_enterable"


def test_a_limited_code_serves_so_many_and_no_more() -> None:
    """Over all customers, by the one resource that counts."""
    text = FILE.read_text().replace("uses: 200", "uses: 2")
    town = Town(text, NOON)
    for customer in ("anna", "bob", "cem"):
        town.do(customer, "start", access_code=FRIENDS)
    codes = [town.journey(customer).state.codes for customer in ("anna", "bob", "cem")]
    assert codes == [("friends",), ("friends",), ()]
    assert town.shot("cem")["events"][-1]["message"] == "This code can't be used any more."


def test_a_code_that_ended_leads_to_the_draw(town: Town) -> None:
    """After its end the friends' code is refused by its own name."""
    town.until(instant_ms("2027-03-06T12:00:00Z"))
    town.do("anna", "start")
    assert town.do("anna", "provide_access_code", access_code=FRIENDS) == "access_code.expired"


def test_every_question_is_answered_and_nobody_sees_another(town: Town) -> None:
    """After a crowd's walk no question is open, and no view or snapshot names another customer."""
    crowd = [f"customer-{n:02d}" for n in range(12)]
    for n, customer in enumerate(crowd):
        gate(town, customer, VIP if n % 3 == 0 else "")
    town.until(DRAW_OPENS)
    for n, customer in enumerate(crowd):
        town.do(customer, "enter_queue" if n % 3 == 0 else "enter_draw")
        town.until(town.now_ms + SECOND)
        if n % 4 == 0:
            town.do(customer, "refresh_distribution")
        if n % 5 == 0:
            town.do(customer, "leave_participation")
    town.until(DRAW_OPENS + HOUR)
    for customer in crowd:
        assert town.journey(customer).state.question is None
        shown = json.dumps([town.view(customer), town.shot(customer)])
        assert [other for other in crowd if other != customer and other in shown] == []


def test_nobody_starts_after_the_end(town: Town) -> None:
    """The experience is closed to newcomers, and who stood outside is told that it has ended."""
    gate(town, "anna", VIP)
    town.until(instant_ms("2027-03-07T20:00:00Z"))
    assert town.label("anna") == "routed.ended"
    assert town.do("bob", "start") == "experience.closed"
