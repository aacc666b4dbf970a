"""Everything a JSON Schema can't say about a lifecycle document; all of it at once, each with its place."""

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.core.decider import Problem
from orchestrator.journeys.lifecycle.check_actions import check_actions
from orchestrator.journeys.lifecycle.check_flow import check_flow
from orchestrator.journeys.lifecycle.check_rules import check_rules
from orchestrator.journeys.lifecycle.check_states import check_states
from orchestrator.journeys.lifecycle.compile import compile_document


def check(document: Mapping[str, Any]) -> Sequence[Problem]:
    """Every problem of a document that fits the schema. How states and values follow needs one without errors."""
    problems = [*check_states(document), *check_rules(document), *check_actions(document)]
    if any(problem.severity == "error" for problem in problems):
        return problems
    return [*problems, *check_flow(compile_document(document))]
