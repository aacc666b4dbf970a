"""Raw events tell attributes where the document says so."""

import pytest

from orchestrator.core.errors import Malformed
from orchestrator.core.events import CommandIgnored
from orchestrator.customers.record import RECORD
from orchestrator.customers.record.commands import HearEvent, Identify
from orchestrator.customers.record.events import Identified
from tests.customers.specs import PROFILE, record
from tests.support.spec import NOW_MS, Story

SILENT = record("{kind: customer, id: profile, attributes: {tier: {type: string, pii: false}}}")


def heard(story: Story, type: str, **payload: object) -> Story:
    return story.when(RECORD.parse_raw(type, {"payload": payload, "sessionId": "s"}), occurred_ms=NOW_MS - 3)


def test_records_listen_to_what_their_document_names() -> None:
    """Without a mapping no event reaches a record."""
    assert PROFILE.definition.listens == {"USER_CREATED", "PROFILE_COMPLETED"}
    assert SILENT.definition.listens == frozenset()


def test_an_event_tells_attributes() -> None:
    """Values come from their paths, since when the event occurred; the event is named as their origin."""
    story = heard(PROFILE.given(), "USER_CREATED", email="anna@example.com", country="NO", source="ads")
    expected = Identified(
        NOW_MS - 3,
        1,
        set={"country": "NO"},
        learnt_from="USER_CREATED",
        private={"email": "anna@example.com"},
    )
    assert story.new[1:] == [expected]


def test_what_an_event_lacks_stays() -> None:
    """Missing and null fields tell nothing: only a command deletes."""
    story = heard(PROFILE.given(), "USER_CREATED", email="anna@example.com")
    story = heard(story, "USER_CREATED", email=None, firstName="Anna")
    assert story.state.private.attributes == {"email": "anna@example.com", "first_name": "Anna"}
    heard(story, "USER_CREATED").then(CommandIgnored("tells_nothing"))


def test_events_follow_the_rules_of_commands() -> None:
    """Misfits are refused, and older events don't overwrite newer words."""
    story = PROFILE.given().when(Identify({"country": "NO"}))
    heard(story, "USER_CREATED", country="Norway").then_rejected("customer.invalid_attribute")
    heard(story, "USER_CREATED", country="SE").then(CommandIgnored("older_than_stored"))


def test_raw_events_are_read() -> None:
    """A payload may be missing, but nothing else than an object; nested paths through other values find nothing."""
    assert RECORD.parse_raw("E", {}) == HearEvent("E", {"payload": {}})
    with pytest.raises(Malformed, match="payload"):
        RECORD.parse_raw("E", {"payload": [1]})
    nested = record("""
kind: customer
id: profile
attributes: {tier: {type: string, pii: false}}
events: {E: {tier: payload.a.b}}
""")
    assert heard(nested.given(), "E", a={"b": "gold"}).state.attributes == {"tier": "gold"}
    heard(nested.given(), "E", a="gold").then(CommandIgnored("tells_nothing"))
    heard(nested.given(), "F", a="gold").then(CommandIgnored("tells_nothing"))
