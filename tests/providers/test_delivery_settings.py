"""Accounts of message providers: wrong ones are refused at start, secret ones are never shown."""

import io
from base64 import b64encode
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from rich.console import Console

from consumers.actions.base import Failed
from consumers.actions.delivery import opened_delivery
from consumers.actions.delivery_settings import (
    ApnsSettings,
    DeliverySettings,
    FcmSettings,
    LinkSettings,
    SmtpSettings,
    TwilioSettings,
)
from consumers.actions.send_email import SendEmailProvider
from consumers.actions.send_push import SendPushProvider
from consumers.actions.send_sms import SendSmsProvider
from consumers.actions.templates import FixedTemplates
from orchestrator.core.errors import ConfigurationError
from tests.effects.calling import perform as perform_without_delivery
from tests.effects.calling import request
from tests.providers.stage import new_key

PROVIDERS = (SendEmailProvider(), SendSmsProvider(), SendPushProvider())


@pytest.mark.parametrize(
    ("kind", "changes", "named"),
    [
        (SmtpSettings, {"username": "a", "security": "none"}, "ORCHESTRATOR_SMTP_SECURITY"),
        (SmtpSettings, {"sender": "nobody"}, "ORCHESTRATOR_SMTP_SENDER"),
        (SmtpSettings, {"sender": "a@example.com\r\nX: y"}, "ORCHESTRATOR_SMTP_SENDER"),
        (SmtpSettings, {"connect_timeout_s": 0}, "connect_timeout_s"),
        (TwilioSettings, {"base_url": "http://example.com"}, "ORCHESTRATOR_TWILIO_BASE_URL"),
        (TwilioSettings, {"base_url": "https://user:pw@example.com"}, "ORCHESTRATOR_TWILIO_BASE_URL"),
        (TwilioSettings, {"status_callback_url": "example.com"}, "ORCHESTRATOR_TWILIO_STATUS_CALLBACK_URL"),
        (FcmSettings, {"base_url": "ftp://example.com"}, "ORCHESTRATOR_FCM_BASE_URL"),
        (FcmSettings, {"token_url": "http://10.0.0.1/"}, "ORCHESTRATOR_FCM_TOKEN_URL"),
        (ApnsSettings, {"base_url": "http://example.com"}, "ORCHESTRATOR_APNS_BASE_URL"),
        (LinkSettings, {"unsubscribe_url": "https://example.com/u"}, "ORCHESTRATOR_LINK_KEYS"),
        (LinkSettings, {"keys": "short"}, "ORCHESTRATOR_LINK_KEYS"),
        (LinkSettings, {"keys": b64encode(b"x" * 31).decode()}, "ORCHESTRATOR_LINK_KEYS"),
    ],
)
def test_wrong_settings_are_named(kind: Any, changes: dict[str, Any], named: str) -> None:
    """A setting that can't work ends the start with its name and the cure, before any message is lost."""
    with pytest.raises(ConfigurationError, match=named) as caught:
        kind(**changes)
    assert changes.get("keys", "never shown") not in str(caught.value)


def test_this_machine_may_be_called_in_clear() -> None:
    """Plain http is for servers on the same machine, as tests and trials use them."""
    assert TwilioSettings(base_url="http://127.0.0.1:8080").base_url
    assert FcmSettings(base_url="http://localhost:8080", token_url="http://[::1]:1/token")


def test_secrets_are_never_shown() -> None:
    """Neither print, nor repr, nor rich's pretty printing shows a password or key."""
    secret = new_key()
    settings = DeliverySettings(
        smtp=SmtpSettings(username="shop", password=secret),
        twilio=TwilioSettings(auth_token=secret),
        fcm=FcmSettings(service_account=secret),
        apns=ApnsSettings(key=secret),
        links=LinkSettings(keys=secret),
    )
    pretty = io.StringIO()
    Console(file=pretty, width=200).print(settings)
    shown = f"{settings} {settings!r} {settings.smtp} {settings.links.__rich_repr__()} {pretty.getvalue()}"
    assert secret not in shown
    assert secret[:20] not in shown
    assert "shop" in shown


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)
async def test_a_runner_without_accounts_says_so(provider: Any) -> None:
    """A message action on a runner that has no message settings fails by name; it isn't a bug of the provider."""
    ending = await perform_without_delivery(request({}, kind=provider.name), provider=provider)
    assert isinstance(ending, Failed)
    assert (ending.error, ending.retryable, ending.in_doubt) == ("not_configured", False, False)


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)
def test_no_message_action_is_called_idempotent(provider: Any) -> None:
    """None of the services takes an idempotency key: the runner commits before it calls, and never calls again."""
    assert provider.idempotent is False


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)
def test_parameters_have_a_json_schema(provider: Any) -> None:
    """A form for the action can be made from its parameters alone: they are closed and know their types."""
    schema = msgspec.json.schema(provider.params)
    found = schema["$defs"][provider.params.__name__]
    assert {"to", "template", "version", "variables", "at_most_once"} <= set(found["properties"])
    assert found["additionalProperties"] is False
    jsonschema_rs.Draft202012Validator(schema)


async def test_an_unreadable_authority_is_named(tmp_path: Any) -> None:
    """A file of authorities that is missing or no PEM ends the start, not each call."""
    for content in (None, b"nonsense"):
        path = tmp_path / "ca.pem"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ConfigurationError, match="ORCHESTRATOR_DELIVERY_CA_FILE"):
            async with opened_delivery(DeliverySettings(ca_file=str(path)), FixedTemplates()):
                pass
