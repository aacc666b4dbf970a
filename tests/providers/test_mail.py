"""The bytes of a mail: whatever the texts are, other programs read what was meant, and nothing more."""

import re
from email.message import EmailMessage as Mime
from email.parser import BytesParser
from email.policy import default

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.actions.links import Subscription, make_token
from consumers.actions.mail import address_of, mail, message_id, named_address
from consumers.actions.refusals import Refused
from orchestrator.core.addresses import SEGMENT_MAX_BYTES, customer
from orchestrator.messages import EmailMessage
from tests.providers.stage import new_key

SENDER = named_address("Shop <news@example.com>")
LINE = st.text(min_size=1, max_size=200).map(str.strip).filter(lambda text: text and text.isprintable())
BODY = st.text(max_size=2_000)


def written(message: EmailMessage, *, to: str = "anna@example.com", link: str = "", key: str = "k") -> bytes:
    return mail(
        message,
        to=to,
        sender=SENDER,
        reply_to=None,
        idempotency_key=key,
        now_ms=1_700_000_000_000,
        unsubscribe_url=link,
    )


def read(data: bytes) -> Mime:
    found = BytesParser(policy=default).parsebytes(data)
    assert isinstance(found, Mime)
    return found


@given(LINE, BODY)
def test_texts_arrive_as_they_are(subject: str, body: str) -> None:
    """Subjects and bodies in any script come back as they were, over lines any server takes."""
    data = written(EmailMessage(subject, html=f"<p>{body}</p>", text=body))
    assert data.isascii()
    assert all(len(line) <= 998 for line in data.split(b"\r\n"))
    assert b"\n" not in data.replace(b"\r\n", b"")
    assert b"\r" not in data.replace(b"\r\n", b"")
    found = read(data)
    assert re.sub(r"\s+", " ", found["Subject"]) == re.sub(r"\s+", " ", subject)
    assert set(found.keys()) == {
        "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type",
    }  # fmt: skip
    plain = found.get_body(("plain",))
    assert plain is not None
    assert plain.get_content().split() == body.split()


@given(st.text(max_size=40), st.sampled_from("\r\n\x00\x0b\x85\u2028"), st.text(max_size=40))
def test_no_address_ends_a_line(before: str, evil: str, after: str) -> None:
    """An address with a line break anywhere in it is refused, whatever stands around it."""
    for text in (
        f"{before}{evil}{after}@example.com",
        f"{before}{evil}{after} <a@example.com>",
        f"a@example.com{evil}x",
    ):
        for read_address in (address_of, named_address):
            with pytest.raises(Refused) as caught:
                read_address(text)
            assert caught.value.failed.error in {"header_refused", "address_refused"}


def test_the_longest_link_stays_a_link() -> None:
    """The unsubscribe header is an address in angle brackets, never encoded, for the longest ids there can be."""
    owner = customer("o" * SEGMENT_MAX_BYTES, "\u00fc" * (SEGMENT_MAX_BYTES // 2))
    token = make_token(Subscription(owner, "email", "t" * 64), new_key())
    link = f"https://example.com/unsubscribe/{token}"
    data = written(EmailMessage("x", text="y"), link=link)
    assert f"List-Unsubscribe: <{link}>\r\n".encode() in data
    assert len(token) <= 480
    assert b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in data
    assert read(data)["List-Unsubscribe"] == f"<{link}>"


@pytest.mark.parametrize(
    "link",
    ["https://example.com/a>\r\nX: y", "https://example.com/a b", "https://example.com/ü", "javascript:x"],
)
def test_what_is_no_link_is_refused(link: str) -> None:
    """A setting that isn't a plain address can't become a header."""
    with pytest.raises(Refused):
        written(EmailMessage("x", text="y"), link=link)


def test_the_message_id_is_the_keys() -> None:
    """The same key gives the same id and the same bytes, another key another; the key itself isn't shown."""
    key = "acme/c/cus-1/flow:welcome/e3-1"
    one = written(EmailMessage("x", html="<p>y</p>", text="y"), key=key)
    assert one == written(EmailMessage("x", html="<p>y</p>", text="y"), key=key)
    assert message_id(key, SENDER) != message_id(key + "x", SENDER)
    assert re.fullmatch(r"<[0-9a-f]{32}@example\.com>", message_id(key, SENDER))
    assert b"cus-1" not in one
