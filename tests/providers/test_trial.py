"""Test-sends: an author sees the template as customers will, without a journey."""

from pathlib import Path

from consumers.actions.base import Done, Failed
from consumers.actions.delivery_settings import DeliverySettings, FcmSettings, SmtpSettings, TwilioSettings
from consumers.actions.trial import send_trial
from tests.effects.receiver import receiver, status
from tests.providers.mail_server import mail_server
from tests.providers.stage import example


async def test_a_mail_is_sent_with_the_sample(tmp_path: Path) -> None:
    """The sample's values, or those given instead, arrive; each test-send is a mail of its own."""
    document = {**example("retention_offer")}
    document["email"] = {**document["email"], "list_unsubscribe": False}
    async with mail_server() as box:
        smtp = SmtpSettings(host="127.0.0.1", port=box.port, security="none", sender="news@example.com")
        settings = DeliverySettings(smtp=smtp)
        first = await send_trial(document, "author@example.com", settings, key="1")
        changed = {"customer_name": "Ben"}
        second = await send_trial(document, "author@example.com", settings, key="2", variables=changed)
    assert isinstance(first, Done)
    assert isinstance(second, Done)
    assert [mail["Subject"] for mail in box.mails] == ["Anna, here is 15 % off", "Ben, here is 10 % off"]
    assert box.mails[0]["Message-ID"] != box.mails[1]["Message-ID"]


async def test_texts_and_notifications_can_be_tried_too() -> None:
    """Every channel has its test-send; what is not configured says so."""
    async with receiver(status(201, b'{"sid": "SM1", "status": "queued"}')) as twilio:
        account = TwilioSettings(account_sid="AC1", auth_token="x", sender="Shop", base_url=twilio.url(""))
        settings = DeliverySettings(twilio=account, fcm=FcmSettings())
        assert isinstance(
            await send_trial(example("points_notification"), "+4915112345678", settings, key="1"), Done
        )
        ending = await send_trial(example("new_offer"), "fcm:token", settings, key="1")
    assert isinstance(ending, Failed)
    assert ending.error == "not_configured"
