"""Everything a JSON Schema can't say about a flow document; all of it at once, each with its place."""

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.core.decider import Problem
from orchestrator.journeys.flow.check_actions import check_actions
from orchestrator.journeys.flow.check_contact import check_contact
from orchestrator.journeys.flow.check_entry import check_entry
from orchestrator.journeys.flow.check_graph import check_graph
from orchestrator.journeys.flow.check_nodes import check_nodes
from orchestrator.journeys.flow.check_rules import check_rules


def check(document: Mapping[str, Any]) -> Sequence[Problem]:
    """Every problem of a document that fits the schema."""
    return [
        *check_graph(document),
        *check_nodes(document),
        *check_entry(document),
        *check_actions(document),
        *check_contact(document),
        *check_rules(document),
    ]
