"""What the checks know of built-in actions is what their performers take."""

from typing import Any

import msgspec
import pytest

from consumers.actions import PROVIDERS
from orchestrator.journeys.flow.action_types import KNOWN
from tests.flow.graphs import document
from tests.flow.world import problems


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)
def test_parameters_are_those_of_the_performer(provider: Any) -> None:
    """Names, and which are needed, are the same on both sides: a document that passes isn't refused when it runs."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(provider.params)}
    known = KNOWN[provider.name]
    assert set(known.params) == set(fields) - {"at_most_once"}
    assert {name for name, field in fields.items() if field.required} <= set(known.needed)
    bad = document({"act": {"kind": "action", "type": provider.name, "params": {"nonsense": 1}}})
    assert "/nodes/act/params/nonsense" in {one.pointer for one in problems(bad)}
