"""Twilio: what became of a text message, and what its recipient answered.

Checked: `X-Twilio-Signature`, the HMAC-SHA1 under the account's auth token over the address Twilio called (query
included) and every form field, sorted by name. Twilio signs no time: a repeat is decided once.
"""

import hmac
from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha1
from typing import ClassVar, Final
from urllib.parse import parse_qsl, urlsplit

import msgspec

from consumers.actions.references import Reference
from consumers.callbacks.adapter import Heard, Received, Tools
from consumers.callbacks.errors import Forged, Unavailable, Unreadable, Unsigned
from consumers.callbacks.reports import Report, What
from orchestrator.customers.record import address_hash

FIELDS_MAX: Final = 200
NO_REPLY: Final = b'<?xml version="1.0" encoding="UTF-8"?><Response></Response>'
_STATUSES: Final = {
    "delivered": What.DELIVERED,
    "read": What.READ,
    "undelivered": What.FAILED,
    "failed": What.FAILED,
}
_HARD: Final = frozenset({"30005", "21614"})  # no such destination; no mobile number
_STOPPED: Final = "21610"
# Twilio acts upon these by itself; OptOutType says the same where the account has words of its own.
_WORDS: Final = {
    **dict.fromkeys(
        ("STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"), What.STOPPED
    ),
    **dict.fromkeys(("START", "UNSTOP"), What.STARTED),
    **dict.fromkeys(("HELP", "INFO"), What.HELP_ASKED),
}


class Twilio:
    """Status callbacks carry our token in the query; messages from customers carry their number."""

    name: ClassVar[str] = "twilio"

    def configured(self, tools: Tools) -> bool:
        return bool(tools.delivery.twilio.auth_token and _addresses("", tools))

    async def read(self, received: Received, tools: Tools) -> Heard:
        """The report of a status, or of a message for each customer it may be from. Raises TurnedAway."""
        form = _verified(received, tools)
        status = form.get("MessageStatus") or form.get("SmsStatus", "")
        if status == "received" or ("Body" in form and "From" in form and "MessageStatus" not in form):
            return await _answer(form, received.now_ms, tools)
        what = _STATUSES.get(status)
        if what is None:
            return Heard()  # on its way: nothing to tell yet
        reference = tools.reference(received.query.get("effect", ""))
        if reference is None:
            return Heard(unmatched=1)
        code = form.get("ErrorCode", "")[:16] if what == What.FAILED else ""
        report = Report(
            what=what,
            reference=reference,
            time_ms=received.now_ms,
            id=_sid(form),
            hard=code in _HARD,
            error=code,
        )
        if code == _STOPPED:
            stopped = msgspec.structs.replace(report, what=What.STOPPED, by="twilio 21610")
            return Heard((report, stopped))
        return Heard((report,))


async def _answer(form: Mapping[str, str], now_ms: int, tools: Tools) -> Heard:
    if tools.addresses is None:
        return Heard(unmatched=1, body=NO_REPLY, content_type="text/xml")
    number = form.get("From", "")
    try:
        found: Sequence[Reference] = await tools.addresses.find("sms", address_hash("sms", number))
    except (OSError, TimeoutError) as error:
        raise Unavailable from error
    what, word = _meaning(form)
    reports = tuple(
        Report(
            what=what,
            reference=reference,
            time_ms=now_ms,
            id=_sid(form),
            text=form.get("Body", "") if what == What.REPLIED else "",
            by=f"twilio {word}",
        )
        for reference in found
    )
    return Heard(reports, unmatched=not reports, body=NO_REPLY, content_type="text/xml")


def _meaning(form: Mapping[str, str]) -> tuple[What, str]:
    """What the customer wants, and the word that says so."""
    word = form.get("OptOutType", "").strip().upper()
    if word not in {"STOP", "START", "HELP"}:
        word = form.get("Body", "").strip().upper()
    what = _WORDS.get(word, What.REPLIED)
    return what, "" if what == What.REPLIED else word


def _sid(form: Mapping[str, str]) -> str:
    sid = (form.get("MessageSid") or form.get("SmsSid", ""))[:64]
    if not sid:
        raise Unreadable("MessageSid is missing")
    return sid


def _verified(received: Received, tools: Tools) -> dict[str, str]:
    signature = received.headers.get("x-twilio-signature", "")
    if not signature:
        raise Unsigned
    try:
        pairs = parse_qsl(received.body.decode(), keep_blank_values=True, max_num_fields=FIELDS_MAX)
    except ValueError:
        raise Forged from None
    fields = "".join(name + value for name, value in sorted(set(pairs)))
    for address in _addresses(received.target, tools):
        made = hmac.new(tools.delivery.twilio.auth_token.encode(), (address + fields).encode(), sha1).digest()
        if hmac.compare_digest(b64encode(made), signature.encode()):
            return dict(pairs)
    raise Forged


def _addresses(target: str, tools: Tools) -> list[str]:
    """Where Twilio may have called us: the public address, with and without its port."""
    bases = [tools.delivery.links.base_url.rstrip("/")]
    if tools.delivery.twilio.status_callback_url:
        parts = urlsplit(tools.delivery.twilio.status_callback_url)
        path = parts.path.removesuffix("/callbacks/twilio")
        bases.append(f"{parts.scheme}://{parts.netloc}{path.rstrip('/')}")
    found = []
    for base in filter(None, bases):
        parts = urlsplit(base)
        found.append(base + target)
        if parts.port is None:
            port = 443 if parts.scheme == "https" else 80
            found.append(f"{parts.scheme}://{parts.netloc}:{port}{parts.path}{target}")
    return found
