"""Firebase Cloud Messaging's HTTP v1 interface: the service account's token, one message, its errors."""

import asyncio
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec
import orjson
from msgspec import Struct

from consumers.actions.access_tokens import signed_claims
from consumers.actions.base import Failed
from consumers.actions.delivery import Delivery
from consumers.actions.provider_calls import Answer, post, server_fault
from consumers.actions.push_devices import Outcome, Sent
from consumers.actions.refusals import Refused, Undeliverable, refuse
from orchestrator.messages import PushMessage

_SCOPE: Final = "https://www.googleapis.com/auth/firebase.messaging"
_ASSERTION_S: Final = 3_600
_EARLY_MS: Final = 120_000  # a token is replaced this long before it ends


class ServiceAccount(Struct, frozen=True):
    """The part of Google's key file that is needed."""

    project_id: str
    client_email: str
    private_key: str


async def send(
    message: PushMessage, token: str, delivery: Delivery, *, collapse: str, timeout_ms: int, now_ms: int
) -> Outcome:
    """One notification to one registration token. Raises Refused when no answer comes or no token is had."""
    settings = delivery.settings.fcm
    account = _account(settings.service_account)
    access = await _access(account, delivery, timeout_ms // 3, now_ms)
    body: dict[str, Any] = {
        "token": token,
        "notification": {"title": message.title, "body": message.body},
        "data": message.data,
        "android": {"collapse_key": collapse, "notification": {"tag": collapse}},
    }
    answer = await post(
        delivery,
        f"{settings.base_url.rstrip('/')}/v1/projects/{quote(account.project_id, safe='')}/messages:send",
        timeout_ms=timeout_ms * 2 // 3,  # the token may have taken the rest
        now_ms=now_ms,
        headers={"Authorization": f"Bearer {access}", "Content-Type": "application/json"},
        data=orjson.dumps({"message": body}),
    )
    if answer.ok:
        name = answer.json.get("name")
        if isinstance(name, str) and name:
            return Sent(name[:200])
        return Failed("answer_unreadable", f"status {answer.status} without a message's name", in_doubt=True)
    word = _word(answer)
    if answer.status == 401 and word != "THIRD_PARTY_AUTH_ERROR":
        delivery.tokens.drop(account.client_email, access)
        return Failed("auth_failed", word, retryable=True)  # with a new token
    return _failure(word, answer)


def _failure(word: str, answer: Answer) -> Outcome:
    match word:
        case "UNREGISTERED":
            return Undeliverable("unregistered", word, channel="push", reason="hard_bounce")
        case "QUOTA_EXCEEDED" | "RESOURCE_EXHAUSTED":
            return Failed("rate_limited", word, retryable=True, retry_after_ms=answer.retry_after_ms)
        case "INVALID_ARGUMENT":
            return Failed("invalid_argument", word)
        case "SENDER_ID_MISMATCH" | "PERMISSION_DENIED" | "THIRD_PARTY_AUTH_ERROR":
            return Failed("auth_failed", word)
    if answer.status >= 500:
        return server_fault(answer, word)
    if answer.status == 429:
        return Failed("rate_limited", word, retryable=True, retry_after_ms=answer.retry_after_ms)
    return Failed(f"status_{answer.status}", word)


def _word(answer: Answer) -> str:
    """FCM's own error code, else the status word around it; "" if there is neither."""
    error = answer.json.get("error")
    if not isinstance(error, dict):
        return ""
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        match detail:
            case {"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": str(code)}:
                return code[:64]
    status = error.get("status")
    return status[:64] if isinstance(status, str) else ""


async def _access(account: ServiceAccount, delivery: Delivery, timeout_ms: int, now_ms: int) -> str:
    async def fetch() -> tuple[str, int]:
        url = delivery.settings.fcm.token_url
        issued_s = now_ms // 1000
        claims = {"iss": account.client_email, "scope": _SCOPE, "aud": url}
        try:
            times = {"iat": issued_s, "exp": issued_s + _ASSERTION_S}
            assertion = signed_claims(account.private_key, {}, {**claims, **times})
        except (ValueError, TypeError) as error:
            raise refuse("not_configured", "the service account's key can't be read") from error
        form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        try:
            answer = await post(
                delivery,
                url,
                timeout_ms=timeout_ms,
                now_ms=now_ms,
                headers=headers,
                data=urlencode(form).encode(),
            )
        except Refused as refused:
            raise Refused(msgspec.structs.replace(refused.failed, in_doubt=False)) from refused
        match answer.json:
            case {"access_token": str(token), "expires_in": int(seconds)} if answer.ok and token.isascii():
                return token, now_ms + max(seconds * 1000 - _EARLY_MS, 0)
        passing = answer.status >= 500 or answer.status == 429
        detail = f"status {answer.status} for the access token"
        raise Refused(Failed("auth_failed", detail, retryable=passing, retry_after_ms=answer.retry_after_ms))

    try:
        async with asyncio.timeout(timeout_ms / 1000):  # somebody else may be fetching it
            return await delivery.tokens.get(account.client_email, now_ms, fetch)
    except TimeoutError:
        raise Refused(Failed("timeout", "no access token in time", retryable=True)) from None


def _account(text: str) -> ServiceAccount:
    if not text:
        raise refuse("not_configured", "there is no FCM service account in the settings")
    try:
        return msgspec.json.decode(text, type=ServiceAccount)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise refuse("not_configured", "the FCM service account isn't the JSON of a key file") from None
