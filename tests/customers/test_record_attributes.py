"""What is known about a customer: who told it last, and what may be told at all."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.events import CommandIgnored
from orchestrator.customers.record import shown
from orchestrator.customers.record.commands import Identify
from orchestrator.customers.record.events import Described, Identified
from orchestrator.customers.record.values import KEPT_MAX, RECORD_BYTES_MAX
from tests.customers.specs import PROFILE, record
from tests.support.spec import NOW_MS, Story

KEEPING = record("""
kind: customer
id: profile
attributes: {tier: {type: string, pii: false}}
unknown: keep
""")


def known(**attributes: Any) -> Story:
    return PROFILE.given().when(Identify(attributes))


def test_the_first_attributes_make_the_record() -> None:
    """A record begins by saying how it is read, then what is known; personal values stand in `private`."""
    told = {"email": "anna@example.com", "country": "NO", "time_zone": "Europe/Oslo"}
    compiled = PROFILE.definition.compiled
    PROFILE.given().when(Identify(told)).then(
        Described(1, "time_zone", compiled.addresses, compiled.tokens),
        Identified(
            NOW_MS,
            1,
            set={"country": "NO", "time_zone": "Europe/Oslo"},
            private={"email": "anna@example.com"},
        ),
    )


def test_a_record_is_described_once() -> None:
    """Later commands say what changed and nothing else."""
    known(country="NO").when(Identify({"tier": "gold"})).then(Identified(NOW_MS, 1, set={"tier": "gold"}))


def test_flows_read_values_zone_and_addresses() -> None:
    """`shown` gives what `facts.record` promises; there is nothing before the first attribute."""
    assert shown(None) == {}
    story = known(email="Anna@example.com", first_name="Anna", tier="gold", time_zone="Europe/Oslo")
    assert shown(story.state) == {
        "attributes": {"tier": "gold", "time_zone": "Europe/Oslo"},
        "private": {"email": "Anna@example.com", "first_name": "Anna"},
        "zone": "Europe/Oslo",
        "consent": {},
        "suppressed": {},
        "addresses": {"email": "Anna@example.com"},
    }


def test_null_deletes() -> None:
    """A deleted attribute is gone from what flows read, personal or not."""
    story = known(email="anna@example.com", tier="gold")
    story = story.when(Identify({"email": None, "tier": None}), now_ms=NOW_MS + 1)
    assert story.state.attributes == story.state.private.attributes == {}


def test_an_older_word_never_overwrites_a_newer_one() -> None:
    """Who spoke last by the clock of what occurred wins, attribute by attribute, whoever arrives last."""
    story = PROFILE.given().when(Identify({"tier": "gold", "first_name": "Anna"}, NOW_MS - 10))
    late = story.when(Identify({"tier": "basic", "first_name": "Ann", "country": "NO"}, NOW_MS - 20))
    late.then(Identified(NOW_MS - 20, 1, set={"country": "NO"}, stale=("tier", "first_name")))
    assert shown(late.state)["attributes"] == {"tier": "gold", "country": "NO"}
    late.when(Identify({"tier": "basic"}, NOW_MS - 11)).then(CommandIgnored("older_than_stored"))
    assert late.when(Identify({"tier": "new"}, NOW_MS - 10)).state.attributes["tier"] == "new"


def test_what_was_deleted_stays_deleted() -> None:
    """A value from before its deletion doesn't come back."""
    story = known(phone="+4712345678").when(Identify({"phone": None}, NOW_MS + 5), now_ms=NOW_MS + 9)
    story.when(Identify({"phone": "+4700000000"}, NOW_MS + 4)).then(CommandIgnored("older_than_stored"))


def test_the_envelopes_time_counts_where_the_command_names_none() -> None:
    """`occurred` goes before the time of the message."""
    assert known(tier="a").state.times == {"tier": NOW_MS}
    story = PROFILE.given().when(Identify({"tier": "a"}), occurred_ms=NOW_MS - 7)
    assert story.state.times == {"tier": NOW_MS - 7}


def test_a_clock_far_ahead_is_held_back() -> None:
    """A writer from the future can't keep others out for longer than a minute."""
    story = PROFILE.given().when(Identify({"tier": "a"}, NOW_MS + 10**9))
    assert story.state.times == {"tier": NOW_MS + 60_000}


_words = st.lists(
    st.tuples(st.sampled_from(["tier", "email", "country"]), st.sampled_from(["aa", "bb", None])),
    min_size=1,
    max_size=8,
)


@given(_words, st.randoms(use_true_random=False))
def test_the_order_of_arrival_doesnt_matter(words: list[tuple[str, str | None]], random: Any) -> None:
    """Words with times of their own end in the same record, in whatever order they come."""
    commands = [Identify({name: value}, NOW_MS - 100 + at) for at, (name, value) in enumerate(words)]
    in_order, mixed = PROFILE.given(), PROFILE.given()
    for command in commands:
        in_order = in_order.when(command)
    random.shuffle(commands)
    for command in commands:
        mixed = mixed.when(command)
    assert in_order.state == mixed.state


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("tier", 1),
        ("tier", "x" * 33),
        ("country", "NOR"),
        ("orders", 1.5),
        ("orders", True),
        ("orders", "1"),
        ("churn_risk", True),
        ("churn_risk", "high"),
        ("newsletter", 1),
        ("interests", {"a": 1}),
        ("interests", ["x" * 1_000]),
        ("email", "anna@example.com\r\nBcc: all@example.com"),
        ("email", "  "),
    ],
)
def test_values_have_the_declared_type_and_length(attribute: str, value: Any) -> None:
    """A misfit is refused by its name; the value, which may be personal, is not repeated."""
    story = known(country="NO").when(Identify({"tier": "gold", attribute: value}))
    story.then_rejected("customer.invalid_attribute", attribute=attribute)
    assert story.rejected is not None
    assert str(value) not in str(story.rejected.inputs)


def test_fitting_values_are_taken() -> None:
    """Each JSON type has its attribute; whole numbers are numbers."""
    told = {"orders": 3, "churn_risk": 1, "newsletter": False, "interests": ["a", {"b": 1}], "tier": "x" * 32}
    assert known(**told).state.attributes == told


def test_undeclared_attributes_are_refused() -> None:
    """A typing error is answered with what there is."""
    story = known(tier="gold").when(Identify({"teir": "gold"}))
    story.then_rejected("customer.unknown_attribute", attribute="teir")
    story = PROFILE.given().when(Identify({"anna@example.com": 1}))
    story.then_rejected("customer.unknown_attribute", attribute="(not a name)")


def test_undeclared_attributes_may_be_kept() -> None:
    """Where the document keeps them, they are personal: nobody knows what they hold."""
    story = KEEPING.given().when(Identify({"shoe_size": 41}))
    story.then(Described(1), Identified(NOW_MS, 1, private={"shoe_size": 41}))
    story.when(Identify({"two words": 1})).then_rejected("customer.invalid_name")
    story.when(Identify({"novel": "x" * 5_000})).then_rejected("customer.invalid_attribute")
    deleted = story.when(Identify({"shoe_size": None}))
    assert deleted.state.private.attributes == {}


def test_undeclared_attributes_are_bounded() -> None:
    """So many names of one record are kept, and not one more; deleting makes no room."""
    story = KEEPING.given().when(Identify({f"a{n}": n for n in range(KEPT_MAX)}))
    story.when(Identify({"one_more": 1})).then_rejected("customer.too_many_attributes")
    gone = story.when(Identify({"a0": None}))
    gone.when(Identify({"one_more": 1})).then_rejected("customer.too_many_attributes")
    assert story.when(Identify({"a0": 2, "tier": "x"})).state.private.attributes["a0"] == 2


def test_records_are_bounded() -> None:
    """No customer has more attributes than a record holds."""
    story = KEEPING.given()
    for n in range(RECORD_BYTES_MAX // 4_000 + 1):
        story = story.when(Identify({f"a{n}": "x" * 4_000}))
    story.then_rejected("customer.too_large", bytes_max=RECORD_BYTES_MAX)


@pytest.mark.parametrize("zone", ["Europe/Olso", "Europe", "../etc/passwd", "", "a\x00b", "x" * 64])
def test_time_zones_must_exist(zone: str) -> None:
    """A zone nobody knows would stop every local-time rule of the customer."""
    PROFILE.given().when(Identify({"time_zone": zone})).then_rejected("customer.unknown_zone")


def test_a_newer_document_is_followed_at_once() -> None:
    """A record isn't pinned: the next command is decided, and the record read, by the newest document."""
    newer = record(PROFILE.definition.document | {"zone": "locale"}, version=2)
    story = Story(newer, known(tier="gold").events, state=known(tier="gold").state)
    story = story.when(Identify({"locale": "Europe/Oslo"}))
    assert isinstance(story.new[0], Described)
    assert story.new[0].definition_version == 2
    assert shown(story.state)["zone"] == "Europe/Oslo"


def test_flows_never_see_a_zone_that_doesnt_exist() -> None:
    """An attribute that only became the zone may hold anything."""
    newer = record(PROFILE.definition.document | {"zone": "locale"}, version=2)
    before = known(locale="nb-NO")
    story = Story(newer, before.events, state=before.state).when(Identify({"tier": "gold"}))
    assert shown(story.state)["zone"] is None


def test_an_attribute_that_only_became_an_address_reaches() -> None:
    """Values told before a document made them addresses need not be told again."""
    document = PROFILE.definition.document
    open_phone = {"type": "string", "pii": False}
    older = record(
        document
        | {
            "attributes": document["attributes"] | {"phone": open_phone},
            "channels": {"email": {"address": "email"}},
            "caps": [],
        }
    )
    before = older.given().when(Identify({"phone": "+4712345678"}))
    story = Story(PROFILE, before.events, state=before.state).when(Identify({"tier": "gold"}))
    assert shown(story.state)["addresses"]["sms"] == "+4712345678"


def test_an_attribute_that_became_personal_leaves_the_open_part() -> None:
    """And the other way round: a value has one place, and it is the newest document's."""
    document = PROFILE.definition.document
    closed = {"type": "string", "pii": True}
    newer = record(document | {"attributes": document["attributes"] | {"tier": closed}}, version=2)
    before = known(tier="gold")
    story = Story(newer, before.events, state=before.state).when(Identify({"tier": "silver"}))
    story.then(Identified(NOW_MS, 2, set={"tier": None}, private={"tier": "silver"}))
    assert (story.state.attributes, story.state.private.attributes) == ({}, {"tier": "silver"})
    back = Story(PROFILE, story.events, state=story.state).when(Identify({"tier": "gold"}))
    assert (back.state.attributes, back.state.private.attributes) == ({"tier": "gold"}, {})
