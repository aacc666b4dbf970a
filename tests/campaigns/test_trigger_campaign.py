"""`trigger_campaign`: find, deliver by the campaign's channel or another, and say what was sent; or fail by name."""

import time
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from consumers.actions.base import Done, Failed
from consumers.actions.campaigns import CachedCampaigns, FixedCampaigns, UnknownCampaign
from consumers.actions.delivery_settings import DeliverySettings, LinkSettings, SmtpSettings, TwilioSettings
from consumers.actions.refusals import Undeliverable
from consumers.actions.send_email import SendEmailProvider
from consumers.actions.trigger_campaign import SENDERS, TriggerCampaignProvider
from orchestrator.messages.campaign import execution
from tests.campaigns.documents import campaign, example
from tests.effects.receiver import receiver, status
from tests.providers.mail_server import mail_server
from tests.providers.stage import asked, new_key, perform, stage

TO = {"email": "anna@example.com", "sms": "+4915112345678"}
TEXT = {
    "kind": "template",
    "id": "sale_text",
    "channel": "sms",
    "sms": {"text": "{{ percent }} % off, {{ name }}"},
}


def provider(*documents: Mapping[str, Any]) -> TriggerCampaignProvider:
    return TriggerCampaignProvider(FixedCampaigns(*documents))


def active() -> dict[str, Any]:
    """The example without its dates."""
    document = example("win-back")
    del document["active"]
    return document


def mailing(port: int) -> DeliverySettings:
    smtp = SmtpSettings(host="127.0.0.1", port=port, security="none", sender="Shop <news@example.com>")
    links = LinkSettings(unsubscribe_url="https://example.org/u/", keys=new_key())
    return DeliverySettings(smtp=smtp, links=links)


def texting(url: str) -> DeliverySettings:
    return DeliverySettings(
        twilio=TwilioSettings(account_sid="AC1", auth_token="x", sender="Shop", base_url=url)
    )


async def failure(document: Mapping[str, Any], **params: Any) -> Failed:
    async with stage(texting("http://127.0.0.1:9"), TEXT) as context:
        ending = await perform(
            provider(document), context, {"campaign_id": document["id"], "to": TO, **params}
        )
    assert isinstance(ending, Failed)
    return ending


async def test_it_goes_out_by_its_own_channel() -> None:
    """The mail has the campaign's variables, the action's on top, and the result is the execution's record."""
    one = provider(active())
    params = {"campaign_id": "win-back", "to": TO, "variables": {"customer_name": "Anna", "percent": 25}}
    async with mail_server() as box, stage(mailing(box.port), example("win_back_email")) as context:
        ending = await perform(one, context, params)
    assert isinstance(ending, Done)
    (mail,) = box.mails
    assert mail["To"] == "anna@example.com"
    assert mail["Subject"] == "Anna, 25 % off our autumn lamps"
    assert ending.result == {
        "execution_id": execution(asked(one, params).idempotency_key),
        "campaign": "win-back",
        "version": 1,
        "channel": "email",
        "message_id": mail["Message-ID"],
        "delivery": {"message_id": mail["Message-ID"], "template": "win_back_email", "version": 1},
    }


async def test_an_action_may_name_another_channel() -> None:
    """The alternative's template goes to the address of that channel; seeds write ids as numbers."""
    document = campaign(
        id="5", channel="email", template="mail", alternatives={"sms": {"template": "sale_text"}}
    )
    params = {
        "campaign_id": 5,
        "channel": "sms",
        "to": TO,
        "variables": {"name": "Anna", "percent": 10},
    }
    async with (
        receiver(status(201, b'{"sid": "SM1", "status": "queued"}')) as twilio,
        stage(texting(twilio.url("")), TEXT) as context,
    ):
        ending = await perform(provider(document), context, params)
    assert isinstance(ending, Done)
    assert (ending.result["channel"], ending.result["message_id"]) == ("sms", "SM1")
    (call,) = twilio.calls
    assert b"To=%2B4915112345678" in call.body
    assert b"10+%25+off%2C+Anna" in call.body


async def test_what_cannot_be_found_or_is_over_fails_by_name() -> None:
    """A missing campaign, one whose time is not now, a channel without a template: nothing is sent."""
    now_s = time.time()
    past, future = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now_s + by)) for by in (-3600, 3600))
    assert (await failure(campaign(), campaign_id="lost")).error == "unknown_campaign"
    assert (await failure(campaign(active={"until": past}))).error == "campaign_ended"
    assert (await failure(campaign(active={"from": future}))).error == "campaign_not_started"
    assert (await failure(campaign(), channel="push")).error == "no_alternative"
    assert (await failure(campaign(template="lost"))).error == "unknown_template"
    assert (await failure(campaign(), to={"email": "anna@example.com"})).error == "missing_address"
    async with stage() as context:
        ending = await perform(TriggerCampaignProvider(), context, {"campaign_id": "sale"})
    assert isinstance(ending, Failed)
    assert (ending.error, ending.retryable) == ("not_configured", False)


async def test_addresses_of_another_shape_are_refused() -> None:
    """What is no address of the channel is named, before anything is sent."""
    assert (await failure(campaign(), to={"sms": ["+49"]})).error == "invalid_params"


async def test_a_dead_address_is_told_as_its_channel_tells_it() -> None:
    """The delivery's failure is the campaign's, with what leads to a suppression."""
    async with (
        receiver(status(400, b'{"code": 21610, "message": "x"}')) as twilio,
        stage(texting(twilio.url("")), TEXT) as context,
    ):
        params = {"campaign_id": "sale", "to": TO, "variables": {"name": "Anna", "percent": 1}}
        ending = await perform(provider(campaign()), context, params)
    assert isinstance(ending, Undeliverable)
    assert ending.result["suppress"] == {"channel": "sms", "reason": "stop"}


async def test_dead_devices_are_told_beside_the_ones_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a delivery says of dead addresses stands where those look who suppress them."""
    suppress = {"channel": "push", "reason": "hard_bounce", "address_hashes": ["9f86"]}

    class Sender(SendEmailProvider):
        async def perform(self, *_: Any) -> Done:
            return Done({"sent": 1, "devices": [{"error": "x"}, {"id": "m-1"}], "suppress": suppress})

    monkeypatch.setitem(SENDERS, "sms", Sender())
    async with stage(None, TEXT) as context:
        ending = await perform(provider(campaign()), context, {"campaign_id": "sale", "to": TO})
    assert isinstance(ending, Done)
    assert (ending.result["suppress"], ending.result["message_id"]) == (suppress, "m-1")


async def test_it_is_never_repeated_by_itself() -> None:
    """Message providers take no idempotency key, and neither does what delivers through them."""
    assert not TriggerCampaignProvider.idempotent
    assert not any(sender.idempotent for sender in SENDERS.values())
    assert {name: sender.name for name, sender in SENDERS.items()} == {
        "email": "send_email",
        "sms": "send_sms",
        "push": "send_push",
    }


async def test_a_store_that_is_away_is_asked_again() -> None:
    """Nothing was sent yet: the journey's own policy tries again."""

    class Away:
        async def get(self, _: str) -> Any:
            raise OSError

    async with stage() as context:
        ending = await perform(TriggerCampaignProvider(Away()), context, {"campaign_id": "sale"})
    assert isinstance(ending, Failed)
    assert (ending.error, ending.retryable) == ("campaigns_unavailable", True)


class Store:
    """Campaigns in memory, and what was asked."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[int, Mapping[str, Any]]] = {}
        self.asked = 0
        self.now_ms = 0

    async def fetch(self, id: str) -> tuple[int, Mapping[str, Any]] | None:
        self.asked += 1
        return self.found.get(id)


async def test_the_newest_version_counts_after_a_moment() -> None:
    """A campaign is kept for some seconds; then the next version is taken, and no more are kept than a bound."""
    store = Store()
    store.found["sale"] = (1, campaign())
    kept = CachedCampaigns(store.fetch, now_ms=lambda: store.now_ms, fresh_ms=100, kept_max=1)
    assert [(await kept.get("sale"))[0] for _ in range(3)] == [1, 1, 1]
    assert store.asked == 1
    store.found["sale"] = (2, campaign(template="other"))
    store.now_ms = 99
    assert (await kept.get("sale"))[0] == 1
    store.now_ms = 100
    version, found = await kept.get("sale")
    assert (version, found.parts["sms"].template) == (2, "other")
    store.found["more"] = (1, campaign(id="more"))
    await kept.get("more")
    assert len(kept._kept) == 1
    with pytest.raises(UnknownCampaign):
        await kept.get("lost")


async def test_the_message_is_the_customers_own() -> None:
    """Replies and reports find the journey: the delivery carries the stream and effect of the campaign's action."""
    seen: list[Any] = []

    class Sender(SendEmailProvider):
        async def perform(self, request: Any, *_: Any) -> Done:
            seen.append(request)
            return Done()

    one = provider(campaign())
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SENDERS, "sms", Sender())
        async with stage() as context:
            params = {"campaign_id": "sale", "to": TO}
            await perform(one, context, params)
    (request,) = seen
    same = asked(one, params)
    assert replace(request, type=same.type, params=same.params) == same
