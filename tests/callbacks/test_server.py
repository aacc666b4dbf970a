"""The server's bounds: sizes, rates, numbers, times; and what a stranger learns (nothing)."""

import asyncio
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.actions.delivery_settings import DeliverySettings
from consumers.callbacks import CallbackServer, CallbackSettings, callbacks_from
from consumers.callbacks.limits import BUCKETS_MAX, Rates, Remote
from orchestrator.core.errors import ConfigurationError
from tests.callbacks.stand import new_secret, stand


async def test_a_body_too_long_is_refused() -> None:
    """A body beyond the limit is refused whether or not it announces its length."""

    async def pieces() -> Any:
        for _ in range(40):
            yield b"x" * 1_000

    async with stand(max_body_bytes=10_000) as one:
        assert await one.status("POST", "/callbacks/email", data=b"x" * 10_001) == 413
        assert await one.status("POST", "/callbacks/email", data=pieces()) == 413
        assert one.counted("email", "malformed") == 2


async def test_one_address_cannot_ask_without_end() -> None:
    """Beyond its burst an address is turned away with 429 and when to come back."""
    async with stand(rate_per_s=0.001, burst=3) as one:
        statuses = [await one.status("POST", "/callbacks/email", data=b"{}") for _ in range(5)]
        assert statuses == [401, 401, 401, 429, 429]
        assert one.counted("email", "limited") == 2


async def test_a_proxy_names_its_callers() -> None:
    """Behind a trusted proxy each caller has a bucket of its own; a stranger's header counts for nothing."""
    async with stand(rate_per_s=0.001, burst=1, trusted_proxies=("127.0.0.0/8",)) as one:
        for address in ("192.0.2.1", "192.0.2.2", "203.0.113.9, 192.0.2.3"):
            headers = {"X-Forwarded-For": address}
            assert await one.status("POST", "/callbacks/email", data=b"", headers=headers) == 401
            assert await one.status("POST", "/callbacks/email", data=b"", headers=headers) == 429
        twice = [("X-Forwarded-For", f"203.0.113.{n}") for n in (1, 2)] + [("X-Forwarded-For", "192.0.2.1")]
        assert await one.status("POST", "/callbacks/email", headers=twice) == 429
    async with stand(rate_per_s=0.001, burst=1) as one:
        assert await one.status("POST", "/callbacks/email", headers={"X-Forwarded-For": "192.0.2.1"}) == 401
        assert await one.status("POST", "/callbacks/email", headers={"X-Forwarded-For": "192.0.2.2"}) == 429


async def test_only_so_many_at_a_time() -> None:
    """While as many requests as allowed are under way, others are asked to come back; then there is room again."""
    async with stand(concurrency=2, request_timeout_s=2) as one:
        one.bus.hangs = True
        batch = {"events": [{"id": "1", "type": "opened", "reference": one.token()}]}
        waiting = [asyncio.create_task(one.relay(batch, id=f"m-{n}")) for n in range(2)]
        while one.registry.get_sample_value("journey_callbacks_in_flight") != 2:
            await asyncio.sleep(0.005)
        assert await one.status("POST", "/callbacks/email", data=b"") == 503
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_nothing_takes_for_ever() -> None:
    """A request that can't be dealt with in time is answered with 503, so that its provider tries again."""
    async with stand(request_timeout_s=0.2) as one:
        one.bus.hangs = True
        batch = {"events": [{"id": "1", "type": "opened", "reference": one.token()}]}
        assert (await one.relay(batch)).status == 503
        assert one.registry.get_sample_value("journey_callbacks_in_flight") == 0


async def test_a_body_that_never_comes_is_given_up() -> None:
    """A caller who announces a body and doesn't send it is answered, and its place is free."""
    async with stand(request_timeout_s=0.2) as one:
        reader, writer = await asyncio.open_connection("127.0.0.1", one.server.port)
        writer.write(b"POST /callbacks/email HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert b" 503 " in await asyncio.wait_for(reader.readline(), 10)
        writer.close()
        await writer.wait_closed()


async def test_strangers_learn_nothing() -> None:
    """Unknown paths, methods and pages are bare statuses; no header names what we are made of."""
    async with stand() as one:
        for method, path, status in (
            ("GET", "/", 404),
            ("GET", "/callbacks/email", 405),
            ("PUT", "/u/x", 405),
            ("GET", "/metrics", 404),
            ("GET", "/healthz", 404),
            ("POST", "/callbacks/../u", 404),
        ):
            async with one.http.request(method, one.url(path)) as answer:
                assert answer.status == status, path
                assert await answer.text() == ""
                assert "aiohttp" not in str(answer.headers)


async def test_reports_of_strangers_make_no_labels() -> None:
    """Whatever paths are asked for, the metrics keep their few names."""
    async with stand() as one:
        for n in range(5):
            await one.status("GET", f"/path-{n}")
            await one.status("POST", f"/callbacks/name-{n}", data=b"")
        assert one.counted("other", "unknown") == 10


@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.1, 0.6, 4.0])), max_size=60))
def test_a_bucket_never_gives_more_than_it_holds(asks: list[tuple[int, float]]) -> None:
    """In any span an address gets at most its burst and what flowed in since."""
    rates, now_s = Rates(2.0, 5), 0.0
    taken: dict[str, list[float]] = {}
    for address, later_s in asks:
        now_s += later_s
        if rates.allows(str(address), now_s):
            taken.setdefault(str(address), []).append(now_s)
    for times in taken.values():
        for first in range(len(times)):
            for last in range(first, len(times)):
                assert last - first + 1 <= 5 + 2.0 * (times[last] - times[first]) + 1e-6


def test_a_bucket_is_never_fuller_than_full() -> None:
    """Who was quiet for a day may ask as often as at first, and no more."""
    rates = Rates(2.0, 5)
    assert rates.allows("a", 0.0)
    assert [rates.allows("a", 86_400.0) for _ in range(7)] == [True] * 5 + [False] * 2


def test_buckets_are_bounded() -> None:
    """An attacker of many addresses costs a bounded memory."""
    rates = Rates(1.0, 1)
    for n in range(BUCKETS_MAX + 500):
        rates.allows(str(n), 0.0)
    assert len(rates) == BUCKETS_MAX


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "192.0.2.1", "192.0.2.1"),
        ("10.0.0.1", "192.0.2.9, 192.0.2.1", "192.0.2.1"),
        ("10.0.0.1", "192.0.2.1, 10.0.0.2", "192.0.2.1"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("192.0.2.7", "192.0.2.1", "192.0.2.7"),
        ("::ffff:10.0.0.1", "192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "192.0.2.1", "2001:db8::/64"),
        (None, "192.0.2.1", "unknown"),
    ],
)
def test_who_is_calling(peer: str | None, forwarded: str, found: str) -> None:
    """The nearest address that isn't a trusted proxy's, whatever stands further left."""
    assert Remote(("10.0.0.0/8",)).address(peer, forwarded) == found


async def test_a_port_that_is_taken_is_named() -> None:
    """The worker says which setting to change, not a number of an error."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = CallbackServer(CallbackSettings(port=port), DeliverySettings(), commands_topic="c")
        with pytest.raises(ConfigurationError, match="ORCHESTRATOR_CALLBACKS_PORT"):
            async with server.running(None):  # type: ignore[arg-type]  it never comes to it
                pass


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("EMAIL_SECRET", "secret"),
        ("EMAIL_SECRET", "whsec_c2hvcnQ="),
        ("SENDGRID_PUBLIC_KEY", "bm8ga2V5"),
        ("SES_TOPICS", "ses-events"),
        ("TRUSTED_PROXIES", "everybody"),
        ("MAX_EVENTS", "many"),
        ("RATE_PER_S", "0"),
    ],
)
def test_wrong_settings_are_named(variable: str, text: str) -> None:
    """A setting that can't work ends the start with its variable's name."""
    with pytest.raises(ConfigurationError, match=variable):
        callbacks_from({f"ORCHESTRATOR_CALLBACKS_{variable}": text})


def test_settings_come_from_the_environment() -> None:
    """Lists are split at commas or blanks, numbers read; secrets are never shown."""
    secret = new_secret()
    found = callbacks_from(
        {
            "ORCHESTRATOR_CALLBACKS_SES_TOPICS": "arn:aws:sns:a:1:b, arn:aws:sns:a:1:c",
            "ORCHESTRATOR_CALLBACKS_EMAIL_SECRET": secret,
            "ORCHESTRATOR_CALLBACKS_BURST": "7",
            "ORCHESTRATOR_CALLBACKS_PORT": "ignored, it comes from elsewhere",
        },
        port=5,
    )
    assert (found.ses_topics, found.burst, found.port) == (("arn:aws:sns:a:1:b", "arn:aws:sns:a:1:c"), 7, 5)
    assert secret not in repr(found)
