"""`send_email` against a real SMTP server: what arrives, and what each refusal means."""

import asyncio
import socket
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import msgspec
import pytest

from consumers.actions.base import Done, Failed
from consumers.actions.delivery_settings import DeliverySettings, LinkSettings, SmtpSettings
from consumers.actions.references import read_unsubscribe
from consumers.actions.refusals import Undeliverable
from consumers.actions.send_email import SendEmailProvider
from consumers.actions.templates import CachedTemplates
from consumers.effects.records import result
from orchestrator.core.addresses import parse_stream
from tests.effects.calling import STREAM
from tests.effects.receiver import certificate
from tests.providers.mail_server import mail_server, scripted_server
from tests.providers.stage import CANARY, asked, example, new_key, perform, stage

PROVIDER = SendEmailProvider()
TO = f"{CANARY}@example.com"
PLAIN: dict[str, Any] = {
    "to": TO,
    "subject": "Hello {{ name }}",
    "text": "Hi {{ name }}",
    "variables": {"name": "Anna"},
}


def clear(port: int, **changes: Any) -> DeliverySettings:
    """A server on this machine without TLS."""
    smtp = {
        "host": "127.0.0.1",
        "port": port,
        "security": "none",
        "sender": "Shop <news@example.com>",
        **changes,
    }
    return DeliverySettings(smtp=SmtpSettings(**smtp))


def secured(port: int, ca_file: Path, security: Any, **changes: Any) -> DeliverySettings:
    """A server on this machine with a certificate for `localhost`."""
    smtp = {"host": "localhost", "port": port, "security": security, "sender": "news@example.com", **changes}
    return DeliverySettings(smtp=SmtpSettings(**smtp), ca_file=str(ca_file))


async def test_a_mail_arrives_as_its_template_says() -> None:
    """Both parts, the headers, and the customer's variables reach the server; the result names the mail."""
    key = new_key()
    async with mail_server() as box:
        settings = msgspec.structs.replace(
            clear(box.port), links=LinkSettings(unsubscribe_url="https://example.org/u/", keys=key)
        )
        params = {
            "to": TO,
            "template": "welcome_email",
            "variables": {"customer_name": "Zoë <b>", "points_balance": 1250},
        }
        async with stage(settings, example("welcome_email")) as context:
            ending = await perform(PROVIDER, context, params)
    (mail,) = box.mails
    assert ending == Done({"message_id": mail["Message-ID"], "template": "welcome_email", "version": 1})
    assert box.envelopes == [("news@example.com", [TO])]
    assert (mail["To"], mail["From"]) == (TO, "Example Shop <news@example.com>")
    assert mail["Reply-To"] == "help@example.com"
    assert mail["Subject"] == "Welcome to our loyalty program, Zoë <b>!"
    html, text = mail.get_body(("html",)), mail.get_body(("plain",))
    assert html is not None
    assert text is not None
    assert "Zoë &lt;b&gt;" in html.get_content()
    assert "You have <strong>1,250</strong> points" in html.get_content()
    assert "Welcome, Zoë <b>!" in text.get_content()
    link = mail["List-Unsubscribe"].strip("<>")
    assert link.startswith("https://example.org/u/")
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert link in html.get_content()
    assert read_unsubscribe(link.rpartition("/")[2], key).owner == parse_stream(STREAM).owner
    assert b"\n" not in box.raw[0].replace(b"\r\n", b"")


async def test_attempts_share_the_message_id() -> None:
    """A mail sent twice can be seen to be one; another effect's mail is another."""
    async with mail_server() as box, stage(clear(box.port)) as context:
        for attempt in (1, 2):
            await perform(PROVIDER, context, PLAIN, attempt=attempt)
        other = msgspec.structs.replace(asked(PROVIDER, PLAIN), idempotency_key="another")
        await PROVIDER.perform(other, msgspec.convert(PLAIN, PROVIDER.params), context)
    ids = [mail["Message-ID"] for mail in box.mails]
    assert ids[0] == ids[1] != ids[2]
    assert ids[0].endswith("@example.com>")


async def test_an_actions_own_words() -> None:
    """Without a template the action's texts are sent; with one, its own subject and sender win."""
    own = {**PLAIN, "from": "Other <other@example.org>", "reply_to": "help@example.org"}
    over = {**own, "template": "t"}
    document = {
        "id": "t",
        "channel": "email",
        "email": {"subject": "S", "text": "T", "html": "<i>{{ name }}</i>"},
    }
    async with mail_server() as box, stage(clear(box.port), document) as context:
        assert isinstance(await perform(PROVIDER, context, own), Done)
        assert isinstance(await perform(PROVIDER, context, over), Done)
    first, second = box.mails
    for mail in (first, second):
        assert (mail["Subject"], mail["From"]) == ("Hello Anna", "Other <other@example.org>")
        assert mail["Reply-To"] == "help@example.org"
    assert first.get_content().strip() == "Hi Anna"
    assert first.get_content_type() == "text/plain"
    html = second.get_body(("html",))
    assert html is not None
    assert html.get_content().strip() == "<i>Anna</i>"


async def test_html_alone_is_html() -> None:
    """A template without a plain part is sent as the HTML it is."""
    async with mail_server() as box, stage(clear(box.port)) as context:
        await perform(PROVIDER, context, {"to": TO, "subject": "x", "html": "<p>ü</p>"})
    assert isinstance(box.mails[0], EmailMessage)
    assert box.mails[0].get_content_type() == "text/html"
    assert box.mails[0].get_content().strip() == "<p>ü</p>"
    assert box.raw[0].isascii()


@pytest.mark.filterwarnings("ignore:Requiring AUTH")  # the server doesn't see that it is inside TLS
@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_tls_and_login(tmp_path: Path, security: str) -> None:
    """Both kinds of TLS carry login and mail."""
    ca_file, tls = certificate(tmp_path, "localhost")
    user = ("shop", new_key())
    async with mail_server(**{security: tls}, user=user) as box:
        settings = secured(box.port, ca_file, security, username=user[0], password=user[1])
        async with stage(settings) as context:
            ending = await perform(PROVIDER, context, PLAIN)
    assert isinstance(ending, Done)
    assert box.secured == [True] if security == "starttls" else len(box.mails) == 1
    assert box.logins == ["shop"]


async def test_a_wrong_password_is_final(tmp_path: Path) -> None:
    """A refused login is the settings' fault; nothing was sent, and nothing secret is told."""
    ca_file, tls = certificate(tmp_path, "localhost")
    wrong = new_key()
    async with mail_server(starttls=tls, user=("shop", new_key())) as box:
        settings = secured(box.port, ca_file, "starttls", username="shop", password=wrong)
        async with stage(settings) as context:
            ending = await perform(PROVIDER, context, PLAIN)
    assert ending == Failed("auth_failed", "535 5.7.8 at login")
    assert wrong not in f"{settings!r} {settings.smtp} {ending}"
    assert not box.mails


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize(("name", "trusted"), [("other.example.com", True), ("localhost", False)])
async def test_invalid_certificates_stop_the_mail(
    tmp_path: Path, security: str, name: str, *, trusted: bool
) -> None:
    """A certificate of another name or authority ends the call before login, address or mail are told."""
    ca_file, tls = certificate(tmp_path, name)
    async with mail_server(**{security: tls}) as box:
        settings = secured(box.port, ca_file, security)
        if not trusted:
            settings = msgspec.structs.replace(settings, ca_file="")
        async with stage(settings) as context:
            ending = await perform(PROVIDER, context, PLAIN)
    assert isinstance(ending, Failed)
    assert (ending.error, ending.in_doubt) == ("tls_failed", False)
    assert not box.mails


async def test_starttls_is_never_given_up() -> None:
    """A server, or somebody between, that offers no STARTTLS gets neither mail nor password."""
    async with mail_server() as box:
        settings = clear(box.port, security="starttls", username="shop", password="secret")
        async with stage(settings) as context:
            ending = await perform(PROVIDER, context, PLAIN)
    assert isinstance(ending, Failed)
    assert (ending.error, ending.retryable, ending.in_doubt) == ("tls_failed", False, False)
    assert not box.mails
    assert not box.logins


REFUSALS = [
    ("RCPT", "550 5.1.1 No such user ada.canary@example.com", "hard_bounce", False),
    ("RCPT", "550 5.1.10 Null MX", "hard_bounce", False),
    ("RCPT", "551 5.1.6 Moved", "hard_bounce", False),
    ("DATA", "550 5.2.1 Mailbox disabled", "hard_bounce", False),
    ("RCPT", "550 5.7.1 Not allowed", "smtp_550", False),
    ("RCPT", "550 No such user", "smtp_550", False),
    ("RCPT", "450 4.2.1 Try later", "smtp_450", True),
    ("RCPT", "452 4.2.2 Full", "smtp_452", True),
    ("RCPT", "421 4.7.0 Too many", "smtp_421", True),
    ("MAIL", "553 5.1.1 Who are you", "smtp_553", False),
    ("MAIL", "451 4.3.0 Busy", "smtp_451", True),
    ("DATA", "554 5.7.1 Spam", "smtp_554", False),
    ("DATA", "552 5.3.4 Too big", "smtp_552", False),
    ("DATA", "451 4.7.1 Greylisted", "smtp_451", True),
]


@pytest.mark.parametrize(
    ("step", "reply", "error", "retryable"), REFUSALS, ids=[r[1][:10] + r[0] for r in REFUSALS]
)
async def test_what_refusals_mean(step: str, reply: str, error: str, *, retryable: bool) -> None:
    """4xx may be tried again, 5xx not; a dead address is told apart from a policy; a refused mail isn't in doubt."""
    async with mail_server() as box, stage(clear(box.port)) as context:
        box.refuse[step] = reply
        ending = await perform(PROVIDER, context, PLAIN)
    assert isinstance(ending, Failed)
    assert (ending.error, ending.retryable, ending.in_doubt) == (error, retryable, False)
    assert isinstance(ending, Undeliverable) is (error == "hard_bounce")
    if isinstance(ending, Undeliverable):
        assert ending.result == {"suppress": {"channel": "email", "reason": "hard_bounce"}}
    assert ending.detail.startswith(reply[:3])
    assert CANARY not in ending.detail
    assert not box.mails


@pytest.mark.parametrize("after_data", [None, b""], ids=["reset", "hangs"])
async def test_a_mail_without_an_answer_is_unknown(after_data: bytes | None) -> None:
    """A connection lost after the mail was handed over leaves the effect unknown: it is never repeated by itself."""
    async with scripted_server({}, after_data) as port, stage(clear(port)) as context:
        ending = await perform(PROVIDER, context, PLAIN, timeout_ms=1_500)
    assert isinstance(ending, Failed)
    assert (ending.error, ending.in_doubt) == ("connection_lost" if after_data is None else "timeout", True)
    out = result(
        asked(PROVIDER, PLAIN), ending, at_most_once=not PROVIDER.idempotent, now_ms=0, topic="commands"
    )
    assert dict(out.headers)["ce_type"] == b"effect.unknown"


@pytest.mark.parametrize("word", [None, b""], ids=["reset", "hangs"])
@pytest.mark.parametrize("step", ["", "EHLO", "MAIL", "RCPT"])
async def test_before_the_mail_nothing_is_in_doubt(step: str, word: bytes | None) -> None:
    """A server that goes silent or away before the mail was handed over certainly has none: it may be tried again."""
    async with (
        scripted_server({step: word, "HELO": word}) as port,
        stage(clear(port, connect_timeout_s=0.3)) as context,
    ):
        ending = await perform(PROVIDER, context, PLAIN, timeout_ms=600)
    assert isinstance(ending, Failed)
    assert (ending.retryable, ending.in_doubt) == (True, False)
    assert ending.error in {"timeout", "connect_failed", "connection_lost"}


@pytest.mark.parametrize("word", [None, b"", b"500 what?"], ids=["reset", "hangs", "refuses"])
async def test_the_goodbye_changes_nothing(word: bytes | None) -> None:
    """Once the server has taken the mail, it is sent, however the connection ends."""
    async with scripted_server({"QUIT": word}, b"250 taken") as port, stage(clear(port)) as context:
        assert isinstance(await perform(PROVIDER, context, PLAIN), Done)


async def test_a_server_that_lies_is_unreadable() -> None:
    """A reply that is no reply after the mail leaves doubt; a code nobody defined isn't taken for success."""
    async with scripted_server({}, b"200 whatever") as port, stage(clear(port)) as context:
        ending = await perform(PROVIDER, context, PLAIN)
    assert isinstance(ending, Failed)
    assert (ending.error, ending.in_doubt) == ("smtp_unreadable", True)
    async with scripted_server({"": b"HTTP/1.1 400 Bad Request"}) as port, stage(clear(port)) as context:
        ending = await perform(PROVIDER, context, PLAIN)
    assert isinstance(ending, Failed)
    assert ending.in_doubt is False


async def test_nobody_listening() -> None:
    """A mail server that is down certainly has no mail."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        async with stage(clear(held.getsockname()[1])) as context:
            ending = await perform(PROVIDER, context, PLAIN)
    assert isinstance(ending, Failed)
    assert (ending.error, ending.retryable, ending.in_doubt) == ("connect_failed", True, False)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"to": None}, "missing_address"),
        ({"to": ""}, "missing_address"),
        ({"to": "a@example.com\r\nBcc: b@example.com"}, "header_refused"),
        ({"to": "a@example.com\n"}, "header_refused"),
        ({"to": "a@example.com, b@example.com"}, "address_refused"),
        ({"to": "A <a@example.com>"}, "address_refused"),
        ({"to": "a b@example.com"}, "address_refused"),
        ({"to": "a@"}, "address_refused"),
        ({"to": "a@-example.com"}, "address_refused"),
        ({"to": "@example.com"}, "address_refused"),
        ({"to": "ä@example.com"}, "address_refused"),
        ({"to": "x" * 300 + "@example.com"}, "address_refused"),
        ({"from": "Shop\r\nBcc: b@example.com <a@example.com>"}, "header_refused"),
        ({"from": "nobody"}, "address_refused"),
        ({"reply_to": "a@example.com\nX: y"}, "header_refused"),
        ({"variables": {"name": "x\r\nBcc: b@example.com"}}, "line_break"),
        ({"variables": {}}, "missing_variable"),
        ({"variables": {"name": None}}, "missing_variable"),
        ({"text": "{{ name"}, "template_invalid"),
        ({"text": ""}, "no_content"),
        ({"subject": ""}, "no_content"),
        ({"template": "nobody"}, "unknown_template"),
        ({"template": "points_notification"}, "wrong_channel"),
        ({"template": "points_notification", "version": 2}, "unknown_template"),
        ({"list_unsubscribe": True}, "not_configured"),
    ],
)
async def test_what_is_never_sent(changes: dict[str, Any], error: str) -> None:
    """Missing addresses and variables, forged headers and unknown templates end before the server hears of them."""
    async with mail_server() as box, stage(clear(box.port), example("points_notification")) as context:
        ending = await perform(PROVIDER, context, {**PLAIN, **changes})
    assert isinstance(ending, Failed)
    assert (ending.error, ending.retryable, ending.in_doubt) == (error, False, False)
    assert CANARY not in ending.detail
    assert not box.mails


async def test_a_host_in_its_own_script_is_reached() -> None:
    """A domain outside ASCII is sent in the form that mail servers know."""
    async with mail_server() as box, stage(clear(box.port)) as context:
        await perform(PROVIDER, context, {**PLAIN, "to": "anna@bücher.example.com"})
    assert box.envelopes[0][1] == ["anna@xn--bcher-kva.example.com"]


@pytest.mark.parametrize("error", [ConnectionRefusedError, TimeoutError, RuntimeError])
async def test_templates_that_cannot_be_had_now(error: type[Exception]) -> None:
    """While the templates' store is away, in whatever words it says so, the effect fails and may be tried again."""

    class Away:
        async def get(self, id: str, version: int | None = None) -> Any:
            raise error

    async with stage(clear(1), templates=Away()) as context:
        ending = await perform(PROVIDER, context, {**PLAIN, "template": "t"})
    assert ending == Failed("templates_unavailable", error.__name__, retryable=True)


async def test_a_stored_template_that_is_broken_is_final() -> None:
    """A document that was stored without a check fails by name; asking again wouldn't mend it."""

    async def fetch(id: str, version: int | None) -> Any:
        return 1, {"id": id, "channel": "email", "email": {"subject": "x", "text": "a\n{{ broken"}}

    templates = CachedTemplates(fetch, now_ms=lambda: 0)
    async with stage(clear(1), templates=templates) as context:
        ending = await perform(PROVIDER, context, {**PLAIN, "subject": "", "text": "", "template": "t"})
    assert ending == Failed("template_invalid", "line 2, column 1")


async def test_many_mails_at_once() -> None:
    """Concurrent sends don't share a connection, an address or a text."""
    async with mail_server() as box, stage(clear(box.port)) as context:
        many = [{**PLAIN, "to": f"c{n}@example.com", "variables": {"name": f"n{n}"}} for n in range(20)]
        endings = await asyncio.gather(*(perform(PROVIDER, context, one) for one in many))
    assert all(isinstance(ending, Done) for ending in endings)
    assert {(mail["To"], mail["Subject"]) for mail in box.mails} == {
        (f"c{n}@example.com", f"Hello n{n}") for n in range(20)
    }
