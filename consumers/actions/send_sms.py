"""`send_sms`: one text message through Twilio's HTTP API."""

import re
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

from aiohttp import FormData, encode_basic_auth
from msgspec import Struct

from consumers.actions.base import Context, Done, EffectRequest, Ending, Failed
from consumers.actions.contents import MessageParams, rendered
from consumers.actions.delivery import Delivery, delivery_of
from consumers.actions.delivery_settings import TwilioSettings
from consumers.actions.provider_calls import Answer, post, server_fault
from consumers.actions.references import REPORT, Reference, make_reference, reference_of
from consumers.actions.refusals import Refused, Undeliverable, refuse
from orchestrator.messages import SmsMessage

# Twilio's error codes, https://www.twilio.com/docs/api/errors
_STOPPED = 21610
_NO_SUCH_NUMBER = frozenset({21211, 21214, 21217, 21614})  # invalid, unreachable, no mobile number
_TOO_LONG = 21617
_RATE_LIMITED = frozenset({20429, 14107, 63038})
_ACCOUNT = frozenset({20003, 20005})
_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")


class SmsParams(MessageParams, frozen=True, kw_only=True):
    """`to` in E.164 form (+4915112345678); null or missing fails the effect. `message` is Liquid."""

    to: str | None = None
    message: str = ""


class SendSmsProvider:
    """Twilio takes no idempotency key: an interrupted send stays unknown, and is never repeated by itself."""

    name: ClassVar[str] = "send_sms"
    idempotent: ClassVar[bool] = False
    params: ClassVar[type[Struct]] = SmsParams

    async def perform(self, request: EffectRequest, params: SmsParams, context: Context) -> Ending:
        """Done with `{"sid", "status"}`: taken over by Twilio, not yet delivered. See docs/messages.md."""
        try:
            delivery = delivery_of(context)
            account = delivery.settings.twilio
            number = _number(params.to)
            reference = reference_of(request, "sms", params.template, params.to or "")
            form, about = await _form(params, number, reference, delivery)
            await _remember(reference, delivery)
            answer = await post(
                delivery,
                f"{account.base_url.rstrip('/')}/2010-04-01/Accounts/{quote(account.account_sid, safe='')}/Messages.json",
                timeout_ms=request.timeout_ms,
                now_ms=context.now_ms(),
                headers={"Authorization": encode_basic_auth(account.account_sid, account.auth_token)},
                data=FormData(form),
            )
        except Refused as refused:
            return refused.failed
        return _ending(answer, about)


def _number(to: str | None) -> str:
    if not to:
        raise refuse("missing_address", "the customer has no number")
    number = re.sub(r"[ ().-]", "", to)
    if not _NUMBER.fullmatch(number):
        raise refuse("address_refused", "the number isn't in E.164 form: +, country, number")
    return number


async def _form(
    params: SmsParams, number: str, reference: Reference, delivery: Delivery
) -> tuple[dict[str, str], dict[str, Any]]:
    account = delivery.settings.twilio
    sender = _sender(account)
    own = {"text": params.message} if params.message else {}
    message, about = await rendered("sms", params, own, delivery)
    assert isinstance(message, SmsMessage)
    form = {"To": number, "Body": message.text, **sender}
    if (page := _report_page(delivery)) and delivery.settings.links.keys:
        token = make_reference(reference, REPORT, delivery.settings.links.keys)
        form["StatusCallback"] = f"{page}{'&' if '?' in page else '?'}{urlencode({'effect': token})}"
    return form, about


def _report_page(delivery: Delivery) -> str:
    base = delivery.settings.links.base_url.rstrip("/")
    return delivery.settings.twilio.status_callback_url or (f"{base}/callbacks/twilio" if base else "")


async def _remember(reference: Reference, delivery: Delivery) -> None:
    """Before the text goes: a STOP that comes back names the number alone. Raises Refused; nothing was sent."""
    if delivery.addresses is None:
        return
    try:
        await delivery.addresses.remember(reference)
    except Exception as error:  # whatever a store raises while it is away
        failed = Failed("address_book_unavailable", type(error).__name__, retryable=True)
        raise Refused(failed) from error


def _sender(account: TwilioSettings) -> dict[str, str]:
    if not account.account_sid or not account.auth_token:
        raise refuse("not_configured", "there is no Twilio account in the settings")
    if account.messaging_service_sid:
        return {"MessagingServiceSid": account.messaging_service_sid}
    if account.sender:
        return {"From": account.sender}
    raise refuse("not_configured", "there is neither a messaging service nor a sender in the settings")


def _ending(answer: Answer, about: dict[str, Any]) -> Ending:
    said = answer.json
    if answer.ok:
        match said:
            case {"sid": str(sid), "status": str(status)} if sid and status not in {"failed", "undelivered"}:
                return Done({"sid": sid[:64], "status": status[:32], **about})
            case {"sid": str(), "error_code": int(code)}:
                return _refusal(code, answer)
        return Failed("answer_unreadable", f"status {answer.status} without a message's sid", in_doubt=True)
    if answer.status >= 500:
        return server_fault(answer)
    stated = said.get("code")
    return _refusal(stated if isinstance(stated, int) else 0, answer)


def _refusal(code: int, answer: Answer) -> Failed:
    detail = f"Twilio's error {code}" if code else f"status {answer.status}"
    if code == _STOPPED:
        return Undeliverable("recipient_stopped", detail, channel="sms", reason="stop")
    if code in _NO_SUCH_NUMBER:
        return Undeliverable("invalid_number", detail, channel="sms", reason="hard_bounce")
    if code == _TOO_LONG:
        return Failed("over_limit", detail)
    if code in _RATE_LIMITED or answer.status == 429:
        return Failed("rate_limited", detail, retryable=True, retry_after_ms=answer.retry_after_ms)
    if code in _ACCOUNT or answer.status in {401, 403}:
        return Failed("auth_failed", detail)
    return Failed(
        f"twilio_{code}" if code else f"status_{answer.status}", detail, retryable=answer.status == 408
    )
