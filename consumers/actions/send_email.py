"""`send_email`: one mail over SMTP, from a template or the action's own texts."""

from typing import Any, ClassVar

import msgspec
from msgspec import Struct

from consumers.actions.base import Context, Done, EffectRequest, Ending
from consumers.actions.contents import MessageParams, rendered
from consumers.actions.delivery import Delivery, delivery_of
from consumers.actions.mail import address_of, mail, message_id, named_address, reference_headers
from consumers.actions.references import (
    REPORT,
    Reference,
    make_reference,
    make_unsubscribe,
    reference_of,
)
from consumers.actions.refusals import Refused, refuse
from consumers.actions.smtp import Envelope
from consumers.actions.tracking import tracked
from orchestrator.messages import UNSUBSCRIBE_URL, EmailMessage


class EmailParams(MessageParams, frozen=True, kw_only=True):
    """`to` is one bare address; null or missing fails the effect. `subject`, `html` and `text` are Liquid."""

    to: str | None = None
    subject: str = ""
    html: str = ""
    text: str = ""
    sender: str = msgspec.field(name="from", default="")
    reply_to: str = ""
    list_unsubscribe: bool = False


class SendEmailProvider:
    """SMTP takes no idempotency key: a connection lost while the mail was handed over leaves it unknown."""

    name: ClassVar[str] = "send_email"
    idempotent: ClassVar[bool] = False
    params: ClassVar[type[Struct]] = EmailParams

    async def perform(self, request: EffectRequest, params: EmailParams, context: Context) -> Ending:
        """Done with `{"message_id"}`: taken over by the server, not yet delivered. See docs/messages.md."""
        try:
            delivery = delivery_of(context)
            envelope, about = await _envelope(request, params, delivery, context.now_ms())
        except Refused as refused:
            return refused.failed
        ending = await delivery.smtp.deliver(envelope, request.timeout_ms / 1000)
        return Done(about) if isinstance(ending, Done) else ending


async def _envelope(
    request: EffectRequest, params: EmailParams, delivery: Delivery, now_ms: int
) -> tuple[Envelope, dict[str, Any]]:
    if not delivery.settings.smtp.host:
        raise refuse("not_configured", "there is no mail server in the settings")
    if not params.to:
        raise refuse("missing_address", "the customer has no email address")
    to = address_of(params.to)
    reference = reference_of(request, "email", params.template, params.to)
    link = _link(reference, delivery)
    own: dict[str, Any] = {
        name: value
        for name in ("subject", "html", "text", "reply_to", "list_unsubscribe")
        if (value := getattr(params, name))
    }
    if params.sender:
        own["from"] = params.sender
    extra = {UNSUBSCRIBE_URL: link} if link else {}
    message, about = await rendered("email", params, own, delivery, extra)
    assert isinstance(message, EmailMessage)
    if message.list_unsubscribe and not link:
        raise refuse("not_configured", "the mail needs an unsubscribe link, and the settings have none")
    links = delivery.settings.links
    if message.html is not None:
        html = tracked(message.html, reference, links, keep=link)
        message = msgspec.structs.replace(message, html=html)
    token = make_reference(reference, REPORT, links.keys) if links.base_url else ""
    sender = named_address(message.sender or delivery.settings.smtp.sender)
    data = mail(
        message,
        to=to,
        sender=sender,
        reply_to=named_address(message.reply_to) if message.reply_to else None,
        idempotency_key=request.idempotency_key,
        now_ms=now_ms,
        unsubscribe_url=link if message.list_unsubscribe else "",
        reference=reference_headers(token, delivery.settings.smtp) if token else None,
    )
    about = {"message_id": message_id(request.idempotency_key, sender), **about}
    return Envelope(sender.addr_spec, to, data), about


def _link(reference: Reference, delivery: Delivery) -> str:
    """The customer's unsubscribe link; "" where the settings have none."""
    links = delivery.settings.links
    if not links.unsubscribe_page:
        return ""
    return f"{links.unsubscribe_page}/{make_unsubscribe(reference, links.keys)}"
