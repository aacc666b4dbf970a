"""docs/definitions.md says what is true."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator import definitions
from orchestrator.core import rules
from orchestrator.journeys import LIFECYCLE
from orchestrator.journeys.effects import PARAMS_BYTES_MAX, PENDING_MAX, EffectPolicy
from orchestrator.journeys.lifecycle.commands import HandleEvent, Start
from orchestrator.journeys.lifecycle.compile import STANDARD_CONTEXT
from orchestrator.journeys.lifecycle.turn import INTERNAL_EVENTS_MAX
from tests.support.spec import spec_of

PAGE = (Path(__file__).parents[2] / "docs" / "definitions.md").read_text()
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
DOCUMENTS = {block.split("id: ")[1].split("\n")[0]: block for block in BLOCKS if block.startswith("kind:")}


def walk(id: str, *types: str, payload: dict[str, Any] | None = None) -> Any:
    story = spec_of(DOCUMENTS[id]).given()
    for type in types:
        story = story.when(HandleEvent(type, payload or {}))
    return story


@pytest.mark.parametrize("id", sorted(DOCUMENTS))
def test_every_document_on_the_page_is_valid(id: str) -> None:
    """Each example has no error and no warning, and a journey of it can be started."""
    assert definitions.validate(DOCUMENTS[id].encode()).problems == ()
    assert spec_of(DOCUMENTS[id]).given().when(Start()).label


def test_the_examples_do_what_the_page_says() -> None:
    """The walk each section describes ends where it says."""
    assert walk("welcome", "USER_CREATED", "PROFILE_COMPLETED").label == "ACTIVE"
    checkout = walk("nested", "CHECKOUT_STARTED", "DETAILS_GIVEN", payload={"total": 120})
    assert checkout.label == "CHECKOUT.PAYMENT"
    assert checkout.when(HandleEvent("CANCELLED", {})).label == "CART"
    paid = checkout.when(HandleEvent("PAID", {}))
    assert [event.action for event in paid.new if hasattr(event, "action")] == ["free_items", "tell_sales"]
    assert walk("guarded", "PROFILE_COMPLETED").rejected.rule == "lifecycle.trigger_not_allowed"
    assert walk("counted", "PRODUCT_VIEWED", "PRODUCT_VIEWED").label == "VISITOR"
    assert walk("counted", *["PRODUCT_VIEWED"] * 3).label == "INTERESTED"
    assert walk("personal", "SIGNED_UP", payload={"email": "x"}).state.private == {"email": "x"}


def test_the_numbers_on_the_page_are_the_codes() -> None:
    """Budgets, limits and standard values in the text are those in force."""
    for number in (rules.OPS_BUDGET, rules.RESULT_CHARS_MAX):
        assert f"{number:,}" in PAGE
    assert f"{rules.RULE_NODES_MAX} nodes" in PAGE
    assert re.search(rf"\b{rules.NESTING_MAX}\s+levels", PAGE)
    assert f"At most {PENDING_MAX} effects" in PAGE
    assert f"at most {PARAMS_BYTES_MAX:,} bytes" in PAGE
    assert f"at most {INTERNAL_EVENTS_MAX} events" in PAGE
    standard = EffectPolicy()
    assert f"| `retry.attempts` | {standard.attempts} |" in PAGE
    assert (standard.initial_ms, standard.factor, standard.max_ms) == (1_000, 2, 300_000)
    assert "| 1s, 2, 5m |" in PAGE
    assert f"| `retry.jitter` | {standard.jitter} |" in PAGE
    assert (standard.timeout_ms, standard.answer_within_ms, standard.unknown) == (10_000, 300_000, "fail")
    assert "| `timeout` | 10s |" in PAGE
    assert "| `answer_within` | 5m |" in PAGE
    (context,) = (block for block in BLOCKS if block.startswith("stepIndex"))
    assert yaml.safe_load(context) == STANDARD_CONTEXT


def test_every_field_of_the_format_is_on_the_page() -> None:
    """A field somebody adds to the schema has to be explained."""
    schema = LIFECYCLE.schema
    fields = {*schema["properties"]}
    for part in ("state", "transition", "after", "triggers"):
        fields |= set(schema["$defs"][part]["properties"])
    for branch in schema["$defs"]["action"]["allOf"]:
        fields |= set(branch["then"]["properties"])
    unexplained = {field for field in fields - {"description", "name", "type"} if f"{field}" not in PAGE}
    assert unexplained == set()
