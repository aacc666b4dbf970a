"""What a message carries so that reports can name it: headers, links, a callback's address, a row in the book."""

import re
from email.header import decode_header
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest

from consumers.actions.base import Done, Failed
from consumers.actions.delivery_settings import DeliverySettings, LinkSettings, SmtpSettings, TwilioSettings
from consumers.actions.references import (
    HEADER_TOKEN_CHARS_MAX,
    OPEN,
    REPORT,
    Reference,
    make_unsubscribe,
    read_click,
    read_reference,
    read_unsubscribe,
)
from consumers.actions.send_email import SendEmailProvider
from consumers.actions.send_sms import SendSmsProvider
from orchestrator.core.addresses import SEGMENT_MAX_BYTES, Stream, customer
from orchestrator.customers.record import address_hash
from tests.callbacks.stand import PUBLIC, Book
from tests.effects.calling import STREAM
from tests.effects.receiver import receiver, status
from tests.providers.mail_server import mail_server
from tests.providers.stage import example, new_key, perform, stage

KEYS = new_key()
TO = "Anna@example.com"
PARAMS = {"to": TO, "template": "welcome_email", "variables": {"customer_name": "Anna"}}


def accounts(port: int, **smtp: str) -> DeliverySettings:
    links = LinkSettings(base_url=f"{PUBLIC}/", keys=KEYS, track_opens=True, track_clicks=True)
    server = SmtpSettings(host="127.0.0.1", port=port, security="none", **smtp)  # type: ignore[arg-type]
    return DeliverySettings(smtp=server, links=links)


async def test_a_mail_names_itself() -> None:
    """Header, picture, links and unsubscribe link name the same message, each in a token of its own."""
    async with mail_server() as box, stage(accounts(box.port), example("welcome_email")) as context:
        assert isinstance(await perform(SendEmailProvider(), context, PARAMS), Done)
    (mail,) = box.mails
    html = mail.get_body(("html",))
    assert html is not None
    page = html.get_content()
    token = "".join(mail["X-Message-Reference"].split())
    reference = read_reference(token, REPORT, KEYS)
    assert reference.message == f"{STREAM}/3-1"
    assert (reference.action, reference.channel, reference.template) == (
        "send_welcome",
        "email",
        "welcome_email",
    )
    assert reference.address_hash == address_hash("email", TO)
    (pixel,) = re.findall(rf"{PUBLIC}/o/([\w-]+)\.gif", page)
    assert read_reference(pixel, OPEN, KEYS) == reference
    (link,) = re.findall(rf"{PUBLIC}/c/([\w-]+)", page)
    assert read_click(link, KEYS) == (reference, "https://example.com/account?from=welcome")
    unsubscribe = mail["List-Unsubscribe"].strip("<>")
    assert unsubscribe.startswith(f"{PUBLIC}/u/")
    assert unsubscribe in page
    assert read_unsubscribe(unsubscribe.rpartition("/")[2], KEYS) == reference
    text = mail.get_body(("plain",))
    assert text is not None
    assert "https://example.com/account" in text.get_content()
    assert all(len(line) <= 998 for line in box.raw[0].split(b"\r\n"))


@pytest.mark.parametrize("relay", ["", "ses", "sendgrid"])
async def test_a_relay_is_told_in_its_own_header(relay: str) -> None:
    """SendGrid gets the reference as a unique argument, SES the configuration set that sends us events; others neither."""
    settings = {"relay": relay, "configuration_set": "journeys"}
    async with (
        mail_server() as box,
        stage(accounts(box.port, **settings), example("welcome_email")) as context,
    ):
        assert isinstance(await perform(SendEmailProvider(), context, PARAMS), Done)
    (mail,) = box.mails
    assert (mail["X-SES-CONFIGURATION-SET"] == "journeys") is (relay == "ses")
    assert (mail["X-SMTPAPI"] is not None) is (relay == "sendgrid")
    if relay == "sendgrid":
        said = orjson.loads(str(decode_header(mail["X-SMTPAPI"])[0][0]))
        token = "".join(said["unique_args"]["reference"].split())
        assert read_reference(token, REPORT, KEYS).message == f"{STREAM}/3-1"


async def test_without_a_public_address_nothing_is_added() -> None:
    """An installation without our pages sends mails as before: no reference, no picture, no links through us."""
    async with mail_server() as box:
        smtp = SmtpSettings(host="127.0.0.1", port=box.port, security="none", sender="news@example.com")
        params = {"to": TO, "subject": "x", "html": '<a href="https://example.com/">x</a>'}
        async with stage(DeliverySettings(smtp=smtp)) as context:
            assert isinstance(await perform(SendEmailProvider(), context, params), Done)
    assert b"X-Message-Reference" not in box.raw[0]
    assert b"https://example.com/" in box.raw[0]


def test_the_longest_names_still_fit_a_header() -> None:
    """Where a message's names would make its unsubscribe link too long for a line, the link names the customer alone."""
    owner = customer("o" * SEGMENT_MAX_BYTES, "ü" * (SEGMENT_MAX_BYTES // 2))
    stream = Stream(owner, "flow", "d" * SEGMENT_MAX_BYTES, "r" * SEGMENT_MAX_BYTES)
    longest = Reference(stream, "e1-0", "a" * 128, "email", "t" * 64, address_hash("email", TO))
    token = make_unsubscribe(longest, KEYS)
    assert len(token) <= HEADER_TOKEN_CHARS_MAX
    assert read_unsubscribe(token, KEYS).owner == owner


def sms(url: str) -> DeliverySettings:
    twilio = TwilioSettings(account_sid="AC1", auth_token=new_key(), sender="+15005550006", base_url=url)
    return DeliverySettings(twilio=twilio, links=LinkSettings(base_url=PUBLIC, keys=KEYS))


TAKEN = b'{"sid": "SM1", "status": "queued"}'
TEXT = {"to": "+49 151 12345678", "message": "hello"}


async def test_a_text_is_in_the_book_before_it_goes() -> None:
    """Whose number it is is written down first: an answer may come faster than anything after the call."""
    book = Book()
    seen: list[int] = []

    async def answer(_request: object) -> object:
        seen.append(len(book.references))
        return await status(201, TAKEN)(None)  # type: ignore[arg-type]

    async with receiver(answer) as twilio, stage(sms(twilio.url(""))) as context:  # type: ignore[arg-type]
        context.delivery.addresses = book
        assert isinstance(await perform(SendSmsProvider(), context, TEXT), Done)
    assert seen == [1]
    (call,) = twilio.calls
    callback = urlsplit(parse_qs(call.body.decode())["StatusCallback"][0])
    assert callback.geturl().startswith(f"{PUBLIC}/callbacks/twilio?effect=")
    reported = read_reference(parse_qs(callback.query)["effect"][0], REPORT, KEYS)
    assert [reported] == book.references
    assert reported.address_hash == address_hash("sms", "+4915112345678")


async def test_no_text_without_a_way_to_stop() -> None:
    """While the book can't be written nothing is sent, and the journey may try again."""
    async with receiver(status(201, TAKEN)) as twilio, stage(sms(twilio.url(""))) as context:
        context.delivery.addresses = Book(away=True)
        ending = await perform(SendSmsProvider(), context, TEXT)
    assert ending == Failed("address_book_unavailable", "OSError", retryable=True)
    assert not twilio.calls
