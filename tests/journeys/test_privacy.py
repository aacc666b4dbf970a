"""Personal values: stored apart, usable by rules, shown to nobody."""

import json

from orchestrator.core.events import EffectRequested
from orchestrator.journeys.lifecycle.commands import HandleEvent, SetContext, Start
from orchestrator.journeys.lifecycle.events import ContextSet, EventNoted, Moved
from tests.journeys.documents import PERSONAL
from tests.support.spec import Story, spec_of

SPEC = spec_of(PERSONAL)
SECRETS = ("a@example.com", "Ada", "555")


def named() -> Story:
    payload = {"email": "a@example.com", "name": "Ada", "city": "Bergen"}
    return SPEC.given().when(HandleEvent("NAMED", payload))


def test_personal_values_are_stored_under_private() -> None:
    """Assignments to personal paths go into the event's `private`; the rest stays in `set`."""
    (moved,) = named().of(Moved)
    assert moved.private == {"email": "a@example.com", "profile.name": "Ada"}
    assert moved.set == {"profile.city": "Bergen"}


def test_snapshots_keep_them_apart_and_views_leave_them_out() -> None:
    """A dump has personal values only under `private`, params of pending effects included; a view has none."""
    state = named().state
    dump = SPEC.kind.dump(state)
    private = json.dumps(dump.pop("private"))
    assert "a@example.com" in private
    assert "Ada" in private
    for secret in SECRETS:
        assert secret not in json.dumps(dump)
        assert secret not in json.dumps(SPEC.kind.view(state))
    assert SPEC.kind.view(state)["profile"] == {"city": "Bergen"}


def test_rules_read_them() -> None:
    """Conditions see personal values in their places; the receipt doesn't repeat them."""
    story = named().when(HandleEvent("SENT", {}))
    (noted,) = story.of(EventNoted)
    assert noted.set == {"visits": 1}
    assert noted.inputs == {}


def test_personal_parts_of_events_stay_out_of_receipts() -> None:
    """A path of the event can be personal as well: what a condition read there is not recorded."""
    story = SPEC.given().when(HandleEvent("SIGNED", {"phone": "555"}))
    (noted,) = story.of(EventNoted)
    assert (noted.set, noted.inputs) == ({"visits": 1}, {})


def test_params_that_read_them_are_private() -> None:
    """A parameter whose rules read personal values goes into the request's `private` as a whole."""
    (effect,) = named().of(EffectRequested)
    assert effect.params == {"url": "https://example.com/welcome", "headers": {"x-city": "Bergen"}}
    assert effect.private == {"body": {"to": "a@example.com", "visits": 0}}


def test_services_can_set_them() -> None:
    """Start and set_context split their values the same way."""
    story = SPEC.given().when(Start({"email": "a@example.com", "visits": 2}))
    assert story.new[0].private == {"email": "a@example.com"}  # type: ignore[attr-defined]
    story = story.when(SetContext({"profile": {"name": "Ada", "city": "Oslo"}}))
    story.then(ContextSet(set={"profile.city": "Oslo"}, private={"profile.name": "Ada"}))


def test_a_later_value_wins_over_an_earlier_one_around_it() -> None:
    """Setting a personal object and then a value inside it, or the other way round, ends as written last."""
    spec = spec_of("""
kind: lifecycle
id: overlay
events: [WHOLE, PART, CHECK]
context: {p: null, ok: null}
pii: [p]
initial: S
states:
  S:
    on:
      WHOLE: {set: {p: {var: event.payload}}}
      PART: {set: {p.name: {var: event.payload.name}}}
      CHECK: {set: {ok: {"===": [{var: p.name}, {var: event.payload.name}]}}}
""")
    whole, part = HandleEvent("WHOLE", {"name": "a", "age": 5}), HandleEvent("PART", {"name": "b"})
    for commands, name in (((whole, part), "b"), ((part, whole), "a"), ((part, whole, part), "b")):
        story = spec.given()
        for command in commands:
            story = story.when(command)
        assert story.when(HandleEvent("CHECK", {"name": name})).state.context["ok"] is True
