"""One mail over an SMTP connection: what the server said, or at which step the connection went."""

import re
import ssl
from typing import TYPE_CHECKING

from msgspec import Struct

from consumers.actions.base import Failed
from consumers.actions.delivery_settings import SmtpSettings
from consumers.actions.provider_calls import caused_by_tls
from consumers.actions.refusals import Undeliverable

if TYPE_CHECKING:
    from aiosmtplib import SMTP

_PORTS = {"starttls": 587, "tls": 465, "none": 25}
_ENHANCED = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")
# RFC 3463: no such mailbox, host or syntax; moved; null MX; mailbox disabled. Policy (5.7.x) says nothing of the address.
_DEAD = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"})


class Envelope(Struct, frozen=True):
    """Who sends what to whom; addresses are bare."""

    sender: str
    recipient: str
    data: bytes


class Progress:
    """How far a delivery came: from `data` on, the mail may have been taken."""

    step = "connect"


async def connected(
    settings: SmtpSettings, tls: ssl.SSLContext, timeout_s: float, progress: Progress
) -> "SMTP":
    """A connection that is secured and logged in as the settings ask. Raises what aiosmtplib raises."""
    import aiosmtplib  # noqa: PLC0415  few runners send mail

    client = aiosmtplib.SMTP(
        hostname=settings.host,
        port=settings.port or _PORTS[settings.security],
        local_hostname=settings.hello_name,
        timeout=timeout_s,
        use_tls=settings.security == "tls",
        start_tls=False,  # asked for below, as a step of its own
        tls_context=tls,
    )
    try:
        progress.step = "connect"
        await client.connect(timeout=settings.connect_timeout_s)
        if settings.security == "starttls":
            progress.step = "starttls"
            await client.starttls()
        if settings.username:
            progress.step = "login"
            await client.login(settings.username, settings.password)
    except BaseException:
        client.close()
        raise
    return client


async def hand_over(client: "SMTP", envelope: Envelope, progress: Progress, timeout_s: float) -> None:
    """One mail. Raises what aiosmtplib raises; `progress` then says at which step."""
    progress.step = "sender"
    await client.mail(envelope.sender, timeout=timeout_s)
    progress.step = "recipient"
    await client.rcpt(envelope.recipient, timeout=timeout_s)
    progress.step = "data"
    await client.data(envelope.data, timeout=timeout_s)


def failure(step: str, error: Exception) -> Failed:
    """The named failure for whatever a delivery raised; `step` is how far it came."""
    import aiosmtplib  # noqa: PLC0415  few runners send mail

    if isinstance(error, aiosmtplib.SMTPResponseException):
        return _refusal(step, error.code, str(error.message))
    if isinstance(
        error, (ssl.SSLError, OSError, TimeoutError, ValueError)
    ):  # the library's lost connections too
        return _fault(step, error)
    # The server doesn't offer what is asked for.
    word = "tls_failed" if step == "starttls" else "smtp_unsupported"
    return Failed(word, f"{type(error).__name__} at {step}", in_doubt=step == "data")


def _refusal(step: str, code: int, text: str) -> Failed:
    """What a reply code means. Only codes are kept: a server's text may quote the address."""
    found = _ENHANCED.match(text.strip())
    enhanced = found.group() if found else ""
    detail = f"{code} {enhanced} at {step}".replace("  ", " ")
    if step == "login":
        return Failed("auth_failed", detail, retryable=400 <= code < 500)
    if enhanced in _DEAD and code >= 500 and step in {"recipient", "data"}:
        return Undeliverable("hard_bounce", detail, channel="email", reason="hard_bounce")
    if 400 <= code < 500:
        return Failed(f"smtp_{code}", detail, retryable=True)
    if 500 <= code < 600:
        return Failed(f"smtp_{code}", detail)
    return Failed("smtp_unreadable", detail, in_doubt=step == "data")


def _fault(step: str, error: Exception) -> Failed:
    detail = f"{type(error).__name__} at {step}"
    in_doubt = step == "data"
    if caused_by_tls(error):
        return Failed("tls_failed", detail, retryable=True, in_doubt=in_doubt)
    if isinstance(error, TimeoutError):
        return Failed("timeout", detail, retryable=True, in_doubt=in_doubt)
    word = "connect_failed" if step == "connect" else "connection_lost"
    return Failed(word, detail, retryable=True, in_doubt=in_doubt)
