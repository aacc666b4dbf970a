"""docs/experiences.md says what is true."""

import re
from pathlib import Path

import pytest

from orchestrator.core.events import EffectRequested
from orchestrator.distributions.reading import instant_ms
from orchestrator.journeys import experience
from orchestrator.journeys.experience.answers import PUBLIC
from orchestrator.journeys.experience.events import EVENTS
from orchestrator.journeys.experience.model import PROOF_POLICY, Codes, Compiled
from orchestrator.journeys.experience.needs import SITEVERIFY, VERIFY_ID_TOKEN
from orchestrator.journeys.experience.public import VIEW_PHASES, VIEW_STAGES
from orchestrator.journeys.experience.routing import ROOTS
from orchestrator.journeys.experience.stages import (
    JOURNEY_ACTIONS,
    JOURNEY_STAGES,
    REQUIREMENTS,
    SEQUENCE_ACTIONS,
    SEQUENCE_STAGES,
)
from orchestrator.journeys.experience.state import NOTES_MAX
from tests.experience.test_renderings import planted
from tests.experience.town import KIND, Town
from tests.experience.world import MINUTE, problems

PAGE = (Path(__file__).parents[2] / "docs" / "experiences.md").read_text()
BLOCKS = [block for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if block.startswith("kind:")]
SOURCES = "\n".join(file.read_text() for file in sorted(Path(str(experience.__file__)).parent.glob("*.py")))
MORNING = instant_ms("2027-03-06T08:00:00Z")


def named(word: str) -> bool:
    return re.search(rf"(?<![A-Za-z0-9_]){re.escape(word)}(?![A-Za-z0-9_])", PAGE) is not None


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_every_document_on_the_page_is_valid(number: int) -> None:
    """Each example has no error and no warning by the real mechanisms, once its codes are hashed."""
    assert problems(BLOCKS[number], KIND) == []


def test_the_first_experience_goes_where_the_page_says() -> None:
    """With the code into the queue and admitted for ten minutes; without one upcoming, with a waitlist."""
    town = Town(BLOCKS[0], MORNING)
    assert town.do("anna", "start") == ""
    assert town.do("anna", "authenticate") == "experience.proof_required"
    assert town.do("anna", "authenticate", "shop/accounts") == ""
    assert town.do("anna", "provide_access_code", access_code="spring-vip-84") == ""
    assert town.do("anna", "enter_queue") == ""
    town.until(MORNING + MINUTE)
    assert town.label("anna") == "routed.admitted"
    assert town.shot("anna")["context"]["admittanceExpiresAt"] <= MORNING + 11 * MINUTE
    town.do("bob", "start")
    town.do("bob", "authenticate", "shop/accounts")
    assert town.do("bob", "skip_access_code") == ""
    assert town.label("bob") == "routed.upcoming"
    assert town.do("bob", "enter_waitlist") == ""
    town.until(instant_ms("2027-03-06T10:00:00Z"))
    assert town.do("bob", "enter_queue") == ""


def test_every_word_of_the_contract_is_on_the_page() -> None:
    """Stages, actions, requirements, phases, variables and shown words, all of them."""
    groups = (
        JOURNEY_STAGES, SEQUENCE_STAGES, JOURNEY_ACTIONS, SEQUENCE_ACTIONS, REQUIREMENTS, VIEW_STAGES, VIEW_PHASES,
        ROOTS, tuple(PUBLIC),
    )  # fmt: skip
    assert [word for group in groups for word in group if not named(word)] == []


def test_every_field_of_a_document_is_on_the_page() -> None:
    """A field somebody adds to the format has to be explained."""
    schema = KIND.schema["properties"]
    fields = {*schema}
    for part in (
        schema["sequences"]["items"],
        schema["sequences"]["items"]["properties"]["gates"]["items"],
        schema["requirements"]["items"],
        schema["access_codes"],
        schema["access_codes"]["properties"]["codes"]["items"],
        schema["access_codes"]["properties"]["guesses"],
        schema["grants"],
    ):
        fields |= set(part["properties"])
    assert sorted(field for field in fields if not named(field)) == []


def test_every_rejection_and_event_is_on_the_page() -> None:
    """Rules in the code are those of the table, and every event's name is listed."""
    rules = set(re.findall(r'"((?:experience|access_code)\.[a-z_]+)"', SOURCES))
    listed = set(re.findall(r"`((?:experience|access_code)\.[a-z_]+)`", PAGE))
    assert rules == listed
    assert [event.NAME for event in EVENTS if event.NAME not in PAGE] == []


def test_every_name_of_the_renderings_is_on_the_page() -> None:
    """What a page can read is explained."""
    journey, _ = planted()
    names = {*journey.shot, *journey.shot["context"], *journey.view, *journey.view["sequence"]}
    names |= set(re.findall(r'context\["([A-Za-z]+)"\]', SOURCES)) | set(journey.shot["events"][0])
    assert sorted(name for name in names if not named(name)) == []


def test_the_numbers_on_the_page_are_the_codes() -> None:
    """Standard values and bounds are those in force."""
    standard = Compiled("e", "E", (), {})
    assert (Codes().guesses, Codes().within_ms, standard.answer_within_ms) == (5, 15 * MINUTE, 30_000)
    assert (PROOF_POLICY.attempts, PROOF_POLICY.answer_within_ms, NOTES_MAX) == (3, MINUTE, 50)
    for phrase in ("`limit` 5 `within` 15m", "asked three times at most", "the newest 50", "| 30s: how long"):
        assert phrase in " ".join(PAGE.split())


def test_the_effects_are_what_providers_are_told() -> None:
    """Type, params and private part of both proofs are as the table says."""
    assert (VERIFY_ID_TOKEN, SITEVERIFY) == ("verify_id_token", "siteverify")
    town = Town(BLOCKS[0], MORNING)
    town.do("anna", "start")
    town.do("anna", "authenticate", id_token="t")
    (asked,) = (event for event in town.journey("anna").events if isinstance(event, EffectRequested))
    assert set(asked.params) == {"provider", "subject"}
    assert set(asked.private) == {"token"}
