"""Whether and where a customer may be reached: consent, suppressions, device tokens."""

import pytest

from orchestrator.core.events import CommandIgnored
from orchestrator.customers.record import address_hash, shown
from orchestrator.customers.record.commands import (
    AddToken,
    Identify,
    RemoveToken,
    SetConsent,
    Suppress,
    Unsuppress,
)
from orchestrator.customers.record.events import (
    ConsentChanged,
    DeviceTokenRemoved,
    Suppressed,
    Unsuppressed,
)
from orchestrator.customers.record.state import TOKENS_MAX
from orchestrator.customers.record.suppression import HASHES_MAX
from tests.customers.specs import PROFILE
from tests.support.spec import NOW_MS, Story

MAIL = "anna@example.com"
HASH = address_hash("email", MAIL)


def reachable(email: str = MAIL) -> Story:
    return PROFILE.given().when(Identify({"email": email}))


def suppressed(story: Story) -> dict[str, str]:
    return dict(shown(story.state)["suppressed"])


def test_consent_is_kept_by_channel() -> None:
    """Flows read yes, no, or that the customer never said."""
    story = reachable().when(SetConsent("email", granted=True, source="sign-up"))
    story.then(ConsentChanged("email", granted=True, at_ms=NOW_MS, source="sign-up"))
    story = story.when(SetConsent("sms", granted=False))
    assert shown(story.state)["consent"] == {"email": True, "sms": False}


def test_an_older_consent_never_overwrites_a_withdrawal() -> None:
    """The last word by its own time counts; of two at once, the no."""
    story = reachable().when(SetConsent("email", granted=False, occurred_ms=NOW_MS - 5))
    for earlier in (NOW_MS - 5, NOW_MS - 6):
        late = story.when(SetConsent("email", granted=True, occurred_ms=earlier))
        late.then(CommandIgnored("older_than_stored"))
    yes = story.when(SetConsent("email", granted=True, occurred_ms=NOW_MS - 4))
    assert shown(yes.state)["consent"] == {"email": True}
    no = yes.when(SetConsent("email", granted=False, occurred_ms=NOW_MS - 4))
    assert shown(no.state)["consent"] == {"email": False}


@pytest.mark.parametrize(
    "command", [SetConsent("fax", granted=True), Suppress("fax", "stop"), Unsuppress("fax")]
)
def test_channels_must_exist(command: object) -> None:
    """What isn't declared is refused, naming what is."""
    channels = ["email", "push", "sms", "webpush", "whatsapp"]
    reachable().when(command).then_rejected("customer.unknown_channel", channel="fax", channels=channels)


def test_an_address_is_suppressed_by_its_hash() -> None:
    """The event holds no address, and its hash, from which one could be guessed, is private."""
    story = reachable().when(Suppress("email", "hard_bounce", HASH))
    story.then(Suppressed("email", "hard_bounce", NOW_MS, private={"address_hash": HASH}))
    assert suppressed(story) == {"email": "hard_bounce"}
    assert shown(story.state)["addresses"] == {"email": MAIL}


def test_without_a_hash_the_present_address_is_meant() -> None:
    """Where there is none, there is nothing to suppress."""
    assert suppressed(reachable().when(Suppress("email", "manual"))) == {"email": "manual"}
    reachable().when(Suppress("sms", "manual")).then_rejected("customer.no_address", channel="sms")
    reachable().when(Unsuppress("sms")).then_rejected("customer.no_address", channel="sms")


def test_a_suppression_survives_the_same_address() -> None:
    """Telling the address again, in whatever letters, doesn't make it good."""
    story = reachable().when(Suppress("email", "complaint", HASH))
    for again in (MAIL, "Anna@Example.COM", " anna@example.com "):
        assert suppressed(story.when(Identify({"email": again}))) == {"email": "complaint"}


def test_a_new_address_isnt_suppressed_and_the_old_one_stays_so() -> None:
    """A suppression is of an address: it neither follows the customer nor is it forgotten."""
    story = (
        reachable().when(Suppress("email", "hard_bounce", HASH)).when(Identify({"email": "a@example.org"}))
    )
    assert suppressed(story) == {}
    assert suppressed(story.when(Identify({"email": MAIL}))) == {"email": "hard_bounce"}


def test_suppressions_may_come_before_the_address() -> None:
    """A provider's callback needs no record to be kept."""
    story = PROFILE.given().when(Suppress("email", "complaint", HASH))
    assert suppressed(story) == {}
    assert suppressed(story.when(Identify({"email": MAIL}))) == {"email": "complaint"}


def test_phone_numbers_are_the_same_however_they_are_written() -> None:
    """Blanks and brackets don't make another number; what is no e-mail address keeps its letters."""
    assert address_hash("sms", "+47 (12) 34-56.78") == address_hash("sms", "+4712345678")
    assert address_hash("email", "A@example.com") == address_hash("email", "a@EXAMPLE.com")
    assert address_hash("push", "Token") != address_hash("push", "token")


def test_a_channel_is_suppressed_as_a_whole() -> None:
    """Whatever address comes: STOP means the customer, not the number."""
    story = reachable().when(Suppress("email", "stop", all=True))
    assert suppressed(story.when(Identify({"email": "a@example.org"}))) == {"email": "stop"}
    story.when(Unsuppress("email")).then(CommandIgnored("not_suppressed"))
    lifted = story.when(Suppress("email", "manual", HASH)).when(Unsuppress("email", all=True))
    lifted.then(Unsuppressed("email", NOW_MS, all=True))
    assert suppressed(lifted) == {}


def test_a_suppression_can_be_lifted() -> None:
    """One address, by hash or the present one; others stay suppressed."""
    other = address_hash("email", "a@example.org")
    story = reachable().when(Suppress("email", "manual", HASH)).when(Suppress("email", "manual", other))
    for command in (Unsuppress("email"), Unsuppress("email", HASH)):
        lifted = story.when(command)
        assert suppressed(lifted) == {}
        assert suppressed(lifted.when(Identify({"email": "a@example.org"}))) == {"email": "manual"}


def test_repeated_suppressions_change_nothing() -> None:
    """The same reason again is ignored, another one is taken; lifting what isn't there is ignored."""
    story = reachable().when(Suppress("email", "hard_bounce", HASH))
    story.when(Suppress("email", "hard_bounce", HASH)).then(CommandIgnored("already_suppressed"))
    assert suppressed(story.when(Suppress("email", "complaint", HASH))) == {"email": "complaint"}
    whole = story.when(Suppress("email", "stop", all=True))
    whole.when(Suppress("email", "stop", all=True)).then(CommandIgnored("already_suppressed"))
    reachable().when(Unsuppress("email", all=True)).then(CommandIgnored("not_suppressed"))


def test_too_many_suppressed_addresses_suppress_the_channel() -> None:
    """None is ever dropped for room: rather nothing is sent."""
    story = reachable()
    for n in range(HASHES_MAX):
        story = story.when(Suppress("email", "hard_bounce", address_hash("email", f"a{n}@example.org")))
    assert suppressed(story) == {}
    story = story.when(Suppress("email", "complaint", address_hash("email", "x@example.org")))
    story.then(Suppressed("email", "complaint", NOW_MS, all=True))
    assert suppressed(story) == {"email": "complaint"}


def test_devices_are_addresses() -> None:
    """Flows see a channel's tokens, the newest first, and only those of its platforms."""
    story = reachable()
    for platform, token in (("fcm", "one"), ("web", "two"), ("apns", "three"), ("fcm", "one")):
        story = story.when(AddToken(platform, token))
    addresses = shown(story.state)["addresses"]
    assert addresses["push"] == [{"platform": "fcm", "token": "one"}, {"platform": "apns", "token": "three"}]
    assert addresses["webpush"] == [{"platform": "web", "token": "two"}]


def test_devices_are_bounded() -> None:
    """The oldest goes when there are too many; a token told again is young again."""
    story = reachable()
    for n in range(TOKENS_MAX):
        story = story.when(AddToken("fcm", f"t{n}"))
    story = story.when(AddToken("fcm", "t0")).when(AddToken("fcm", "new"))
    tokens = [device.token for device in story.state.private.tokens]
    assert tokens == [*(f"t{n}" for n in range(2, TOKENS_MAX)), "t0", "new"]


def test_devices_can_be_removed() -> None:
    """A token is removed by name; one that isn't there is ignored, as is another platform's."""
    story = reachable().when(AddToken("fcm", "one"))
    story.when(RemoveToken("apns", "one")).then(CommandIgnored("unknown_token"))
    gone = story.when(RemoveToken("fcm", "one"))
    gone.then(DeviceTokenRemoved("fcm", NOW_MS, private={"token": "one"}))
    assert "push" not in shown(gone.state)["addresses"]


def test_a_dead_device_is_dropped() -> None:
    """Suppressing a token by its hash removes it: nothing is remembered of it, and others stay."""
    story = reachable().when(AddToken("fcm", "one")).when(AddToken("apns", "two"))
    dead = Suppress("push", "hard_bounce", address_hash("push", "one"))
    story = story.when(dead)
    story.then(DeviceTokenRemoved("fcm", NOW_MS, "hard_bounce", {"token": "one"}))
    assert shown(story.state)["addresses"]["push"] == [{"platform": "apns", "token": "two"}]
    story.when(dead).then(CommandIgnored("unknown_token"))
    story.when(Suppress("push", "manual")).then_rejected("customer.no_address", channel="push")
    assert suppressed(story.when(Suppress("push", "stop", all=True)))["push"] == "stop"
