"""Apple's push service: the provider's token, one notification over HTTP/2, its reasons."""

import asyncio
from typing import Final
from urllib.parse import quote
from uuid import UUID

import orjson

from consumers.actions.access_tokens import signed_claims
from consumers.actions.answers import retry_after_ms
from consumers.actions.base import Failed
from consumers.actions.delivery import Delivery
from consumers.actions.delivery_settings import ApnsSettings
from consumers.actions.provider_calls import MARGIN, Answer, caused_by_tls, json_object, server_fault
from consumers.actions.push_devices import Outcome, Sent
from consumers.actions.refusals import Refused, Undeliverable, refuse
from orchestrator.messages import PushMessage

_TOKEN_MS: Final = 40 * 60_000  # Apple wants a new one after 20 to 60 minutes
_DEAD: Final = frozenset({"Unregistered", "ExpiredToken"})
_PROVIDER_TOKEN: Final = frozenset({"ExpiredProviderToken", "InvalidProviderToken", "MissingProviderToken"})
_RATE: Final = frozenset({"TooManyRequests", "TooManyProviderTokenUpdates"})
_WORDS: Final = {
    "BadDeviceToken": "bad_device_token",  # broken, or of the other environment: not the address's fault for sure
    "DeviceTokenNotForTopic": "bad_device_token",
    "PayloadTooLarge": "over_limit",
}


async def send(
    message: PushMessage, token: str, delivery: Delivery, *, collapse: str, timeout_ms: int, now_ms: int
) -> Outcome:
    """One notification to one device token. Raises Refused when no answer comes."""
    settings = delivery.settings.apns
    access = await _access(settings, delivery, now_ms)
    headers = {
        "authorization": f"bearer {access}",
        "apns-id": str(UUID(hex=collapse)),
        "apns-topic": settings.topic,
        "apns-push-type": "alert",
        "apns-collapse-id": collapse,
        "content-type": "application/json",
    }
    payload = {**message.data, "aps": {"alert": {"title": message.title, "body": message.body}}}
    url = f"{settings.base_url.rstrip('/')}/3/device/{quote(token, safe='')}"
    answer = await _post(
        delivery, url, headers, orjson.dumps(payload), timeout_s=timeout_ms / 1000 * MARGIN, now_ms=now_ms
    )
    if answer.ok:
        return Sent(headers["apns-id"])
    reason = str(answer.json.get("reason", ""))[:64]
    if reason in _PROVIDER_TOKEN:
        delivery.tokens.drop(_name(settings), access)
        return Failed("auth_failed", reason, retryable=reason == "ExpiredProviderToken")
    return _failure(reason, answer)


def _failure(reason: str, answer: Answer) -> Outcome:
    if reason in _DEAD:
        return Undeliverable("unregistered", reason, channel="push", reason="hard_bounce")
    if reason in _RATE or answer.status == 429:
        return Failed("rate_limited", reason, retryable=True, retry_after_ms=answer.retry_after_ms)
    if answer.status >= 500:
        return server_fault(answer, reason)
    if answer.status == 403:
        return Failed("auth_failed", reason)
    return Failed(_WORDS.get(reason, f"status_{answer.status}"), reason)


async def _post(
    delivery: Delivery, url: str, headers: dict[str, str], content: bytes, *, timeout_s: float, now_ms: int
) -> Answer:
    import httpx  # noqa: PLC0415  few runners need it

    connect_s = min(delivery.settings.connect_timeout_s, timeout_s / 2)
    timeout = httpx.Timeout(timeout_s, connect=connect_s, pool=connect_s)
    stream = delivery.http2().stream("POST", url, headers=headers, content=content, timeout=timeout)
    try:
        async with asyncio.timeout(timeout_s), stream as response:
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > delivery.settings.max_response_bytes:
                    failed = Failed("body_too_large", f"status {response.status_code}", in_doubt=True)
                    raise Refused(failed)
            if 300 <= response.status_code < 400:
                raise Refused(Failed("redirect_refused", f"status {response.status_code}"))
            wait_ms = retry_after_ms(response.headers.get("retry-after"), now_ms)
            return Answer(response.status_code, json_object(bytes(body)), wait_ms)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise Refused(_fault(error)) from error


def _fault(error: Exception) -> Failed:
    import httpx  # noqa: PLC0415  few runners need it

    detail = type(error).__name__
    match error:
        case httpx.ConnectTimeout() | httpx.PoolTimeout():
            return Failed("timeout", detail, retryable=True)
        case httpx.ConnectError():
            word = "tls_failed" if caused_by_tls(error) else "connect_failed"
            return Failed(word, detail, retryable=True)
        case httpx.TimeoutException() | TimeoutError():
            return Failed("timeout", detail, retryable=True, in_doubt=True)
    return Failed("connection_lost", detail, retryable=True, in_doubt=True)


async def _access(settings: ApnsSettings, delivery: Delivery, now_ms: int) -> str:
    if not (settings.key and settings.key_id and settings.team_id and settings.topic):
        raise refuse("not_configured", "the settings have no whole APNs key: key, key_id, team_id, topic")

    async def fetch() -> tuple[str, int]:
        try:
            claims = {"iss": settings.team_id, "iat": now_ms // 1000}
            return signed_claims(settings.key, {"kid": settings.key_id}, claims), now_ms + _TOKEN_MS
        except (ValueError, TypeError) as error:
            raise refuse("not_configured", "the APNs key can't be read") from error

    return await delivery.tokens.get(_name(settings), now_ms, fetch)


def _name(settings: ApnsSettings) -> str:
    return f"apns:{settings.team_id}:{settings.key_id}"
