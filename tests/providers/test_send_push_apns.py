"""`send_push` to Apple devices, over HTTP/2 against a server that answers as Apple's documentation says."""

import asyncio
import json
import socket
from base64 import urlsafe_b64decode
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from consumers.actions.base import Done, Failed
from consumers.actions.delivery_settings import ApnsSettings, DeliverySettings
from consumers.actions.refusals import Undeliverable
from consumers.actions.send_push import SendPushProvider
from consumers.effects.records import result
from orchestrator.customers.record.addresses import address_hash
from tests.effects.receiver import certificate
from tests.providers.apns_server import apple, reason
from tests.providers.stage import asked, example, perform, stage

PROVIDER = SendPushProvider()
TOKEN = "a1" * 32
PARAMS: dict[str, Any] = {
    "to": [{"platform": "apns", "token": TOKEN}],
    "template": "new_offer",
    "variables": {"offer": {"id": 123, "name": "lamps", "until": "2026-10-02"}},
}


@lru_cache(maxsize=1)
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def account(port: int, ca_file: Path | None, **changes: Any) -> DeliverySettings:
    pem = key().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    settings = {
        "key": pem.decode(),
        "key_id": "KEY1234567",
        "team_id": "TEAM123456",
        "topic": "com.example.shop",
        "base_url": f"https://localhost:{port}",
        **changes,
    }
    return DeliverySettings(
        apns=ApnsSettings(**settings), ca_file=str(ca_file) if ca_file else "", connect_timeout_s=2.0
    )


async def test_a_notification_is_sent_as_documented(tmp_path: Path) -> None:
    """One HTTP/2 request with the app's topic, a signed provider token and the alert; the result is Apple's id of it."""
    ca_file, tls = certificate(tmp_path, "localhost")
    async with apple(tls) as server, stage(account(server.port, ca_file), example("new_offer")) as context:
        ending = await perform(PROVIDER, context, PARAMS)
    (push,) = server.pushes
    sent = {"platform": "apns", "id": push.headers["apns-id"]}
    about = {"template": "new_offer", "version": 1}
    assert ending == Done({"sent": 1, "failed": 0, "devices": [sent], **about})
    assert (push.headers[":method"], push.headers[":path"]) == ("POST", f"/3/device/{TOKEN}")
    assert push.headers["apns-topic"] == "com.example.shop"
    assert push.headers["apns-push-type"] == "alert"
    assert len(push.headers["apns-collapse-id"]) <= 64
    assert push.body == {
        "offer_id": "123",
        "deep_link": "/offers/123",
        "aps": {"alert": {"title": "New offer available!", "body": "Check out lamps, for you until Friday"}},
    }
    head, body, signature = push.headers["authorization"].removeprefix("bearer ").split(".")
    raw = urlsafe_b64decode(signature + "==")
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    key().public_key().verify(der, f"{head}.{body}".encode(), ec.ECDSA(hashes.SHA256()))
    assert json.loads(urlsafe_b64decode(head + "==")) == {"alg": "ES256", "kid": "KEY1234567", "typ": "JWT"}
    assert json.loads(urlsafe_b64decode(body + "=="))["iss"] == "TEAM123456"


async def test_notifications_share_connection_and_token(tmp_path: Path) -> None:
    """Apple refuses senders that sign or connect anew for each notification."""
    ca_file, tls = certificate(tmp_path, "localhost")
    async with apple(tls) as server, stage(account(server.port, ca_file), example("new_offer")) as context:
        await perform(PROVIDER, context, PARAMS)
        endings = await asyncio.gather(*(perform(PROVIDER, context, PARAMS) for _ in range(30)))
    assert all(isinstance(ending, Done) for ending in endings)
    assert len(server.pushes) == 31
    assert len({push.headers["authorization"] for push in server.pushes}) == 1
    assert server.connections == 1


ERRORS = [
    (410, "Unregistered", "unregistered", False),
    (410, "ExpiredToken", "unregistered", False),
    (400, "BadDeviceToken", "bad_device_token", False),
    (400, "DeviceTokenNotForTopic", "bad_device_token", False),
    (429, "TooManyRequests", "rate_limited", True),
    (429, "TooManyProviderTokenUpdates", "rate_limited", True),
    (413, "PayloadTooLarge", "over_limit", False),
    (403, "InvalidProviderToken", "auth_failed", False),
    (403, "ExpiredProviderToken", "auth_failed", True),
    (400, "BadTopic", "status_400", False),
    (503, "ServiceUnavailable", "status_503", True),
    (503, "Shutdown", "status_503", True),
]


@pytest.mark.parametrize(("status", "word", "expected", "retryable"), ERRORS, ids=[e[1] for e in ERRORS])
async def test_what_reasons_mean(
    tmp_path: Path, status: int, word: str, expected: str, *, retryable: bool
) -> None:
    """Each documented reason has its word; only a device that is gone is suppressed, not a token of the wrong app."""
    ca_file, tls = certificate(tmp_path, "localhost")
    async with (
        apple(tls, reason(status, word, **{"Retry-After": "9"})) as server,
        stage(account(server.port, ca_file), example("new_offer")) as context,
    ):
        ending = await perform(PROVIDER, context, PARAMS)
    assert isinstance(ending, Failed)
    assert (ending.error, ending.detail) == (expected, word)
    assert (ending.retryable, ending.in_doubt) == (retryable, False)
    assert isinstance(ending, Undeliverable) is (expected == "unregistered")
    if isinstance(ending, Undeliverable):
        hashes = [address_hash("push", TOKEN)]
        assert ending.result == {
            "suppress": {"channel": "push", "reason": "hard_bounce", "address_hashes": hashes}
        }
    if status in {429, 503}:
        assert ending.retry_after_ms == 9_000


async def test_an_ended_provider_token_is_replaced(tmp_path: Path) -> None:
    """After ExpiredProviderToken the next attempt signs a new one."""
    ca_file, tls = certificate(tmp_path, "localhost")
    async with (
        apple(tls, reason(403, "ExpiredProviderToken")) as server,
        stage(account(server.port, ca_file), example("new_offer")) as context,
    ):
        await perform(PROVIDER, context, PARAMS)
        server.answer = lambda _push: (200, {}, b"")
        assert isinstance(await perform(PROVIDER, context, PARAMS), Done)
    assert len({push.headers["authorization"] for push in server.pushes}) == 2


async def test_many_refusals_do_not_stop_the_connection(tmp_path: Path) -> None:
    """Errors are read to their end: a connection full of them still carries the next notification."""
    ca_file, tls = certificate(tmp_path, "localhost")
    padded = json.dumps({"reason": "BadDeviceToken", "x": "x" * 4_000}).encode()
    async with (
        apple(tls, lambda _push: (400, {}, padded)) as server,
        stage(account(server.port, ca_file), example("new_offer")) as context,
    ):
        for _ in range(30):  # more than one flow-control window of bodies
            ending = await perform(PROVIDER, context, PARAMS)
            assert isinstance(ending, Failed)
            assert ending.error == "bad_device_token"
    assert server.connections == 1


@pytest.mark.parametrize("status", [500, 502])
async def test_an_internal_error_leaves_doubt(tmp_path: Path, status: int) -> None:
    """After a 5xx other than 503 the notification may have gone out."""
    ca_file, tls = certificate(tmp_path, "localhost")
    async with (
        apple(tls, reason(status, "InternalServerError")) as server,
        stage(account(server.port, ca_file), example("new_offer")) as context,
    ):
        ending = await perform(PROVIDER, context, PARAMS)
    assert isinstance(ending, Failed)
    assert (ending.error, ending.in_doubt) == (f"status_{status}", True)


@pytest.mark.parametrize("cut", [True, False], ids=["cut", "hangs"])
async def test_no_answer_is_unknown_and_sent_once(tmp_path: Path, *, cut: bool) -> None:
    """A connection lost after the request leaves the effect unknown; the client doesn't send it again by itself."""
    ca_file, tls = certificate(tmp_path, "localhost")
    async with (
        apple(tls, lambda _push: None) as server,
        stage(account(server.port, ca_file), example("new_offer")) as context,
    ):
        server.cut = cut
        ending = await perform(PROVIDER, context, PARAMS, timeout_ms=2_000)
    assert isinstance(ending, Failed)
    assert (ending.error, ending.in_doubt) == ("connection_lost" if cut else "timeout", True)
    assert len(server.pushes) == 1
    out = result(
        asked(PROVIDER, PARAMS), ending, at_most_once=not PROVIDER.idempotent, now_ms=0, topic="commands"
    )
    assert dict(out.headers)["ce_type"] == b"effect.unknown"


async def test_a_connection_that_ended_is_opened_anew(tmp_path: Path) -> None:
    """A connection that Apple closed doesn't keep the next notification from going out."""
    ca_file, tls = certificate(tmp_path, "localhost")
    async with apple(tls) as server, stage(account(server.port, ca_file), example("new_offer")) as context:
        server.cut = True
        await perform(PROVIDER, context, PARAMS)
        server.cut = False
        assert isinstance(await perform(PROVIDER, context, PARAMS), Done)
    assert server.connections == 2


async def test_redirects_are_refused(tmp_path: Path) -> None:
    """A Location isn't followed."""
    ca_file, tls = certificate(tmp_path, "localhost")
    async with (
        apple(tls, lambda _push: (301, {"Location": "https://127.0.0.1/"}, b"")) as server,
        stage(account(server.port, ca_file), example("new_offer")) as context,
    ):
        ending = await perform(PROVIDER, context, PARAMS)
    assert ending == Failed("redirect_refused", "status 301")


@pytest.mark.parametrize(("name", "trusted"), [("other.example.com", True), ("localhost", False)])
async def test_certificates_are_checked(tmp_path: Path, name: str, *, trusted: bool) -> None:
    """A certificate of another name or authority gets neither token nor notification."""
    ca_file, tls = certificate(tmp_path, name)
    async with (
        apple(tls) as server,
        stage(account(server.port, ca_file if trusted else None), example("new_offer")) as context,
    ):
        ending = await perform(PROVIDER, context, PARAMS)
    assert isinstance(ending, Failed)
    assert (ending.error, ending.in_doubt) == ("tls_failed", False)
    assert not server.pushes


async def test_nobody_listening_is_no_doubt(tmp_path: Path) -> None:
    """A connection that was refused had no effect."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        async with stage(account(held.getsockname()[1], None), example("new_offer")) as context:
            ending = await perform(PROVIDER, context, PARAMS)
    assert isinstance(ending, Failed)
    assert (ending.error, ending.retryable, ending.in_doubt) == ("connect_failed", True, False)


@pytest.mark.parametrize("missing", ["key", "key_id", "team_id", "topic"])
async def test_without_a_whole_key_nothing_is_sent(missing: str) -> None:
    """A runner without the whole key says so; a key that can't be read is named, not shown."""
    async with stage(account(1, None, **{missing: ""}), example("new_offer")) as context:
        ending = await perform(PROVIDER, context, PARAMS)
    assert isinstance(ending, Failed)
    assert ending.error == "not_configured"
    async with stage(account(1, None, key="broken"), example("new_offer")) as context:
        ending = await perform(PROVIDER, context, PARAMS)
    assert ending == Failed("not_configured", "the APNs key can't be read")


async def test_both_platforms_in_one_effect(tmp_path: Path) -> None:
    """A customer with a phone of each kind: each is told through its own service."""
    ca_file, tls = certificate(tmp_path, "localhost")
    both = {**PARAMS, "to": [*PARAMS["to"], {"platform": "fcm", "token": "b"}]}
    async with apple(tls) as server, stage(account(server.port, ca_file), example("new_offer")) as context:
        ending = await perform(PROVIDER, context, both)
    assert isinstance(ending, Done)
    assert ending.result["devices"][1] == {"platform": "fcm", "error": "not_configured"}
    assert msgspec.json.encode(ending.result)
