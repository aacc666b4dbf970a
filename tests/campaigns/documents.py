"""Campaign documents for tests, and their problems as a publisher sees them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema_rs

from orchestrator import definitions
from orchestrator.core.decider import Problem
from orchestrator.messages.campaign import CAMPAIGN

EXAMPLES = Path(__file__).parents[2] / "examples" / "campaigns"
_VALIDATOR = jsonschema_rs.Draft202012Validator(dict(CAMPAIGN.schema), offline=True)


def example(name: str) -> dict[str, Any]:
    """A document of examples/campaigns."""
    return definitions.read((EXAMPLES / f"{name}.yaml").read_bytes()).value


def campaign(**changes: Any) -> dict[str, Any]:
    """A small campaign by text message, changed."""
    whole = {"kind": "campaign", "id": "sale", "channel": "sms", "template": "sale_text", **changes}
    return {name: value for name, value in whole.items() if value is not None}


def problems(document: Mapping[str, Any]) -> list[Problem]:
    """By its shape, else by its meaning."""
    shape = [
        Problem("".join(f"/{step}" for step in error.instance_path), error.message, "")
        for error in _VALIDATOR.iter_errors(dict(document))
    ]
    return shape or list(CAMPAIGN.check(document))


def places(document: Mapping[str, Any]) -> list[str]:
    return [problem.pointer for problem in problems(document)]
