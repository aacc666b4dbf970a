"""Commands addressed to a journey, and how their data is read."""

from typing import Any

import pytest

from orchestrator.core.errors import Malformed
from orchestrator.core.events import JourneyStarted
from orchestrator.journeys import KINDS, LIFECYCLE
from orchestrator.journeys.lifecycle.commands import Destroy, HandleEvent, Restart, SetContext, Start
from orchestrator.journeys.lifecycle.events import ContextSet, Reset
from tests.support.spec import NOW_MS, example

SPEC = example("shop")


@pytest.mark.parametrize(
    ("type", "data", "command"),
    [
        ("event", {"type": "E"}, HandleEvent("E", {})),
        ("event", {"type": "E", "payload": {"a": 1}, "timestamp": 5}, HandleEvent("E", {"a": 1}, 5)),
        ("event", {"type": "E", "payload": None, "timestamp": None}, HandleEvent("E", {})),
        ("start", {}, Start()),
        ("start", {"context": {"a": 1}, "state": "S"}, Start({"a": 1}, "S")),
        ("set_context", {"context": {"a.b": 1}}, SetContext({"a.b": 1})),
        ("reset", {}, Restart()),
        ("destroy", {}, Destroy()),
    ],
)
def test_commands_are_read(type: str, data: dict[str, Any], command: Any) -> None:
    """Each command's data becomes its typed form."""
    assert LIFECYCLE.parse(type, data) == command


@pytest.mark.parametrize(
    ("type", "data", "word"),
    [
        ("jump", {}, "event, start, set_context, reset, destroy"),
        ("event", {}, "type"),
        ("event", {"type": ""}, "type"),
        ("event", {"type": "x" * 129}, "128"),
        ("event", {"type": "E", "payload": []}, "payload"),
        ("event", {"type": "E", "payload": "x"}, "payload"),
        ("event", {"type": "E", "timestamp": "now"}, "timestamp"),
        ("event", {"type": "E", "timestamp": True}, "timestamp"),
        ("event", {"type": "E", "timestamp": -1}, "timestamp"),
        ("event", {"type": "E", "timestamp": 1e12}, "timestamp"),
        ("event", {"type": "E", "payloud": {}}, "payloud"),
        ("start", {"context": 1}, "context"),
        ("start", {"state": None}, "state"),
        ("set_context", {}, "context"),
        ("set_context", {"context": {}}, "at least one"),
        ("reset", {"x": 1}, "'x'"),
        ("destroy", {"x": 1}, "no fields"),
    ],
)
def test_malformed_commands_name_the_field(type: str, data: dict[str, Any], word: str) -> None:
    """What doesn't have a command's shape is refused with the field's name."""
    with pytest.raises(Malformed, match=word):
        LIFECYCLE.parse(type, data)


def test_unknown_commands_have_their_own_reason() -> None:
    """Dead letters tell an unknown command type from a malformed one."""
    with pytest.raises(Malformed) as malformed:
        LIFECYCLE.parse("jump", {})
    assert malformed.value.reason == "unknown_type"


def test_raw_events_are_read() -> None:
    """A raw event's payload may be missing or null, but nothing else than an object."""
    assert LIFECYCLE.parse_raw("E", {"payload": {"a": 1}, "sessionId": "s"}) == HandleEvent("E", {"a": 1})
    assert LIFECYCLE.parse_raw("E", {}) == LIFECYCLE.parse_raw("E", {"payload": None}) == HandleEvent("E", {})
    with pytest.raises(Malformed, match="payload"):
        LIFECYCLE.parse_raw("E", {"payload": [1]})


def test_start_begins_with_the_given_values() -> None:
    """Values given at the start lie over the defaults, by path or as objects."""
    story = SPEC.given().when(
        Start({"metadata": {"source": "ads"}, "metadata.deviceType": "phone", "views": 3})
    )
    assert isinstance(story.new[0], JourneyStarted)
    assert story.label == "ONBOARDING"
    assert story.state.context["metadata"] == {"source": "ads", "deviceType": "phone", "entitlements": []}
    assert story.state.context["views"] == 3
    assert story.state.last_event_ms == NOW_MS
    story.when(Start()).then_rejected("lifecycle.already_started", state="ONBOARDING")


def test_only_declared_variables_can_be_set() -> None:
    """Unknown variables, the state and values beyond the bounds are business noes."""
    started = SPEC.given().when(Start())
    for path in ("state", "lastEventAt", "vews", "customer"):
        started.when(SetContext({path: 1})).then_rejected("lifecycle.unknown_variable", path=path)
    started.when(SetContext({"views": "x" * 20_000})).then_rejected("lifecycle.context_too_large")
    deep: Any = {}
    for _ in range(20):
        deep = {"a": deep}
    started.when(SetContext({"metadata": deep})).then_rejected("lifecycle.context_too_large")
    SPEC.given().when(Start({"vews": 1})).then_rejected("lifecycle.unknown_variable", path="vews")


def test_set_context_is_no_activity() -> None:
    """Services may set values of a running journey; its state and clock stay."""
    started = SPEC.given().when(Start())
    story = started.when(SetContext({"metadata.source": "crm", "orders": 4}), now_ms=NOW_MS + 5)
    story.then(ContextSet(set={"metadata.source": "crm", "orders": 4}))
    assert (story.label, story.state.last_event_ms) == ("ONBOARDING", NOW_MS)


def test_reset_goes_back_to_the_defaults() -> None:
    """A reset journey stands at its beginning, on its pinned version."""
    story = SPEC.given().when(HandleEvent("ORDER_PLACED", {}))
    assert story.label == "ACTIVE_SUBSCRIBER"
    story = story.when(Restart(), now_ms=NOW_MS + 5)
    assert len(story.of(Reset)) == 1
    fresh = SPEC.given().when(Start(), now_ms=NOW_MS + 5)
    assert story.state == fresh.state


@pytest.mark.parametrize("command", [SetContext({"views": 1}), Restart(), Destroy()])
def test_commands_need_a_journey(command: Any) -> None:
    """What changes a running journey is rejected where there is none."""
    SPEC.given().when(command).then_rejected("lifecycle.not_started")


def test_kinds_are_listed_once() -> None:
    """Names of kinds and of their events are unique: the log stores nothing else."""
    assert LIFECYCLE in KINDS
    types = {event for kind in KINDS for event in kind.events}  # kinds may share what they say of effects
    assert len({event.NAME for event in types}) == len(types)
    assert len({kind.name for kind in KINDS}) == len(KINDS)
