"""What may be published as a ledger document."""

from typing import Any

import pytest

from orchestrator.core.durations import DURATION_MAX_MS, duration_ms
from orchestrator.customers.points import POINTS
from tests.customers.specs import LEDGER, problems


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"limits": {"award": 0}}, "/limits/award"),
        ({"limits": {"award": 1.5}}, "/limits/award"),
        ({"limits": {"balance": 2**63}}, "/limits/balance"),
        ({"limits": {"overdraft": -1}}, "/limits/overdraft"),
        ({"limits": {"per_day": 1}}, "/limits"),
        ({"limits": {"award": 20, "balance": 10}}, "/limits/award"),
        ({"expiry": {}}, "/expiry"),
        ({"expiry": {"after": "1y"}}, "/expiry/after"),
        ({"expiry": {"after": "999999d"}}, "/expiry/after"),
        ({"currency": ""}, "/currency"),
        ({"id": "Ledger"}, "/id"),
    ],
)
def test_problems_are_placed(changes: dict[str, Any], pointer: str) -> None:
    """What is wrong with a document is found at publishing, with its place."""
    assert problems(POINTS, LEDGER.definition.document | changes) == [pointer]


def test_an_award_above_the_balance_is_a_warning() -> None:
    """It keeps no document from being published: an award that large is refused when it comes."""
    (problem,) = POINTS.check(LEDGER.definition.document | {"limits": {"award": 20, "balance": 10}})
    assert problem.severity == "warning"


def test_spans_are_read() -> None:
    """The notation is the journeys'."""
    assert duration_ms("12h") == 43_200_000
    assert duration_ms("52w") == 52 * 7 * 86_400_000
    assert duration_ms("3650d") == DURATION_MAX_MS
    for text in ("3651d", "0d", "1y", "1d2h", " 1d", "d"):
        with pytest.raises(ValueError, match=r"write|longer"):
            duration_ms(text)
