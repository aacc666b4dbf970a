"""What a flow names is looked for before it is published."""

from pathlib import Path
from typing import Any

import pytest

from orchestrator import definitions
from orchestrator.journeys.flow.references import Reference, references
from tests.flow.graphs import document

EXAMPLES = Path(__file__).parents[2] / "examples"


def named(**actions: Any) -> list[Reference]:
    nodes = {name: {"kind": "action", **action} for name, action in actions.items()}
    return sorted(references(document(nodes)))


def test_documents_named_by_actions_are_found_with_their_places() -> None:
    """Templates, campaigns, ledgers, records and journeys, with the ids that hold where nothing is said."""
    assert named(
        mail={"type": "send_email", "params": {"template": "hello", "version": 3}},
        bonus={"type": "award_points", "params": {"points": 1, "reason": "x"}},
        push={"type": "trigger_campaign", "params": {"campaign_id": 7}},
        next={"type": "start_journey", "params": {"journey": "shop", "kind": "lifecycle"}},
        profile={"type": "update_profile", "params": {"attributes": {}, "record": "people"}},
        call={"type": "webhook", "params": {"url": "https://example.com"}},
    ) == [
        Reference("campaign", "7", None, "/nodes/push/params/campaign_id"),
        Reference("customer", "people", None, "/nodes/profile/params/record"),
        Reference("lifecycle", "shop", None, "/nodes/next/params/journey"),
        Reference("points", "ledger", None, "/nodes/bonus"),
        Reference("template", "hello", 3, "/nodes/mail/params/template"),
    ]


@pytest.mark.parametrize("template", ["{{customer.template}}", {"var": "template"}, "", None])
def test_what_is_computed_cannot_be_looked_for(template: Any) -> None:
    """A name that a rule or a placeholder makes is left to the run, which fails by name where there is none."""
    assert named(mail={"type": "send_email", "params": {"template": template}}) == []


@pytest.mark.parametrize("flow", ["welcome", "retention", "cart-abandonment"])
def test_the_examples_name_each_other(flow: str) -> None:
    """Whoever publishes all examples at once is told of nothing that is missing."""
    there = set()
    for folder in ("templates", "campaigns", "customers", "flow", "lifecycle"):
        for file in (EXAMPLES / folder).glob("*.yaml"):
            read = definitions.read(file.read_bytes()).value
            there.add((read["kind"], read["id"]))
    asked = definitions.load((EXAMPLES / "flow" / f"{flow}.yaml").read_bytes())
    found = {(one.kind, one.id) for one in references(asked)}
    assert found or flow == "cart-abandonment"
    assert found <= there
