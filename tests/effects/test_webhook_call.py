"""What a webhook sends: signature, keys, headers, body; and what it refuses to send."""

import json
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError
from structlog.testing import capture_logs

from consumers.actions.base import Done, Failed
from orchestrator.effect_settings import EffectSettings
from tests.effects.calling import LOCAL, STREAM, new_secret, perform, request
from tests.effects.receiver import receiver, status


def with_secrets(**secrets: str) -> EffectSettings:
    return EffectSettings(allow_http=True, allowed_networks=LOCAL.allowed_networks, secrets=secrets)


async def test_the_signature_verifies() -> None:
    """The receiver's standardwebhooks verifier accepts the call as it came over the wire."""
    secret = new_secret()
    async with receiver(status(204)) as shop:
        body = {"name": "Zoë", "n": 1}
        ending = await perform(
            request({"url": shop.url("/h"), "body": body, "secret": "shop"}), with_secrets(shop=secret)
        )
    assert ending == Done({"status": 204})
    call = shop.calls[0]
    assert Webhook(secret).verify(call.body, call.headers) == body
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(call.body, call.headers)


async def test_a_rotated_secret_signs_with_both() -> None:
    """While a secret is rotated, receivers with the old and the new one both verify."""
    old, new = new_secret(), new_secret()
    async with receiver(status(200)) as shop:
        await perform(request({"url": shop.url(), "secret": "shop"}), with_secrets(shop=f"{new} {old}"))
    for secret in (old, new):
        assert Webhook(secret).verify(shop.calls[0].body, shop.calls[0].headers)


async def test_attempts_share_key_and_body() -> None:
    """A second attempt carries the first one's keys and bytes, so that a receiver can tell it is the same."""
    async with receiver(status(200)) as shop:
        await perform(request({"url": shop.url()}, attempt=1))
        await perform(request({"url": shop.url()}, attempt=2))
    first, second = shop.calls
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == f"{STREAM}/3-1"
    assert first.headers["Idempotency-Key"] == first.headers["webhook-id"]
    assert first.body == second.body
    assert json.loads(first.body) == {"type": "send_welcome", "stream": STREAM, "effect": "3-1"}


async def test_unknown_secret_is_refused_before_the_call() -> None:
    """A definition that names a missing secret never sends unsigned."""
    async with receiver(status(200)) as shop:
        ending = await perform(request({"url": shop.url(), "secret": "nobody"}))
    assert isinstance(ending, Failed)
    assert (ending.error, ending.retryable) == ("unknown_secret", False)
    assert not shop.calls


async def test_secrets_never_show() -> None:
    """Neither logs nor errors nor the settings' repr hold a secret."""
    secret = new_secret()
    settings = with_secrets(shop=secret)
    with capture_logs() as logs:
        async with receiver(status(500)) as shop:
            ending = await perform(request({"url": shop.url(), "secret": "shop"}), settings)
    shown = f"{logs} {ending!r} {settings!r} {settings} {settings.__rich_repr__()}"
    assert secret not in shown
    assert secret.removeprefix("whsec_") not in shown


async def test_own_headers_are_sent_with_the_calls() -> None:
    """A definition's headers reach the receiver beside the engine's."""
    async with receiver(status(200)) as shop:
        await perform(
            request({"url": shop.url(), "headers": {"X-Shop": "north", "X-Step": 3, "X-New": True}})
        )
    sent = shop.calls[0].headers
    assert (sent["X-Shop"], sent["X-Step"], sent["X-New"]) == ("north", "3", "true")
    assert shop.calls[0].headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    "headers",
    [
        {"X-A": "b\r\nX-Evil: 1"},
        {"X-A": "b\nX-Evil: 1"},
        {"X-A\r\nX-Evil": "1"},
        {"X-A": "\x00"},
        {"X A": "1"},
        {"": "1"},
        {"Host": "other.test"},
        {"content-length": "0"},
        {"Transfer-Encoding": "chunked"},
        {"webhook-signature": "v1,forged"},
        {"Idempotency-Key": "mine"},
        {"Proxy-Authorization": "Basic x"},
        {"X-A": "x" * 3000},
        {"X-A": "é"},
    ],
)
async def test_header_injection_is_refused(headers: dict[str, str]) -> None:
    """No header of a definition can end a line, speak for the engine, or move the body's borders."""
    async with receiver(status(200)) as shop:
        ending = await perform(request({"url": shop.url(), "headers": headers}))
    assert isinstance(ending, Failed)
    assert (ending.error, ending.retryable) == ("header_refused", False)
    assert not shop.calls


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://example.test/", "https_required"),
        ("ftp://example.test/", "url_refused"),
        ("file:///etc/passwd", "url_refused"),
        ("//example.test/", "url_refused"),
        ("example.test/x", "url_refused"),
        ("", "url_refused"),
        ("https:///x", "url_refused"),
        ("https://user:pw@example.test/", "url_refused"),
        ("https://user@example.test/", "url_refused"),
        ("https://example.test\\@other.test/", "url_refused"),
        ("https://example.test/\r\nX: 1", "url_refused"),
        ("https://example.test/\x00", "url_refused"),
        ("https://example .test/", "url_refused"),
        ("https://example.test:99999/", "url_refused"),
        ("https://[::1", "url_refused"),
        ("https://example.test/" + "x" * 5000, "url_refused"),
        ("https://127.0.0.1/", "address_refused"),
        ("https://[::1]/", "address_refused"),
        ("https://[::ffff:127.0.0.1]/", "address_refused"),
        ("https://[64:ff9b::a9fe:a9fe]/", "address_refused"),
        ("https://[fe80::1%25eth0]/", "address_refused"),
        ("https://169.254.169.254/latest/meta-data", "address_refused"),
        ("https://0x7f.1/", "address_refused"),
        ("https://2130706433/", "address_refused"),
        ("https://0177.0.0.1/", "address_refused"),
        ("https://127.1/", "address_refused"),
        ("https://127.0.0.1./", "address_refused"),
        ("https://①②⑦.⓪.⓪.①/", "address_refused"),
        ("https://127。0。0。1/", "address_refused"),
        ("https://localhost/", "address_refused"),
    ],
)
async def test_urls_that_are_never_called(url: str, error: str) -> None:
    """By default only https to public hosts is called, whatever way another place is written."""
    ending = await perform(request({"url": url}), EffectSettings())
    assert isinstance(ending, Failed)
    assert (ending.error, ending.retryable) == (error, False)
    assert "127.0.0.1" not in ending.detail


async def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy variable doesn't move the call to a machine that would connect in our place."""
    async with receiver(status(200)) as proxy, receiver(status(200)) as shop:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url())
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        ending = await perform(request({"url": shop.url()}))
    assert isinstance(ending, Done)
    assert (len(shop.calls), len(proxy.calls)) == (1, 0)


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"method": "GET"}, "invalid_params"),
        ({"body": "x" * 300_000}, "request_too_large"),
        ({"body": 2**70}, "invalid_params"),
    ],
)
async def test_requests_out_of_bounds_are_refused(params: dict[str, Any], error: str) -> None:
    """Methods, sizes and values that no receiver should see end before a connection."""
    ending = await perform(request({"url": "https://example.test/", **params}), EffectSettings())
    assert isinstance(ending, Failed)
    assert (ending.error, ending.retryable) == (error, False)
