"""Contacts: the record says who may reach the customer, and counts."""

from typing import Any

import pytest

from orchestrator.core.events import CommandSent
from orchestrator.customers.record import shown
from orchestrator.customers.record.events import ContactCounted, ContactRefused, ContactReleased, Described
from tests.customers.specs import document, problems, record
from tests.customers.told import DAY, FLOW, HOUR, MINUTE, OTHER, Kept

PROFILE = """
kind: customer
id: profile
attributes:
  email: {type: string, pii: true}
  phone: {type: string, pii: true}
channels:
  email: {address: email}
  sms: {address: phone}
  push: {tokens: [fcm]}
"""
CAPS = (
    PROFILE
    + """
caps:
  - {channel: email, per: 24h, limit: 2}
  - {channel: any, per: 7d, limit: 3}
classes:
  transactional: {exempt: true, consent: false}
  service: {consent: false}
"""
)


def anna(text: str = CAPS, *channels: str) -> Kept:
    """A customer who agreed to the channels (e-mail and SMS)."""
    kept = Kept(record(text))
    for channel in channels or ("email", "sms"):
        kept.send("consent", {"channel": channel, "granted": True})
    return kept


def test_a_contact_within_its_caps_is_granted_and_counted() -> None:
    """The answer goes to who asked, with its reference; the event says what counts and for how long."""
    kept = anna().ask("r1/mail/1/2", **{"class": "marketing"})
    assert kept.new == [
        ContactCounted("email", kept.now_ms, FLOW, "r1/mail/1/2", 7 * DAY, 1, "marketing"),
        CommandSent(FLOW, "contact.granted", {"reference": "r1/mail/1/2", "counted": True}),
    ]


def test_one_contact_more_than_the_cap_is_refused_until_a_place_is_free() -> None:
    """The refusal names the cap and the first instant at which all caps permit a contact; there it is granted."""
    kept = anna().ask("a")
    start_ms = kept.now_ms
    kept.wait(HOUR).ask("b", sender=OTHER).wait(HOUR).ask("c")
    (refused,) = kept.of(ContactRefused)
    assert refused.cap == {"channel": "email", "per": "24h", "limit": 2}
    assert (refused.counted, refused.free_at_ms) == (2, start_ms + DAY)
    told = {"reference": "c", "reason": "cap", "free_at_ms": start_ms + DAY}
    assert kept.answer.data == told
    kept.now_ms = start_ms + DAY - 1
    assert kept.ask("d").reason == "cap"
    assert kept.wait(1).ask("e").reason == ""


def test_a_cap_of_any_channel_counts_all_of_them() -> None:
    """The cap that frees last is named: two mails and an SMS fill the week."""
    kept = anna().ask("a").ask("b", channel="sms").wait(2 * DAY).ask("c").wait(HOUR).ask("d", channel="sms")
    (refused,) = kept.of(ContactRefused)
    assert refused.cap == {"channel": "any", "per": "7d", "limit": 3}
    assert refused.free_at_ms == kept.now_ms - HOUR - 2 * DAY + 7 * DAY


def test_when_two_caps_are_used_up_the_later_instant_counts() -> None:
    """The day's cap would free tomorrow, the week's only in a week."""
    kept = anna().ask("a", channel="sms").wait(MINUTE).ask("b").ask("c").wait(MINUTE).ask("d")
    first_ms = kept.now_ms - 2 * MINUTE
    assert kept.answer.data["free_at_ms"] == first_ms + 7 * DAY


def test_a_contact_given_back_does_not_count() -> None:
    """Only by who asked for it, and once."""
    kept = anna().ask("a").ask("b")
    assert kept.told(OTHER, "contact.release", {"reference": "a"}).reason == "not_counted"
    kept.told(FLOW, "contact.release", {"reference": "a"})
    assert kept.new == [ContactReleased("email", kept.now_ms, FLOW, "a")]
    assert kept.told(FLOW, "contact.release", {"reference": "a"}).reason == "not_counted"
    assert kept.ask("c").reason == ""
    assert kept.ask("d").reason == "cap"


def test_references_are_each_flows_own() -> None:
    """Two flows may call a contact alike; giving one back leaves the other's."""
    kept = anna().ask("a").ask("a", sender=OTHER)
    assert len(kept.state.contacts["email"]) == 2
    kept.told(OTHER, "contact.release", {"reference": "a"})
    assert [one.stream for one in kept.state.contacts["email"]] == [FLOW]


def test_a_question_asked_twice_counts_once() -> None:
    """Under the same reference the second is ignored: the first was answered."""
    kept = anna().ask("a")
    assert kept.ask("a").reason == "already_counted"
    assert len(kept.state.contacts["email"]) == 1


@pytest.mark.parametrize(
    ("message_class", "reasons"),
    [
        ("", ["", "", "cap"]),
        ("marketing", ["", "", "cap"]),
        ("transactional", ["", "", ""]),
        ("service", ["", "", "cap"]),
    ],
)
def test_an_exempt_class_is_neither_stopped_nor_counted(message_class: str, reasons: list[str]) -> None:
    """Other classes are, whether or not the document names them."""
    kept = anna()
    said = [kept.ask(f"a{n}", **({"class": message_class} if message_class else {})).reason for n in range(3)]
    assert said == reasons
    assert ("email" in kept.state.contacts) == ("cap" in reasons)


def test_consent_and_suppression_are_asked_where_the_contact_is_counted() -> None:
    """No word is no consent; a class may do without consent, never without a usable address."""
    kept = anna(CAPS, "sms")
    assert kept.ask("a").reason == "no_consent"
    assert kept.ask("b", **{"class": "service"}).reason == ""
    kept.send("consent", {"channel": "email", "granted": False})
    assert kept.ask("c").reason == "no_consent"
    assert kept.ask("d", **{"class": "transactional"}).reason == ""
    kept.send("suppress", {"channel": "email", "reason": "complaint", "all": True})
    assert kept.ask("e", **{"class": "transactional"}).reason == "suppressed"
    assert [one.reference for one in kept.state.contacts["email"]] == ["b"]


def test_a_customer_nobody_knows_is_not_reached() -> None:
    """Asking makes nobody known: there is still no record, and none after it was forgotten."""
    kept = Kept(record(CAPS)).ask("a")
    assert kept.reason == "no_record"
    assert not kept.of(Described)
    assert (kept.state, shown(kept.state)) == (None, {})
    known = anna()
    assert known.send("forget", {}).ask("b").reason == "no_record"
    assert known.kind.label(known.state) == "FORGOTTEN"


def test_forgetting_a_customer_forgets_the_contacts() -> None:
    """When someone was reached is about them."""
    kept = anna().ask("a").send("forget", {})
    assert kept.state.contacts == {}


def test_an_answer_too_late_counts_nothing() -> None:
    """Who asked has stopped waiting."""
    kept = anna()
    assert kept.ask("a", until_ms=kept.now_ms - 1).reason == "late"
    assert kept.ask("b", until_ms=kept.now_ms).reason == ""
    assert len(kept.state.contacts["email"]) == 1


@pytest.mark.parametrize(
    "sender", ["acme/c/bob/flow:news", "acme/c/annabel/flow:news", ""], ids=["bob", "annabel", "outside"]
)
@pytest.mark.parametrize("type", ["contact.ask", "contact.release"])
def test_only_the_customers_own_journeys_are_answered(sender: str, type: str) -> None:
    """Neither others' streams nor services outside can use up or free a customer's contacts."""
    kept = anna().ask("a")
    data: dict[str, Any] = {"reference": "a"} | ({"channel": "email"} if type == "contact.ask" else {})
    (kept.told(sender, type, data) if sender else kept.send(type, data))
    assert kept.rejected == "customer.not_told_by_a_journey"
    assert len(kept.state.contacts["email"]) == 1


def test_a_cap_published_later_counts_at_once() -> None:
    """For customers of whom nothing was said since, as well; flows see it in what the record shows."""
    kept = anna(PROFILE)
    before = shown(kept.state, kept.spec.definition)["contact"]
    assert before == {"record": "profile", "capped": (), "exempt": [], "unasked": []}
    assert kept.ask("a").answer.data == {"reference": "a", "counted": False}
    kept.spec = record(CAPS, version=2)
    assert shown(kept.state, kept.spec.definition)["contact"] == {
        "record": "profile",
        "capped": ("email", "push", "sms"),
        "exempt": ["transactional"],
        "unasked": ["transactional", "service"],
    }
    kept.ask("b").ask("c")
    assert kept.ask("d").reason == "cap"


def test_a_lower_cap_counts_those_that_were_granted_before() -> None:
    """Three counted under the old document; the new one permits one a day: free when the newest is a day old."""
    kept = anna(PROFILE + "caps: [{channel: email, per: 24h, limit: 3}]")
    for n in range(3):
        kept.wait(HOUR).ask(f"a{n}")
    kept.spec = record(PROFILE + "caps: [{channel: email, per: 24h, limit: 1}]", version=2)
    assert kept.ask("b").answer.data["free_at_ms"] == kept.now_ms + DAY


def test_only_channels_with_a_cap_are_counted() -> None:
    """A cap of e-mail says nothing about SMS."""
    kept = anna(PROFILE + "caps: [{channel: email, per: 24h, limit: 1}]")
    assert kept.ask("a", channel="sms").new == [
        CommandSent(FLOW, "contact.granted", {"reference": "a", "counted": False})
    ]
    assert shown(kept.state, kept.spec.definition)["contact"]["capped"] == ("email",)


def test_what_counts_can_be_seen_without_personal_data() -> None:
    """The view has the times by channel; old ones leave with the next contact."""
    kept = anna().ask("a").wait(8 * DAY).ask("b")
    assert kept.kind.view(kept.state)["contacts"] == {"email": [kept.now_ms]}


@pytest.mark.parametrize(
    ("source", "places"),
    [
        ("caps: [{channel: emial, per: 24h, limit: 2}]", ["/caps/0/channel"]),
        ("caps: [{channel: any, per: 59s, limit: 2}]", ["/caps/0/per"]),
        ("caps: [{channel: any, per: 9000d, limit: 2}]", ["/caps/0/per"]),
        ("caps: [{channel: any, per: soon, limit: 0}]", ["/caps/0/per", "/caps/0/limit"]),
        ("caps: [{channel: any, per: 1d, limit: 101}]", ["/caps/0/limit"]),
        ("caps: [{channel: any, per: 1d, limit: 2}, {channel: any, per: 24h, limit: 3}]", ["/caps/1"]),
        ("classes: {Loud: {exempt: true}}", ["/classes"]),
        ("classes: {loud: {exempt: maybe}}", ["/classes/loud/exempt"]),
    ],
    ids=["unknown", "short", "long", "no-span", "many", "twice", "name", "value"],
)
def test_a_cap_that_means_nothing_is_refused_with_its_place(source: str, places: list[str]) -> None:
    """Channels that don't exist, spans no clock can hold, limits out of bounds, the same cap twice."""
    assert sorted(problems(record(PROFILE).kind, document(PROFILE + source))) == sorted(places)


def test_no_channel_may_be_called_any() -> None:
    """In caps the word means all of them."""
    source = PROFILE.replace("  sms:", "  any:") + "caps: [{channel: any, per: 1d, limit: 1}]"
    assert problems(record(PROFILE).kind, document(source)) == ["/channels/any"]
