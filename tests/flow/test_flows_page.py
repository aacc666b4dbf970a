"""docs/flows.md says what is true."""

import re
from pathlib import Path
from typing import Any

import pytest

from orchestrator.core.events import EffectRequested
from orchestrator.customers.contact import REASONS
from orchestrator.journeys.effects import PENDING_MAX, EffectPolicy
from orchestrator.journeys.flow import FLOW, commands, decide, enter, hear, replies, travel
from orchestrator.journeys.flow.acting import ANSWER_MS
from orchestrator.journeys.flow.commands import Start
from orchestrator.journeys.flow.compile import HOLD_MS
from orchestrator.journeys.flow.events import EVENTS, BranchTaken, GoalReached, RunEnded
from orchestrator.journeys.flow.evolve import RESULT_CHARS_MAX
from orchestrator.journeys.flow.state import KEYS_MAX, RUNS_MAX
from orchestrator.journeys.flow.travel import STEPS_MAX
from orchestrator.journeys.flow.values import ROOTS, RUN_FIELDS
from tests.flow.world import DAY, World, definition, problems

PAGE = (Path(__file__).parents[2] / "docs" / "flows.md").read_text()
BLOCKS = [block for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if block.startswith("kind:")]
DOCUMENTS = {re.findall(r"^id: (\S+)", block, re.MULTILINE)[0]: block for block in BLOCKS}
RECORD: dict[str, Any] = {
    "private": {"first_name": "Anna"},
    "consent": {"email": True},
    "addresses": {"email": "anna@example.com"},
}


def entered(payload: dict[str, Any] | None = None, customer: str = "anna") -> World:
    flow = World(definition(DOCUMENTS["first-order"]), record=RECORD, customer=customer)
    return flow.hear("ACCOUNT_CREATED", payload or {"source": "web"})


@pytest.mark.parametrize("id", sorted(DOCUMENTS))
def test_every_document_on_the_page_is_valid(id: str) -> None:
    """Each example has no error and no warning."""
    assert problems(DOCUMENTS[id]) == []


def test_the_first_flow_goes_where_the_page_says() -> None:
    """A large order, a small one, none at all, a failed greeting, a closed account: each its own way."""
    assert entered({"source": "import"}).all(EffectRequested) == []
    assert World(definition(DOCUMENTS["first-order"]), record=RECORD).do(Start()).label == "IN_PROGRESS greet"
    large = entered().answer("greet").hear("ORDER_PLACED", {"total": 120})
    assert [event.goal for event in large.of(GoalReached)] == ["ordered"]
    assert [event.branch for event in large.of(BranchTaken)] == ["large"]
    assert large.last.state == "COMPLETED"
    small = entered().answer("greet", "failed", error="x").hear("ORDER_PLACED", {"total": 20})
    assert small.path()[-1] == "done"
    ways = {entered(customer=f"c-{n}").answer("greet").wait(3 * DAY).label for n in range(40)}
    assert ways == {"IN_PROGRESS send_voucher", "COMPLETED left"}
    assert entered().hear("ACCOUNT_CLOSED").last.reason == "account_closed"


def test_the_delivery_waits_for_its_own_order() -> None:
    """Two orders of a customer, each with its run; the late one alarms."""
    flow = World(definition(DOCUMENTS["delivery"]), record=RECORD)
    flow.hear("ORDER_PLACED", {"orderId": "a"}).hear("ORDER_PLACED", {"orderId": "b"})
    flow.hear("ORDER_DELIVERED", {"orderId": "b"}).answer("ask")
    (asked,) = flow.wait(10 * DAY).of(EffectRequested)
    assert asked.params["body"] == {"order": "a"}
    assert len(flow.answer("alarm").all(RunEnded)) == 2


def test_the_numbers_on_the_page_are_the_codes() -> None:
    """Bounds and standard values in the text are those in force."""
    assert "doesn't answer within an hour" in PAGE
    assert ANSWER_MS == 3_600_000
    assert f"| `hold_for` | {HOLD_MS // DAY}d |" in PAGE
    for number in (STEPS_MAX, PENDING_MAX, KEYS_MAX, RUNS_MAX, RESULT_CHARS_MAX):
        assert re.search(rf"\b{number:,}\b", PAGE), number
    standard = EffectPolicy()
    assert (standard.attempts, standard.initial_ms, standard.factor, standard.max_ms) == (
        5,
        1_000,
        2,
        300_000,
    )
    assert "| 5, 1s, 2, 5m, 0.2 |" in PAGE
    assert (standard.jitter, standard.timeout_ms, standard.answer_within_ms) == (0.2, 10_000, 300_000)


def test_every_field_variable_and_event_is_on_the_page() -> None:
    """What somebody adds to the format, the scope or the log has to be explained."""
    schema = FLOW.schema
    fields = {*schema["properties"]}
    for part in ("entry", "exit", "goal", "action", "edge"):
        fields |= set(schema["$defs"][part]["properties"])
    for branch in schema["$defs"]["node"]["allOf"]:
        fields |= set(branch["then"]["properties"])
    assert {field for field in fields if not re.search(rf"\b{field}\b", PAGE)} == set()
    assert {name for name in (*ROOTS, *RUN_FIELDS) if name not in PAGE} == set()
    assert {event.NAME for event in EVENTS if event.NAME not in PAGE} == set()


def test_the_news_is_held_as_the_page_says() -> None:
    """In quiet hours first, then until the cap frees, at most three days; then it is spared."""
    capped = {"record": "profile", "capped": ("email",), "exempt": ["transactional"], "unasked": []}
    flow = World(definition(DOCUMENTS["news"]), record=RECORD | {"contact": capped})
    flow.now_ms += 12 * 3_600_000
    flow.do(Start())
    assert flow.tells() == []
    flow.wait(9 * 3_600_000)
    for _ in range(2):
        (asked,) = flow.tells("contact.ask")
        assert (asked.data["channel"], asked.data["class"]) == ("email", "marketing")
        told = {"reference": asked.data["reference"], "reason": "cap", "free_at_ms": flow.now_ms + 9 * DAY}
        flow.told("acme/c/anna/customer:profile", "contact.refused", told).wait(3 * DAY)
    assert flow.last.state == "COMPLETED"
    assert flow.path()[-1] == "spared"


def test_every_word_for_a_no_is_on_the_page() -> None:
    """Rejections and reasons in the code are those in the tables."""
    sources = [
        Path(str(module.__file__)).read_text() for module in (commands, decide, enter, hear, travel, replies)
    ]
    words = {word for source in sources for word in re.findall(r'"flow\.([a-z_]+)"', source)}
    refusals = set(re.findall(r'return "([a-z_]+)"', sources[2])) | {"entered_with_key", "no_key"}
    assert {word for word in words | refusals if f"`flow.{word}`" not in PAGE} == {"event_too_large"}
    reasons = set(re.findall(r'_fail\(turn, node, run, "([a-z_]+)"', sources[4]))
    reasons |= set(re.findall(r'FAILED, "([a-z_]+)"', sources[4])) | set(REASONS) - {"late"}
    assert {word for word in reasons if f"`{word}`" not in PAGE} == set()
