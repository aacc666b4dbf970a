"""How a webhook reads what comes back: successes, refusals, faults; each with its stable word."""

import asyncio
import json
import socket
import time
from email.utils import formatdate
from pathlib import Path

import pytest
from aiohttp import web

from consumers.actions.answers import kept, retry_after_ms
from consumers.actions.base import Done, Failed
from consumers.actions.guard import AddressInfo
from consumers.actions.http import guarded_session
from orchestrator.effect_settings import EffectSettings
from tests.effects.calling import LOCAL, answers, perform, request
from tests.effects.receiver import certificate, raw_receiver, receiver, status


def local(**changes: object) -> EffectSettings:
    return EffectSettings(**{"allow_http": True, "allowed_networks": LOCAL.allowed_networks, **changes})  # type: ignore[arg-type]


async def test_json_of_an_answer_reaches_the_journey() -> None:
    """A short JSON answer is part of the result, with its status."""
    async with receiver(status(201, b'{"order": 7, "tags": ["a"]}')) as shop:
        ending = await perform(request({"url": shop.url()}))
    assert ending == Done({"status": 201, "body": {"order": 7, "tags": ["a"]}})


@pytest.mark.parametrize("code", [408, 409, 425, 429, 500, 502, 503, 504, 599])
async def test_faults_that_may_pass_are_retryable(code: int) -> None:
    """Busy and broken receivers are worth another attempt."""
    async with receiver(status(code)) as shop:
        ending = await perform(request({"url": shop.url()}))
    assert isinstance(ending, Failed)
    assert (ending.error, ending.retryable) == (f"status_{code}", True)


@pytest.mark.parametrize("code", [400, 401, 403, 404, 405, 410, 413, 422, 451])
async def test_refusals_are_final(code: int) -> None:
    """A receiver that says no isn't asked again."""
    async with receiver(status(code, headers={"Retry-After": "5"})) as shop:
        ending = await perform(request({"url": shop.url()}))
    assert ending == Failed(f"status_{code}")


@pytest.mark.parametrize("code", [429, 503])
async def test_retry_after_in_seconds_is_honoured(code: int) -> None:
    """A receiver's wish to be left alone for a while reaches the journey in milliseconds."""
    async with receiver(status(code, headers={"Retry-After": "7"})) as shop:
        ending = await perform(request({"url": shop.url()}))
    assert isinstance(ending, Failed)
    assert ending.retry_after_ms == 7_000


async def test_retry_after_as_a_date_is_honoured() -> None:
    """The date form of Retry-After means the same as seconds."""
    async with receiver(
        status(429, headers={"Retry-After": formatdate(time.time() + 3_600, usegmt=True)})
    ) as shop:
        ending = await perform(request({"url": shop.url()}))
    assert isinstance(ending, Failed)
    assert ending.retry_after_ms is not None
    assert 3_500_000 < ending.retry_after_ms <= 3_600_000


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("0", 0),
        (" 3 ", 3_000),
        ("999999999", 86_400_000),
        ("99999999999999", None),
        ("Thu, 01 Jan 1970 00:00:10 GMT", 9_000),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Thursday, 01-Jan-70 00:00:10 GMT", 9_000),
        ("Thu Jan  1 00:00:10 1970", 9_000),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400_000),
        ("Fri, 99 Dec 2099 23:59:59 GMT", None),
    ],
)
def test_retry_after_forms(value: str | None, expected: int | None) -> None:
    """Every form of Retry-After is read or ignored, bounded by a day and never negative."""
    assert retry_after_ms(value, 1_000) == expected


async def test_a_hanging_receiver_ends_at_the_timeout() -> None:
    """A receiver that never answers costs the effect's own timeout, and may be tried again."""

    async def hang(_request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with receiver(hang) as shop:
        ending = await perform(request({"url": shop.url()}, timeout_ms=200))
    assert isinstance(ending, Failed)
    assert (ending.error, ending.retryable, ending.in_doubt) == ("timeout", True, True)


async def test_a_dripping_receiver_ends_at_the_timeout() -> None:
    """Bytes that keep coming slowly don't extend the timeout."""

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.02)

    async with receiver(drip) as shop:
        ending = await perform(request({"url": shop.url()}, timeout_ms=300))
    assert isinstance(ending, Failed)
    assert ending.error == "timeout"


async def test_a_huge_body_is_cut_off() -> None:
    """An answer beyond the bound is never held in memory; the call was taken all the same, and counts as done."""
    sent = 0

    async def flood(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(2_000):
            await response.write(b"x" * 65_536)
            sent += 65_536
        return response

    async with receiver(flood) as shop:
        ending = await perform(request({"url": shop.url()}))
    assert isinstance(ending, Done)
    assert ending.result["status"] == 200
    assert ending.result["truncated"]
    assert sent < 64 * 2**20


async def test_a_compressed_bomb_stays_compressed() -> None:
    """Answers aren't unpacked: nothing grows behind the bound on their size."""
    bomb = b"\x1f\x8b" + b"\x00" * 100
    async with receiver(status(200, bomb, {"Content-Encoding": "gzip"})) as shop:
        ending = await perform(request({"url": shop.url()}))
        assert shop.calls[0].headers["Accept-Encoding"] == "identity"
    assert isinstance(ending, Done)
    assert ending.result["truncated"] is False


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_redirects_are_refused(code: int) -> None:
    """A Location, to a private address or not, is never followed."""
    async with receiver(status(200)) as inside:
        async with receiver(status(code, headers={"Location": inside.url("/secret")})) as shop:
            ending = await perform(request({"url": shop.url()}))
        assert not inside.calls
    assert ending == Failed("redirect_refused", f"status {code}")


async def test_a_reset_connection_is_lost() -> None:
    """A connection that breaks after the request may be tried again, and leaves doubt."""
    async with raw_receiver(None) as port:
        ending = await perform(request({"url": f"http://127.0.0.1:{port}/"}))
    assert isinstance(ending, Failed)
    assert (ending.error, ending.retryable, ending.in_doubt) == ("connection_lost", True, True)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    ],
)
async def test_an_answer_that_is_no_http_is_lost(answer: bytes) -> None:
    """Broken, cut or endless answers end as a lost connection, not as a crash."""
    async with raw_receiver(answer) as port:
        ending = await perform(request({"url": f"http://127.0.0.1:{port}/"}))
    assert isinstance(ending, Failed)
    assert (ending.error, ending.retryable) == ("connection_lost", True)


async def test_nobody_listening_is_connect_failed() -> None:
    """A refused connection is retryable, and certainly had no effect."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        ending = await perform(request({"url": f"http://127.0.0.1:{held.getsockname()[1]}/"}))
    assert isinstance(ending, Failed)
    assert (ending.error, ending.retryable, ending.in_doubt) == ("connect_failed", True, False)


async def test_a_name_that_does_not_resolve_is_dns_failed() -> None:
    """A name nobody knows is retryable: name servers fail too."""

    async def unknown(_host: str, _port: int, _family: int) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    ending = await perform(request({"url": "http://nobody.test/"}), lookup=unknown)  # type: ignore[arg-type]
    assert isinstance(ending, Failed)
    assert (ending.error, ending.retryable) == ("dns_failed", True)


def loopback(address: str) -> AddressInfo:
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))


async def test_a_name_that_changes_its_mind_is_caught() -> None:
    """DNS rebinding: the judged answer is the one connected to, and the next call is judged anew."""
    lookup, asked = answers([loopback("127.0.0.1")], [loopback("10.0.0.1")])
    closing = status(200, headers={"Connection": "close"})
    async with receiver(closing) as shop, guarded_session(LOCAL, lookup) as session:
        url = shop.url(host="rebind.test")
        first = await perform(request({"url": url}), session=session)
        assert asked == ["rebind.test"]
        second = await perform(request({"url": url}), session=session)
    assert isinstance(first, Done)
    assert shop.calls[0].headers["Host"] == f"rebind.test:{shop.port}"
    assert isinstance(second, Failed)
    assert (second.error, second.retryable) == ("address_refused", False)
    assert len(shop.calls) == 1


async def test_tls_names_stay_the_name(tmp_path: Path) -> None:
    """Connecting to a pinned address, the certificate is still checked for the URL's name, and SNI and Host carry it."""
    ca_file, tls = certificate(tmp_path, "hooks.test")
    lookup, _ = answers([loopback("127.0.0.1")])
    async with receiver(status(200), tls) as shop:
        ending = await perform(
            request({"url": shop.url(host="hooks.test")}), local(ca_file=str(ca_file)), lookup=lookup
        )
    assert isinstance(ending, Done)
    assert shop.calls[0].server_name == "hooks.test"
    assert shop.calls[0].headers["Host"] == f"hooks.test:{shop.port}"


@pytest.mark.parametrize(("name", "trusted"), [("other.test", True), ("hooks.test", False)])
async def test_invalid_certificates_end_the_call(tmp_path: Path, name: str, *, trusted: bool) -> None:
    """A certificate of another name, or of an unknown authority, stops the call before any byte of it."""
    ca_file, tls = certificate(tmp_path, name)
    lookup, _ = answers([loopback("127.0.0.1")])
    async with receiver(status(200), tls) as shop:
        settings = local(ca_file=str(ca_file) if trusted else "")
        ending = await perform(request({"url": shop.url(host="hooks.test")}), settings, lookup=lookup)
    assert isinstance(ending, Failed)
    assert (ending.error, ending.retryable, ending.in_doubt) == ("tls_failed", True, False)
    assert not shop.calls


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", {}),
        (b"null", {"body": None}),
        (b'{"a":1}', {"body": {"a": 1}}),
        (b"plain", {"text": "plain", "truncated": False}),
        (b"x" * 200, {"text": "x" * 100, "truncated": True}),
        (
            b'{"n":123456789012345678901234567890}',
            {"text": '{"n":123456789012345678901234567890}', "truncated": False},
        ),
        (b'"\\u0000"', {"text": '"\\u0000"', "truncated": False}),
        (b"a\x00b", {"text": "a\N{REPLACEMENT CHARACTER}b", "truncated": False}),
        (b"[" * 40 + b"]" * 40, {"text": "[" * 40 + "]" * 40, "truncated": False}),
    ],
)
def test_only_storable_answers_are_kept(body: bytes, expected: dict[str, object]) -> None:
    """What the log couldn't store or would misread is kept as bounded text."""
    found = kept(body, 100)
    assert found == expected
    assert len(json.dumps(found, ensure_ascii=False).encode()) < 300


def test_kept_text_is_bounded_in_bytes() -> None:
    """Replacing broken bytes doesn't grow the text past its bound."""
    assert len(kept(b"\xff" * 1_000, 100)["text"].encode()) <= 100
