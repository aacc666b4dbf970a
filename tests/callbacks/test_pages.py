"""What customers reach from a message, over real HTTP: opens, clicks, unsubscribing."""

import re
from base64 import urlsafe_b64decode
from html.parser import HTMLParser

import pytest

from consumers.actions.links import Subscription, make_token
from consumers.actions.references import (
    CLICK,
    OPEN,
    REPORT,
    UNSUBSCRIBE,
    make_click,
    make_reference,
    make_unsubscribe,
)
from consumers.callbacks import visits
from tests.callbacks.stand import ABOUT_MAIL, MAIL, stand
from tests.providers.stage import new_key

URL = "https://shop.example.org/a?x=1&y=ü#part"


async def test_a_picture_tells_of_an_open() -> None:
    """The picture is a GIF of one pixel that nobody keeps; the flow hears EMAIL_OPENED once, however often it is asked for."""
    async with stand() as one:
        path = f"/o/{make_reference(MAIL, OPEN, one.keys)}.gif"
        for _ in range(3):
            async with one.http.get(one.url(path)) as answer:
                assert (answer.status, answer.content_type) == (200, "image/gif")
                assert (await answer.read()).startswith(b"GIF89a")
                assert answer.headers["Cache-Control"] == "no-store"
        assert one.bus.events == [("EMAIL_OPENED", ABOUT_MAIL)]
        assert not one.bus.to_record


async def test_a_link_leads_where_it_did() -> None:
    """The browser is sent on to the very address, without a word of where it came from; the flow hears EMAIL_CLICKED."""
    async with stand() as one:
        path = f"/c/{make_click(MAIL, URL, one.keys)}"
        async with one.http.get(one.url(path), allow_redirects=False) as answer:
            assert answer.status == 302
            assert answer.headers["Location"] == "https://shop.example.org/a?x=1&y=%C3%BC#part"
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert "Server" not in answer.headers
        assert one.bus.events == [("EMAIL_CLICKED", {**ABOUT_MAIL, "url": URL})]


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "//example.com", "ftp://example.com/", "/x", "https://"]
)
async def test_nobody_is_sent_elsewhere(url: str) -> None:
    """Even a token of ours leads to web addresses alone; an address beside the token is never read."""
    async with stand() as one:
        token = make_click(MAIL, url, one.keys)
        assert await one.status("GET", f"/c/{token}") == 404
        good = make_click(MAIL, URL, one.keys)
        async with one.http.get(
            one.url(f"/c/{good}?url=https://evil.example.com"), allow_redirects=False
        ) as answer:
            assert answer.headers["Location"].startswith("https://shop.example.org/")


async def test_tokens_are_good_for_their_own_page() -> None:
    """A token of one page is unknown on every other, and so is one that was changed or sealed by a key we don't have."""
    async with stand() as one:
        tokens = {
            "o": make_reference(MAIL, OPEN, one.keys),
            "c": make_click(MAIL, URL, one.keys),
            "u": make_unsubscribe(MAIL, one.keys),
            "report": make_reference(MAIL, REPORT, one.keys),
        }
        for page, suffix in (("o", ".gif"), ("c", ""), ("u", "")):
            for name, token in tokens.items():
                expected = 404 if name != page else 302 if page == "c" else 200
                assert await one.status("GET", f"/{page}/{token}{suffix}") == expected, (page, name)
            own = tokens[page]
            changed = own[:10] + ("A" if own[10] != "A" else "B") + own[11:]
            assert await one.status("GET", f"/{page}/{changed}{suffix}") == 404
        foreign = make_reference(MAIL, OPEN, new_key())
        assert await one.status("GET", f"/o/{foreign}.gif") == 404
        assert [name for name, _ in one.bus.events] == ["EMAIL_OPENED", "EMAIL_CLICKED"]


def test_a_token_shows_nothing_of_the_customer() -> None:
    """Neither the customer, the flow, the address nor where a link leads can be read from a URL."""
    keys = new_key()
    tokens = [make_reference(MAIL, p, keys) for p in (OPEN, REPORT, UNSUBSCRIBE)] + [
        make_click(MAIL, URL, keys)
    ]
    assert CLICK not in {OPEN, REPORT, UNSUBSCRIBE}
    for token in tokens:
        assert re.fullmatch(r"[A-Za-z0-9_-]+", token)
        raw = urlsafe_b64decode(token + "=" * (-len(token) % 4))
        for said in ("cus-1", "welcome", "shop.example", MAIL.address_hash[:8]):
            assert said not in token
            assert said.encode() not in raw
        assert bytes.fromhex(MAIL.address_hash)[:6] not in raw


class Form(HTMLParser):
    """The parts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


async def test_looking_changes_nothing() -> None:
    """Opening the unsubscribe link, as scanners and previews do, shows a page with one button and tells nobody."""
    async with stand() as one:
        path = f"/u/{make_unsubscribe(MAIL, one.keys)}"
        for method in ("GET", "HEAD"):
            assert await one.status(method, path) == 200
        async with one.http.get(one.url(path)) as answer:
            page = await answer.text()
            policy = answer.headers["Content-Security-Policy"]
        assert not one.bus.sent
    form = Form(page)
    assert form.named("html") == [{"lang": "en"}]
    assert form.named("form") == [{"method": "post"}]
    assert form.named("button") == [{"type": "submit"}]
    assert len(form.named("h1")) == len(form.named("main")) == len(form.named("title")) == 1
    assert not form.named("script")
    assert "e-mails" in page
    assert "cus-1" not in page
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize("kind", ["urlencoded", "multipart"])
async def test_one_click_unsubscribes(kind: str) -> None:
    """A mail program's POST, in either form RFC 8058 allows, withdraws consent; a second try at once says nothing new."""
    import aiohttp

    async with stand() as one:
        path = f"/u/{make_unsubscribe(MAIL, one.keys)}"
        for _ in range(2):
            form = aiohttp.FormData(
                {"List-Unsubscribe": "One-Click"}, default_to_multipart=kind == "multipart"
            )
            async with one.http.post(one.url(path), data=form) as answer:
                assert answer.status == 200
                assert "You are unsubscribed" in await answer.text()
        told = [s.what for s in one.bus.sent]
    consent = {"channel": "email", "source": "unsubscribe link", "granted": False}
    assert told[:2] == [
        ("acme/c/cus-1/flow:welcome", "event", {"type": "EMAIL_UNSUBSCRIBED", "payload": ABOUT_MAIL}),
        ("acme/c/cus-1/customer:profile", "consent", consent),
    ]
    assert len(told) in {2, 4}  # 4: the clock went over to the next act between the two


async def test_a_link_of_the_customer_alone() -> None:
    """A link without a message, made where a whole one would be too long, unsubscribes as well."""
    async with stand() as one:
        token = make_token(Subscription(MAIL.owner, "email", "t"), one.keys)
        assert await one.status("GET", f"/u/{token}") == 200
        assert not one.bus.sent
        assert await one.status("POST", f"/u/{token}") == 200
        consent = {"channel": "email", "source": "unsubscribe link", "granted": False}
        assert [s.what for s in one.bus.sent] == [("acme/c/cus-1/customer:profile", "consent", consent)]


async def test_nobody_is_told_they_are_unsubscribed_when_they_are_not() -> None:
    """While Kafka is away the page says to try again, with a status that makes mail programs do so."""
    async with stand() as one:
        path = f"/u/{make_unsubscribe(MAIL, one.keys)}"
        one.bus.away = True
        async with one.http.post(one.url(path)) as answer:
            assert answer.status == 503
            assert "unsubscribed</h1>" in await answer.text()
            assert int(answer.headers["Retry-After"]) > 0
        one.bus.away = False
        assert await one.status("POST", path) == 200
        assert [kind for kind, _ in one.bus.to_record] == ["consent"]


@pytest.mark.parametrize("trouble", ["away", "hangs"])
async def test_customers_do_not_wait_for_kafka(trouble: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link leads on and a picture shows whatever becomes of their count, which the metrics tell as lost."""
    monkeypatch.setattr("consumers.callbacks.pages.VISIT_TIMEOUT_S", 0.05)
    async with stand() as one:
        setattr(one.bus, trouble, True)
        assert await one.status("GET", f"/c/{make_click(MAIL, URL, one.keys)}") == 302
        assert await one.status("GET", f"/o/{make_reference(MAIL, OPEN, one.keys)}.gif") == 200
        assert one.counted("click", "lost") == one.counted("open", "lost") == 1


def test_who_looks_ahead_has_not_come() -> None:
    """Prefetches and questions for the head alone are no visits."""
    assert visits.is_visit("GET", {})
    assert not visits.is_visit("HEAD", {})
    assert not visits.is_visit("GET", {"sec-purpose": "prefetch;prerender"})
    assert not visits.is_visit("GET", {"purpose": "prefetch"})
    assert not visits.is_visit("GET", {"x-moz": "prefetch"})
