"""`send_push` to FCM, against a server that answers as Google's documentation says."""

import asyncio
import json
from base64 import urlsafe_b64decode
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs

import msgspec
import pytest
from aiohttp import web
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from consumers.actions.base import Done, Failed
from consumers.actions.delivery_settings import DeliverySettings, FcmSettings
from consumers.actions.refusals import Undeliverable
from consumers.actions.send_push import SendPushProvider
from consumers.effects.records import result
from orchestrator.customers.record.addresses import address_hash
from orchestrator.customers.record.commands import Suppress, parse
from tests.effects.receiver import receiver, status
from tests.providers.stage import CANARY, asked, example, perform, stage

PROVIDER = SendPushProvider()
TOKEN = f"token-{CANARY}"
NAME = "projects/shop-1/messages/0:123"
PARAMS: dict[str, Any] = {
    "to": [{"platform": "fcm", "token": TOKEN}],
    "template": "new_offer",
    "variables": {"offer": {"id": 123, "name": "lamps", "until": "2026-10-02"}},
}


@lru_cache(maxsize=1)
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)


def account(url: str, **changes: Any) -> DeliverySettings:
    pem = key().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = {
        "type": "service_account",
        "project_id": "shop-1",
        "client_email": "push@shop-1.example.com",
        "private_key": pem.decode(),
        "token_uri": "https://example.com/never-asked",
    }
    settings = {"service_account": json.dumps(file), "base_url": url, "token_url": f"{url}/token", **changes}
    return DeliverySettings(fcm=FcmSettings(**settings))


def read_suppress(said: dict[str, Any]) -> Suppress:
    """The command to the customer's record that a result leads to."""
    (hashed,) = said.pop("address_hashes")
    found = parse("suppress", {**said, "address_hash": hashed})
    assert isinstance(found, Suppress)
    return found


class Google:
    """Gives tokens, and answers messages by their device's token; notes what it is asked."""

    def __init__(self, *answers: web.Response | None, token: Any = None) -> None:
        self.answers = list(answers)
        self.token = token
        self.tokens_given = 0
        self.forms: list[dict[str, list[str]]] = []
        self.bearers: list[str] = []
        self.messages: list[dict[str, Any]] = []

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/token":
            self.forms.append(parse_qs((await request.read()).decode()))
            if self.token is not None:
                return await self.token(request)
            self.tokens_given += 1
            return web.json_response({"access_token": f"at-{self.tokens_given}", "expires_in": 3_600})
        self.bearers.append(request.headers["Authorization"])
        self.messages.append((await request.json())["message"])
        answer = self.answers.pop(0) if self.answers else web.json_response({"name": NAME})
        if answer is None:
            await asyncio.Event().wait()
        assert answer is not None
        return answer


def error(http: int, status_word: str, code: str = "", **headers: str) -> web.Response:
    """An error as FCM writes them."""
    details = (
        [{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code}] if code else []
    )
    body = {"error": {"code": http, "message": f"about {TOKEN}", "status": status_word, "details": details}}
    return web.json_response(body, status=http, headers=headers)


async def send(google: Google, params: dict[str, Any] | None = None, times: int = 1, **options: Any) -> Any:
    """The last of `times` endings."""
    async with receiver(google) as server, stage(account(server.url("")), example("new_offer")) as context:
        endings = [
            await perform(PROVIDER, context, PARAMS if params is None else params, **options)
            for _ in range(times)
        ]
    return endings[-1]


async def test_a_notification_is_sent_as_documented() -> None:
    """A signed assertion becomes an access token, and the token sends one message; texts of `data` are texts."""
    google = Google()
    ending = await send(google)
    about = {"template": "new_offer", "version": 1}
    assert ending == Done({"sent": 1, "failed": 0, "devices": [{"platform": "fcm", "id": NAME}], **about})
    (form,) = google.forms
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    head, body, signature = form["assertion"][0].split(".")
    key().public_key().verify(
        urlsafe_b64decode(signature + "=="), f"{head}.{body}".encode(), padding.PKCS1v15(), hashes.SHA256()
    )
    assert json.loads(urlsafe_b64decode(head + "==")) == {"alg": "RS256", "typ": "JWT"}
    claims = json.loads(urlsafe_b64decode(body + "=="))
    assert claims["iss"] == "push@shop-1.example.com"
    assert claims["aud"].endswith("/token")
    assert claims["scope"] == "https://www.googleapis.com/auth/firebase.messaging"
    assert claims["exp"] - claims["iat"] == 3_600
    (message,) = google.messages
    assert google.bearers == ["Bearer at-1"]
    assert (message["token"], message["data"]) == (TOKEN, {"offer_id": "123", "deep_link": "/offers/123"})
    assert message["notification"] == {
        "title": "New offer available!",
        "body": "Check out lamps, for you until Friday",
    }


async def test_attempts_replace_each_other_on_the_screen() -> None:
    """A repeat of one effect carries the same collapse key; the next effect another."""
    google = Google()
    async with receiver(google) as server, stage(account(server.url("")), example("new_offer")) as context:
        for attempt in (1, 2):
            await perform(PROVIDER, context, PARAMS, attempt=attempt)
        other = msgspec.structs.replace(asked(PROVIDER, PARAMS), idempotency_key="another")
        await PROVIDER.perform(other, msgspec.convert(PARAMS, PROVIDER.params), context)
    tags = [message["android"]["collapse_key"] for message in google.messages]
    assert tags[0] == tags[1] != tags[2]


async def test_the_access_token_is_kept() -> None:
    """Many notifications, also at once, ask for one token."""
    google = Google()
    async with receiver(google) as server, stage(account(server.url("")), example("new_offer")) as context:
        await asyncio.gather(*(perform(PROVIDER, context, PARAMS) for _ in range(10)))
        await perform(PROVIDER, context, PARAMS)
    assert len(google.messages) == 11
    assert google.tokens_given == 1


async def test_an_access_token_is_replaced_before_it_ends() -> None:
    """A token about to end isn't used once more."""

    async def short(_request: web.Request) -> web.Response:
        google.tokens_given += 1
        return web.json_response({"access_token": f"at-{google.tokens_given}", "expires_in": 100})

    google = Google(token=short)
    assert isinstance(await send(google, times=2), Done)
    assert google.bearers == ["Bearer at-1", "Bearer at-2"]


async def test_a_refused_access_token_is_dropped() -> None:
    """After a 401 the next attempt asks for a new token."""
    google = Google(error(401, "UNAUTHENTICATED"))
    async with receiver(google) as server, stage(account(server.url("")), example("new_offer")) as context:
        first = await perform(PROVIDER, context, PARAMS)
        second = await perform(PROVIDER, context, PARAMS)
    assert first == Failed("auth_failed", "UNAUTHENTICATED", retryable=True)
    assert isinstance(second, Done)
    assert google.bearers == ["Bearer at-1", "Bearer at-2"]


ERRORS = [
    (404, "NOT_FOUND", "UNREGISTERED", "unregistered", False),
    (429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", "rate_limited", True),
    (429, "RESOURCE_EXHAUSTED", "", "rate_limited", True),
    (400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "invalid_argument", False),
    (403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH", "auth_failed", False),
    (401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR", "auth_failed", False),
    (503, "UNAVAILABLE", "UNAVAILABLE", "status_503", True),
    (404, "NOT_FOUND", "", "status_404", False),
]


@pytest.mark.parametrize(
    ("http", "word", "code", "expected", "retryable"), ERRORS, ids=[f"{e[0]} {e[2]}" for e in ERRORS]
)
async def test_what_errors_mean(http: int, word: str, code: str, expected: str, *, retryable: bool) -> None:
    """Each documented error has its word; an unregistered device says what to suppress; no token is quoted."""
    ending = await send(Google(error(http, word, code, **{"Retry-After": "9"})))
    assert isinstance(ending, Failed)
    assert (ending.error, ending.retryable, ending.in_doubt) == (expected, retryable, False)
    assert ending.retry_after_ms == (9_000 if retryable else None)
    assert isinstance(ending, Undeliverable) is (code == "UNREGISTERED")
    if isinstance(ending, Undeliverable):
        hashed = address_hash("push", TOKEN)
        assert ending.result == {
            "suppress": {"channel": "push", "reason": "hard_bounce", "address_hashes": [hashed]}
        }
        assert read_suppress({**ending.result["suppress"]}) == Suppress("push", "hard_bounce", hashed)
    assert CANARY not in repr(ending)


async def test_an_internal_error_leaves_doubt() -> None:
    """After a 500 the notification may have gone out: the effect is unknown."""
    ending = await send(Google(error(500, "INTERNAL", "INTERNAL")))
    assert isinstance(ending, Failed)
    assert (ending.error, ending.in_doubt) == ("status_500", True)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"<html>", b'{"name": ""}', b'{"error": {"status": "INTERNAL"}}']
)
async def test_a_lying_200_is_no_success(body: bytes) -> None:
    """A 200 without a message's name isn't taken for a sent notification."""
    ending = await send(Google(web.Response(body=body)))
    assert isinstance(ending, Failed)
    assert (ending.error, ending.in_doubt) == ("answer_unreadable", True)


async def test_a_hanging_socket_is_unknown() -> None:
    """A service that never answers may have sent: the runner says unknown."""
    ending = await send(Google(None), timeout_ms=3_000)
    assert isinstance(ending, Failed)
    assert (ending.error, ending.in_doubt) == ("timeout", True)
    out = result(
        asked(PROVIDER, PARAMS), ending, at_most_once=not PROVIDER.idempotent, now_ms=0, topic="commands"
    )
    assert dict(out.headers)["ce_type"] == b"effect.unknown"


@pytest.mark.parametrize(
    ("http", "retryable"), [(400, False), (401, False), (429, True), (500, True), (200, False)]
)
async def test_without_an_access_token_nothing_is_sent(http: int, *, retryable: bool) -> None:
    """A refused assertion is final, a server away isn't; either way nothing is in doubt."""

    async def refuse(_request: web.Request) -> web.Response:
        return web.json_response({"error": "invalid_grant"}, status=http)

    google = Google(token=refuse)
    ending = await send(google)
    assert isinstance(ending, Failed)
    assert (ending.error, ending.retryable, ending.in_doubt) == ("auth_failed", retryable, False)
    assert not google.messages


async def test_a_hanging_token_server_is_no_doubt() -> None:
    """While the token isn't there, nothing was sent; those who wait for it end in time too."""

    async def hang(_request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    google = Google(token=hang)
    async with receiver(google) as server, stage(account(server.url("")), example("new_offer")) as context:
        endings = await asyncio.gather(
            *(perform(PROVIDER, context, PARAMS, timeout_ms=600) for _ in range(3))
        )
    assert {
        (ending.error, ending.retryable, ending.in_doubt) for ending in endings if isinstance(ending, Failed)
    } == {("timeout", True, False)}
    assert not google.messages


async def test_a_token_server_that_breaks_off_is_no_doubt() -> None:
    """A connection lost while asking for the token certainly sent no notification."""

    async def cut(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    ending = await send(Google(token=cut))
    assert isinstance(ending, Failed)
    assert (ending.error, ending.retryable, ending.in_doubt) == ("connection_lost", True, False)


async def test_redirects_are_refused() -> None:
    """Neither assertion nor access token follows a Location."""
    async with receiver(status(200, b'{"name": "x"}')) as inside:
        location = {"Location": inside.url("/")}
        assert await send(Google(web.Response(status=308, headers=location))) == Failed(
            "redirect_refused", "status 308"
        )

        async def redirect(_request: web.Request) -> web.Response:
            return web.Response(status=307, headers=location)

        ending = await send(Google(token=redirect))
        assert ending == Failed("redirect_refused", "status 307")
        assert not inside.calls


async def test_one_of_several_devices_is_enough() -> None:
    """The effect succeeded if any device was reached; the dead ones are named by hash, never by token."""
    google = Google(error(404, "NOT_FOUND", "UNREGISTERED"), web.json_response({"name": NAME}))
    devices = [
        {"platform": "fcm", "token": "a"},
        {"platform": "web", "token": "b"},
        {"platform": "fcm", "token": "c"},
    ]
    ending = await send(google, {**PARAMS, "to": devices})
    assert isinstance(ending, Done)
    assert (ending.result["sent"], ending.result["failed"]) == (1, 2)
    dead = [at for at, shown in enumerate(ending.result["devices"]) if shown.get("error") == "unregistered"]
    hashes = [address_hash("push", devices[at]["token"]) for at in dead]
    assert ending.result["suppress"] == {"channel": "push", "reason": "hard_bounce", "address_hashes": hashes}
    assert ending.result["devices"][1] == {"platform": "web", "error": "unsupported_platform"}
    assert len(dead) == 1


async def test_when_no_device_is_reached_doubt_comes_first() -> None:
    """A notification that may have reached one device isn't sent again because another one failed."""
    google = Google(error(500, "INTERNAL"), error(503, "UNAVAILABLE"))
    devices = [{"platform": "fcm", "token": "a"}, {"platform": "fcm", "token": "b"}]
    ending = await send(google, {**PARAMS, "to": devices})
    assert isinstance(ending, Failed)
    assert (ending.error, ending.in_doubt) == ("status_500", True)


@pytest.mark.parametrize(
    ("params", "word"),
    [
        ({"to": None}, "missing_address"),
        ({"to": []}, "missing_address"),
        ({"to": [{"platform": "fcm", "token": ""}]}, "address_refused"),
        ({"to": [{"platform": "fcm", "token": "a"}] * 21}, "invalid_params"),
        ({"variables": {}}, "missing_variable"),
        ({"template": "", "title": "x"}, "no_content"),
    ],
)
async def test_what_is_never_sent(params: dict[str, Any], word: str) -> None:
    """A customer without devices, or half a notification, never reaches the service."""
    google = Google()
    ending = await send(google, {**PARAMS, **params})
    assert isinstance(ending, Failed)
    assert (ending.error, ending.in_doubt) == (word, False)
    assert not google.messages


@pytest.mark.parametrize(
    "text", ["", "{}", "not json", '{"project_id": "a", "client_email": "b", "private_key": "c"}']
)
async def test_a_broken_account_is_named(text: str) -> None:
    """A key file that can't be used fails the effect without showing it."""
    settings = DeliverySettings(fcm=FcmSettings(service_account=text))
    async with stage(settings, example("new_offer")) as context:
        ending = await perform(PROVIDER, context, PARAMS)
    assert isinstance(ending, Failed)
    assert (ending.error, ending.in_doubt) == ("not_configured", False)
    assert not text or text not in repr(ending)
