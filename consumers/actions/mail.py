"""An email as bytes: headers nobody can add to, a Message-ID that all attempts share, one-click unsubscribe."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage as Mime
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from hashlib import blake2b

from consumers.actions.delivery_settings import SmtpSettings
from consumers.actions.references import REFERENCE_HEADER
from consumers.actions.refusals import refuse
from orchestrator.messages import EmailMessage

ADDRESS_CHARS_MAX = 254
_LOCAL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}")
_DOMAIN = re.compile(
    r"(?=.{1,190}$)[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*"
)
_URL = re.compile(r"https?://[!-;=?-~]{1,900}")  # printable ASCII without spaces and angle brackets
_PIECE = 180  # of a token on one line
_END, _FOLD = "\r\n", "\r\n "
_POLICY = SMTP.clone(cte_type="7bit")  # any server takes it, 8BITMIME or not


def address_of(text: str) -> str:
    """A bare address, its domain in ASCII. Raises Refused: header_refused, address_refused."""
    if not text.isprintable():
        raise refuse("header_refused", "an address holds a line break or another control character")
    local, _, domain = text.strip().rpartition("@")
    try:
        ascii_domain = domain.encode("idna").decode()
    except UnicodeError:
        ascii_domain = ""
    if not _LOCAL.fullmatch(local) or not _DOMAIN.fullmatch(ascii_domain) or ".." in local:
        raise refuse("address_refused", "not an address of the form name@host")
    address = f"{local}@{ascii_domain}"
    if len(address) > ADDRESS_CHARS_MAX:
        raise refuse("address_refused", f"longer than {ADDRESS_CHARS_MAX} characters")
    return address


def named_address(text: str) -> Address:
    """`Shop <news@example.com>` or a bare address. Raises Refused."""
    if not text.isprintable():
        raise refuse("header_refused", "an address holds a line break or another control character")
    name, bare = parseaddr(text)
    local, _, domain = address_of(bare).rpartition("@")
    return Address(name, local, domain)


def message_id(idempotency_key: str, sender: Address) -> str:
    """The same for every attempt, so that a mail that arrives twice can be seen to be one."""
    return f"<{_digest(idempotency_key)}@{sender.domain}>"


def mail(
    message: EmailMessage,
    *,
    to: str,
    sender: Address,
    reply_to: Address | None,
    idempotency_key: str,
    now_ms: int,
    unsubscribe_url: str = "",
    reference: Mapping[str, str] | None = None,
) -> bytes:
    """The mail as it goes over the wire. `to` is from `address_of`; `reference`: headers by which reports name it.

    Raises Refused: header_refused.
    """
    mime = Mime(policy=_POLICY)
    try:
        mime["From"] = sender
        mime["To"] = to
        mime["Subject"] = message.subject
        mime["Date"] = format_datetime(datetime.fromtimestamp(now_ms // 1000, UTC))
        mime["Message-ID"] = message_id(idempotency_key, sender)
        if reply_to is not None:
            mime["Reply-To"] = reply_to
        mime["Auto-Submitted"] = "auto-generated"  # keeps absence notes from being sent back
        if message.text is None:
            mime.set_content(message.html or "", subtype="html")
        else:
            mime.set_content(message.text)
        if message.text is not None and message.html is not None:
            mime.add_alternative(message.html, subtype="html")
            mime.set_boundary(f"=_{_digest(idempotency_key)}")
        return _unsubscribe_headers(unsubscribe_url) + _folded(reference or {}) + mime.as_bytes()
    except (ValueError, UnicodeError) as error:
        raise refuse("header_refused", type(error).__name__) from error


def _unsubscribe_headers(url: str) -> bytes:
    """Written by hand: the standard library folds a long address into encoded words, which no mail program follows."""
    if not url:
        return b""
    if not _URL.fullmatch(url):
        raise refuse(
            "header_refused", "the unsubscribe link holds a character that no link may hold, or is too long"
        )
    return f"List-Unsubscribe: <{url}>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n".encode()


def reference_headers(token: str, smtp: SmtpSettings) -> dict[str, str]:
    """The headers that carry a message's token to its relay and back; a blank in a token is none of it."""
    parts = " ".join(token[at : at + _PIECE] for at in range(0, len(token), _PIECE))
    headers = {REFERENCE_HEADER: parts}
    if smtp.relay == "sendgrid":
        headers["X-SMTPAPI"] = f'{{"unique_args": {{"reference": "{parts}"}}}}'
    if smtp.relay == "ses" and smtp.configuration_set:
        headers["X-SES-CONFIGURATION-SET"] = smtp.configuration_set
    return headers


def _folded(headers: Mapping[str, str]) -> bytes:
    """By hand, for the same reason; a line is broken at blanks, which no token holds."""
    lines = (f"{name}: {value.replace(' ', _FOLD)}{_END}" for name, value in headers.items())
    return "".join(lines).encode()


def _digest(key: str) -> str:
    return blake2b(key.encode(), digest_size=16, person=b"journeys.mail").hexdigest()
