"""`send_sms` against a server that answers as Twilio's documentation says."""

import asyncio
import json
import socket
from base64 import b64decode
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from aiohttp import web

from consumers.actions.base import Done, Failed
from consumers.actions.delivery_settings import DeliverySettings, LinkSettings, TwilioSettings
from consumers.actions.references import REPORT, read_reference
from consumers.actions.refusals import Undeliverable
from consumers.actions.send_sms import SendSmsProvider
from consumers.effects.records import result
from tests.effects.calling import STREAM
from tests.effects.receiver import Answer, certificate, raw_receiver, receiver, status
from tests.providers.stage import asked, example, new_key, perform, stage

PROVIDER = SendSmsProvider()
SID = "AC" + "0" * 32
TO = "+4915112345678"
PARAMS: dict[str, Any] = {"to": TO, "template": "points_notification", "variables": {"points": 100}}
TAKEN = json.dumps({"sid": "SM" + "1" * 32, "status": "queued", "error_code": None, "to": TO}).encode()


def account(base_url: str, **changes: Any) -> DeliverySettings:
    twilio = {
        "account_sid": SID,
        "auth_token": "t0ken",
        "sender": "+15005550006",
        "base_url": base_url,
        **changes,
    }
    return DeliverySettings(twilio=TwilioSettings(**twilio))


def error(http: int, code: int, **headers: str) -> Answer:
    """An error as Twilio writes them."""
    body = {"code": code, "message": f"about {TO}", "more_info": "https://example.com/errors", "status": http}
    return status(http, json.dumps(body).encode(), headers)


async def send(answer: Answer, params: dict[str, Any] | None = None, **options: Any) -> Any:
    async with (
        receiver(answer) as twilio,
        stage(account(twilio.url("")), example("points_notification")) as context,
    ):
        return await perform(PROVIDER, context, PARAMS if params is None else params, **options)


async def test_a_message_is_asked_for_as_documented() -> None:
    """One form post with the account's login; the result is Twilio's id of the message."""
    key = new_key()
    async with receiver(status(201, TAKEN)) as twilio:
        settings = msgspec.structs.replace(
            account(twilio.url(""), status_callback_url="https://example.org/reports"),
            links=LinkSettings(keys=key),
        )
        async with stage(settings, example("points_notification")) as context:
            ending = await perform(PROVIDER, context, {**PARAMS, "to": "+49 (151) 1234-5678"})
    about = {"template": "points_notification", "version": 1}
    assert ending == Done({"sid": "SM" + "1" * 32, "status": "queued", **about})
    (call,) = twilio.calls
    assert (call.method, call.path) == ("POST", f"/2010-04-01/Accounts/{SID}/Messages.json")
    assert b64decode(call.headers["Authorization"].removeprefix("Basic ")).decode() == f"{SID}:t0ken"
    assert call.headers["Content-Type"] == "application/x-www-form-urlencoded"
    form = {name: values[0] for name, values in parse_qs(call.body.decode()).items()}
    callback = urlsplit(form.pop("StatusCallback"))
    assert form == {"To": TO, "From": "+15005550006", "Body": "You've earned 100 points! Reply STOP to end."}
    assert callback.geturl().startswith("https://example.org/reports?effect=")
    reported = read_reference(parse_qs(callback.query)["effect"][0], REPORT, key)
    assert (reported.message, reported.action) == (f"{STREAM}/3-1", "send_welcome")
    assert "cus-1" not in callback.query


async def test_a_messaging_service_takes_the_senders_place() -> None:
    """With a messaging service Twilio chooses the number; the action's own words are Liquid too."""
    async with (
        receiver(status(201, TAKEN)) as twilio,
        stage(account(twilio.url("/"), messaging_service_sid="MG1")) as context,
    ):
        ending = await perform(
            PROVIDER, context, {"to": TO, "message": "{{ n }}", "variables": {"n": "ü&=+"}}
        )
    assert isinstance(ending, Done)
    assert parse_qs(twilio.calls[0].body.decode()) == {
        "To": [TO],
        "MessagingServiceSid": ["MG1"],
        "Body": ["ü&=+"],
    }


ERRORS = [
    (400, 21610, "recipient_stopped", False, "stop"),
    (400, 21211, "invalid_number", False, "hard_bounce"),
    (400, 21614, "invalid_number", False, "hard_bounce"),
    (400, 21617, "over_limit", False, ""),
    (400, 21606, "twilio_21606", False, ""),
    (401, 20003, "auth_failed", False, ""),
    (404, 20404, "twilio_20404", False, ""),
    (429, 20429, "rate_limited", True, ""),
    (400, 14107, "rate_limited", True, ""),
    (408, 0, "status_408", True, ""),
]


@pytest.mark.parametrize(
    ("http", "code", "word", "retryable", "suppress"), ERRORS, ids=[str(e[1]) for e in ERRORS]
)
async def test_what_errors_mean(http: int, code: int, word: str, suppress: str, *, retryable: bool) -> None:
    """Each documented error has its word; dead numbers and STOP say what to suppress; no number is quoted."""
    ending = await send(error(http, code))
    assert isinstance(ending, Failed)
    assert (ending.error, ending.retryable, ending.in_doubt) == (word, retryable, False)
    assert isinstance(ending, Undeliverable) is bool(suppress)
    if isinstance(ending, Undeliverable):
        assert ending.result == {"suppress": {"channel": "sms", "reason": suppress}}
    assert TO not in ending.detail


@pytest.mark.parametrize(("http", "code"), [(429, 20429), (503, 20503)])
async def test_retry_after_is_honoured(http: int, code: int) -> None:
    """A limit that says when to come back is obeyed; a service that is away took nothing on."""
    ending = await send(error(http, code, **{"Retry-After": "7"}))
    assert isinstance(ending, Failed)
    assert (ending.retryable, ending.retry_after_ms, ending.in_doubt) == (True, 7_000, False)


@pytest.mark.parametrize("http", [500, 502, 504])
async def test_a_broken_server_leaves_doubt(http: int) -> None:
    """After a 5xx other than 503 the message may have been sent: the effect is unknown."""
    ending = await send(status(http, b"<html>"))
    assert isinstance(ending, Failed)
    assert (ending.error, ending.in_doubt) == (f"status_{http}", True)


@pytest.mark.parametrize(
    ("body", "word", "in_doubt"),
    [
        (b'{"sid": "SM1", "status": "failed", "error_code": 21610}', "recipient_stopped", False),
        (b'{"sid": "SM1", "status": "undelivered", "error_code": 30007}', "twilio_30007", False),
        (b'{"code": 20500, "message": "no"}', "answer_unreadable", True),
        (b"<html>welcome to this network</html>", "answer_unreadable", True),
        (b'{"sid": "", "status": "queued"}', "answer_unreadable", True),
        (b"[]", "answer_unreadable", True),
        (b"", "answer_unreadable", True),
        (b"\xff\xfe", "answer_unreadable", True),
    ],
)
async def test_a_lying_200_is_no_success(body: bytes, word: str, *, in_doubt: bool) -> None:
    """A 200 without a message's id, or with an error in it, isn't taken for a sent message."""
    ending = await send(status(200, body))
    assert isinstance(ending, Failed)
    assert (ending.error, ending.in_doubt) == (word, in_doubt)


async def test_a_hanging_socket_is_unknown() -> None:
    """A provider that never answers may have sent: the runner says unknown, and repeats nothing."""

    async def hang(_request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    ending = await send(hang, timeout_ms=300)
    assert isinstance(ending, Failed)
    assert (ending.error, ending.in_doubt) == ("timeout", True)
    out = result(
        asked(PROVIDER, PARAMS), ending, at_most_once=not PROVIDER.idempotent, now_ms=0, topic="commands"
    )
    assert dict(out.headers)["ce_type"] == b"effect.unknown"
    assert json.loads(out.value or b"")["retryable"] is False


async def test_a_slow_answer_is_waited_for() -> None:
    """Slowness within the effect's time is no failure."""

    async def slow(_request: web.Request) -> web.Response:
        await asyncio.sleep(0.3)
        return web.Response(status=201, body=TAKEN)

    assert isinstance(await send(slow), Done)


@pytest.mark.parametrize("answer", [None, b"", b"SSH-2.0-OpenSSH_9.6\r\n\r\n"])
async def test_a_broken_answer_is_unknown(answer: bytes | None) -> None:
    """A connection that breaks after the request leaves doubt."""
    async with raw_receiver(answer) as port, stage(account(f"http://127.0.0.1:{port}")) as context:
        ending = await perform(PROVIDER, context, {"to": TO, "message": "x"})
    assert isinstance(ending, Failed)
    assert (ending.error, ending.in_doubt) == ("connection_lost", True)


async def test_redirects_are_refused() -> None:
    """A Location isn't followed: neither the login nor the message goes where nobody configured it."""
    async with receiver(status(201, TAKEN)) as inside:
        ending = await send(status(307, headers={"Location": inside.url("/")}))
        assert not inside.calls
    assert ending == Failed("redirect_refused", "status 307")


async def test_a_huge_answer_is_cut_off() -> None:
    """An answer beyond the bound isn't held in memory."""
    ending = await send(status(201, b" " * 200_000))
    assert isinstance(ending, Failed)
    assert (ending.error, ending.in_doubt) == ("body_too_large", True)


async def test_a_handshake_that_hangs_is_no_doubt() -> None:
    """A host that accepts a connection and never begins TLS certainly got no message."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    try:
        async with stage(account(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}")) as context:
            ending = await perform(PROVIDER, context, {"to": TO, "message": "x"}, timeout_ms=800)
    finally:
        server.close()
    assert isinstance(ending, Failed)
    assert (ending.error, ending.retryable, ending.in_doubt) == ("timeout", True, False)


async def test_nobody_listening_is_no_doubt() -> None:
    """A connection that was refused had no effect."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        async with stage(account(f"http://127.0.0.1:{held.getsockname()[1]}")) as context:
            ending = await perform(PROVIDER, context, {"to": TO, "message": "x"})
    assert isinstance(ending, Failed)
    assert (ending.error, ending.retryable, ending.in_doubt) == ("connect_failed", True, False)


@pytest.mark.parametrize(
    ("name", "trusted"), [("localhost", True), ("other.example.com", True), ("localhost", False)]
)
async def test_certificates_are_checked(tmp_path: Path, name: str, *, trusted: bool) -> None:
    """Only the configured host's own certificate, of an authority we trust, gets the login."""
    ca_file, tls = certificate(tmp_path, name)
    async with receiver(status(201, TAKEN), tls) as twilio:
        settings = account(f"https://localhost:{twilio.port}")
        settings = msgspec.structs.replace(settings, ca_file=str(ca_file) if trusted else "")
        async with stage(settings) as context:
            ending = await perform(PROVIDER, context, {"to": TO, "message": "x"})
    if trusted and name == "localhost":
        assert isinstance(ending, Done)
    else:
        assert isinstance(ending, Failed)
        assert (ending.error, ending.in_doubt) == ("tls_failed", False)
        assert not twilio.calls


@pytest.mark.parametrize(
    ("params", "word"),
    [
        ({"to": None}, "missing_address"),
        ({"to": "0151 123"}, "address_refused"),
        ({"to": "+49151\r\nX"}, "address_refused"),
        ({"variables": {}}, "missing_variable"),
        ({"template": "", "message": ""}, "no_content"),
        ({"template": "", "message": "{{ t }}", "variables": {"t": "x" * 1_601}}, "over_limit"),
    ],
)
async def test_what_is_never_asked_for(params: dict[str, Any], word: str) -> None:
    """A missing number, a number in another form, or half a message never reaches the provider."""
    async with receiver(status(201, TAKEN)) as twilio:
        async with stage(account(twilio.url("")), example("points_notification")) as context:
            ending = await perform(PROVIDER, context, {**PARAMS, **params})
        assert not twilio.calls
    assert isinstance(ending, Failed)
    assert (ending.error, ending.retryable, ending.in_doubt) == (word, False, False)


@pytest.mark.parametrize("missing", ["account_sid", "auth_token", "sender"])
async def test_without_an_account_nothing_is_sent(missing: str) -> None:
    """A runner without the whole account says so."""
    async with receiver(status(201, TAKEN)) as twilio:
        async with stage(account(twilio.url(""), **{missing: ""})) as context:
            ending = await perform(PROVIDER, context, {"to": TO, "message": "x"})
        assert not twilio.calls
    assert isinstance(ending, Failed)
    assert ending.error == "not_configured"
