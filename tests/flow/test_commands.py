"""Messages become commands, or say what is wrong with them."""

from typing import Any

import pytest

from orchestrator.core.errors import Malformed
from orchestrator.journeys.flow import FLOW
from orchestrator.journeys.flow.commands import (
    Cancel,
    Continue,
    HandleEvent,
    Pause,
    Resume,
    Start,
)


@pytest.mark.parametrize(
    ("type", "data", "command"),
    [
        ("start", {}, Start()),
        ("start", {"context": {"a": 1}, "run": "order-7"}, Start({"a": 1}, "order-7")),
        ("continue", {"run": "r1", "event_data": {"amount": 1}}, Continue({"amount": 1}, "r1")),
        ("pause", {"reason": "holiday"}, Pause("", "holiday")),
        ("resume", {"run": "r1"}, Resume("r1")),
        ("cancel", {}, Cancel()),
        ("event", {"type": "A", "payload": {"n": 1}, "timestamp": 5}, HandleEvent("A", {"n": 1}, 5)),
        ("segment.entered", {"segment": "vip"}, HandleEvent("segment.entered", {"segment": "vip"})),
    ],
)
def test_commands_are_read(type: str, data: dict[str, Any], command: Any) -> None:
    """Each command and its fields."""
    assert FLOW.parse(type, data) == command


@pytest.mark.parametrize(
    ("type", "data", "message"),
    [
        ("begin", {}, "start, continue, pause"),
        ("start", {"contxt": {}}, "contxt"),
        ("start", {"context": []}, "object"),
        ("start", {"run": "r7"}, "given by the flow itself"),
        ("start", {"run": "a b"}, "64 letters"),
        ("continue", {"event_data": 1}, "object"),
        ("pause", {"reason": "x" * 201}, "200"),
        ("event", {"payload": {}}, "type"),
        ("event", {"type": "A", "timestamp": "now"}, "timestamp"),
        ("segment.left", {}, "segment"),
    ],
)
def test_what_can_not_be_read_says_why(type: str, data: dict[str, Any], message: str) -> None:
    """The field, and what it should be."""
    with pytest.raises(Malformed, match=message):
        FLOW.parse(type, data)


def test_raw_events_are_read() -> None:
    """A raw event's payload is an object or nothing."""
    assert FLOW.parse_raw("A", {"payload": None, "sessionId": "s"}) == HandleEvent("A", {})
    with pytest.raises(Malformed, match="object"):
        FLOW.parse_raw("A", {"payload": [1]})
