"""What providers and their libraries log, at the most talkative level, holds no address, token or secret."""

import logging
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from consumers.actions.base import Done
from consumers.actions.delivery_settings import DeliverySettings, SmtpSettings, TwilioSettings
from consumers.actions.send_email import SendEmailProvider
from consumers.actions.send_push import SendPushProvider
from consumers.actions.send_sms import SendSmsProvider
from tests.effects.receiver import certificate, receiver, status
from tests.providers.apns_server import apple, reason
from tests.providers.mail_server import mail_server
from tests.providers.stage import CANARY, example, new_key, perform, stage
from tests.providers.test_send_push_apns import account

NUMBER = "+4915112345678"


def said(caplog: pytest.LogCaptureFixture, logs: Any) -> str:
    """All that was logged by the sending side; the servers of these tests log what they like."""
    ours = [r.getMessage() for r in caplog.records if not r.name.startswith(("mail.", "aiohttp.access"))]
    return f"{ours} {logs}"


async def test_mails_leave_no_trace(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """Neither address, text nor password of a mail is logged, sent or refused."""
    caplog.set_level(logging.DEBUG)
    ca_file, tls = certificate(tmp_path, "localhost")
    secret = new_key()
    params = {"to": f"{CANARY}@example.com", "subject": CANARY, "text": CANARY}
    async with mail_server(starttls=tls, user=("shop", secret)) as box:
        smtp = SmtpSettings(
            host="localhost", port=box.port, sender="news@example.com", username="shop", password=secret
        )
        async with stage(DeliverySettings(smtp=smtp, ca_file=str(ca_file))) as context:
            with capture_logs() as logs:
                assert isinstance(await perform(SendEmailProvider(), context, params), Done)
                box.refuse["RCPT"] = f"550 5.1.1 {CANARY}"
                refused = await perform(SendEmailProvider(), context, params)
    shown = f"{said(caplog, logs)} {refused!r}"
    assert CANARY not in shown
    assert secret not in shown
    assert b64encode(f"\0shop\0{secret}".encode()).decode() not in shown


async def test_texts_leave_no_trace(caplog: pytest.LogCaptureFixture) -> None:
    """Neither number, text nor login of a text message is logged."""
    caplog.set_level(logging.DEBUG)
    secret = new_key()
    async with receiver(status(400, f'{{"code": 21211, "message": "{NUMBER}"}}'.encode())) as twilio:
        twilio_account = TwilioSettings(
            account_sid="AC1", auth_token=secret, sender="Shop", base_url=twilio.url("")
        )
        async with stage(DeliverySettings(twilio=twilio_account)) as context:
            with capture_logs() as logs:
                ending = await perform(SendSmsProvider(), context, {"to": NUMBER, "message": CANARY})
    shown = f"{said(caplog, logs)} {ending!r}"
    assert NUMBER not in shown
    assert CANARY not in shown
    assert secret not in shown


async def test_notifications_leave_no_trace(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """Neither a device's token nor the provider's is logged by the HTTP/2 client, which would like to."""
    caplog.set_level(logging.DEBUG)
    ca_file, tls = certificate(tmp_path, "localhost")
    params = {
        "to": [{"platform": "apns", "token": f"{CANARY}-token"}],
        "template": "new_offer",
        "variables": {"offer": {"id": 1, "name": CANARY, "until": "2026-10-02"}},
    }
    async with (
        apple(tls, reason(410, "Unregistered")) as server,
        stage(account(server.port, ca_file), example("new_offer")) as context,
    ):
        with capture_logs() as logs:
            ending = await perform(SendPushProvider(), context, params)
        server.answer = lambda _push: (200, {}, b"")
        assert isinstance(await perform(SendPushProvider(), context, params), Done)
    shown = f"{said(caplog, logs)} {ending!r}"
    assert CANARY not in shown
    assert server.pushes[0].headers["authorization"] not in shown
