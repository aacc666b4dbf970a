"""Personal values stand in `private` alone, and a record without its key is the same from log and snapshot."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.events import Event
from orchestrator.customers.record import RECORD, address_hash, shown
from orchestrator.customers.record.commands import (
    AddToken,
    Forget,
    HearEvent,
    Identify,
    RemoveToken,
    SetConsent,
    Suppress,
    Unsuppress,
)
from orchestrator.customers.record.state import TOKENS_MAX
from tests.customers.specs import PROFILE, erased, record, stored_and_read
from tests.support.spec import NOW_MS, Spec, Story

SECRETS = ("anna@example.com", "Anna", "secret-token", "secret-kept", "+4712345678")
_document = PROFILE.definition.document
KEEPING = record(_document | {"unknown": "keep"})
# The same customer, decided by documents that disagree about what is personal and what an address is.
OTHER = record(
    _document
    | {
        "unknown": "keep",
        "zone": "locale",
        "attributes": {
            name: source | {"pii": True} if name in ("tier", "country") else source
            for name, source in _document["attributes"].items()
        },
        "channels": {"email": {"address": "email"}, "push": {"tokens": ["web"]}},
        "caps": [],
    },
    version=2,
)
_attributes = st.fixed_dictionaries(
    {},
    optional={
        "email": st.sampled_from([SECRETS[0], SECRETS[0].upper(), None]),
        "first_name": st.sampled_from([SECRETS[1], None]),
        "phone": st.sampled_from([SECRETS[4], SECRETS[4] * 4, 5]),
        "country": st.sampled_from(["NO", "Norway", None]),
        "tier": st.sampled_from(["gold", None]),
        "time_zone": st.sampled_from(["Europe/Oslo", "Nowhere"]),
        "kept_x": st.sampled_from([SECRETS[3], {"deep": [SECRETS[3]]}, None]),
    },
)
_channels = st.sampled_from(["email", "sms", "push", "fax"])
_times = st.none() | st.integers(NOW_MS - 50, NOW_MS + 50)
HASHES = (
    address_hash("email", SECRETS[0]),
    address_hash("push", SECRETS[2]),
    address_hash("sms", SECRETS[4]),
)
_hashes = st.sampled_from(["", *HASHES])
_commands: st.SearchStrategy[Any] = st.one_of(
    st.builds(Identify, _attributes, _times),
    st.builds(
        HearEvent,
        st.sampled_from(["USER_CREATED", "OTHER"]),
        st.builds(lambda email: {"payload": {"email": email}}, st.sampled_from([SECRETS[0], None, 7])),
    ),
    st.builds(SetConsent, _channels, st.booleans(), st.just(""), _times),
    st.builds(Suppress, _channels, st.sampled_from(["stop", "manual"]), _hashes, st.booleans()),
    st.builds(Unsuppress, _channels, _hashes, st.booleans()),
    st.builds(AddToken, st.sampled_from(["fcm", "web"]), st.sampled_from([SECRETS[2], "secret-token-2"])),
    st.builds(RemoveToken, st.sampled_from(["fcm", "web"]), st.just(SECRETS[2])),
    st.just(Forget()),
)
_walks = st.lists(st.tuples(st.sampled_from([KEEPING, OTHER]), _commands, st.integers(0, 20)), max_size=20)


def walked(walk: list[tuple[Spec, Any, int]]) -> Story:
    """`Story.when` asserts after every step: replay, snapshot, and that no state is changed in place."""
    story, now_ms = KEEPING.given(), NOW_MS
    for spec, command, passes in walk:
        now_ms += passes
        story = Story(spec, story.events, state=story.state).when(command, now_ms=now_ms)
        if story.rejected is not None:
            assert_clean(story.rejected.inputs)
    return story


def assert_clean(value: Any) -> None:
    text = json.dumps(value).lower()
    assert not any(secret.lower() in text for secret in (*SECRETS, *HASHES)), text


def fold(events: list[Event]) -> Any:
    state = None
    for event in events:
        state = RECORD.evolve(state, event)
    return state


@settings(max_examples=300, deadline=None)
@given(_walks)
def test_personal_values_stand_in_private_alone(walk: list[tuple[Spec, Any, int]]) -> None:
    """Whatever comes, events, snapshots, views and rejections hold none of them in the open."""
    story = walked(walk)
    for event in story.events:
        assert stored_and_read(event) == event
        fields = {name: getattr(event, name) for name in event.__struct_fields__ if name != "private"}
        assert_clean(fields)
    if story.state is not None:
        dump = RECORD.dump(story.state)
        dump.pop("private", None)
        assert_clean(dump)
        assert_clean(RECORD.view(story.state))
        assert len(story.state.private.tokens) <= TOKENS_MAX


@settings(max_examples=300, deadline=None)
@given(_walks, _walks)
def test_an_erased_record_is_the_same_from_log_and_snapshot(
    before: list[tuple[Spec, Any, int]], after: list[tuple[Spec, Any, int]]
) -> None:
    """Without its key the log folds to what the snapshot holds without its private part, and both go on alike."""
    story = walked(before)
    log = [erased(event) for event in story.events]
    from_log = fold(log)
    if story.state is None:
        assert from_log is None
        return
    from_snapshot = RECORD.load(RECORD.dump(story.state) | {"private": {}})
    assert from_log == from_snapshot
    going_on = Story(KEEPING, log, state=from_log)
    for spec, command, passes in after:
        going_on = Story(spec, going_on.events, state=going_on.state).when(
            command, now_ms=NOW_MS + 500 + passes
        )


def test_flows_get_what_is_personal_apart() -> None:
    """The open attributes of `shown` hold no personal value: a flow knows what it must keep private."""
    story = KEEPING.given().when(Identify({"email": SECRETS[0], "tier": "gold", "kept_x": SECRETS[3]}))
    story = story.when(AddToken("fcm", SECRETS[2]))
    facts = dict(shown(story.state))
    assert set(facts.pop("private")) == {"email", "kept_x"}
    assert set(facts.pop("addresses")) == {"email", "push"}
    assert_clean(facts)
