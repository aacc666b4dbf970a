"""One HTTP call to a configured provider: bounded in time and size, no redirects; faults get their stable words."""

import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import (
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientError,
    ClientTimeout,
    FormData,
)
from aiohttp.client_exceptions import ClientSSLError, ConnectionTimeoutError
from msgspec import Struct

from consumers.actions.answers import retry_after_ms
from consumers.actions.base import Failed
from consumers.actions.refusals import Refused

if TYPE_CHECKING:
    from consumers.actions.delivery import Delivery

MARGIN = 0.95  # of the effect's time: a call that ends by itself can say whether anything was sent


class Answer(Struct, frozen=True):
    """An answer below 300 or from 400: `json` is {} unless the body is a JSON object."""

    status: int
    json: dict[str, Any]
    retry_after_ms: int | None = None

    @property
    def ok(self) -> bool:
        return self.status < 300


async def post(
    delivery: "Delivery",
    url: str,
    *,
    timeout_ms: int,
    now_ms: int,
    headers: Mapping[str, str] | None = None,
    data: bytes | FormData | None = None,
) -> Answer:
    """Posts and reads the answer. Raises Refused for whatever is no answer of the provider."""
    settings = delivery.settings
    total_s = timeout_ms / 1000 * MARGIN
    # Name, connection and handshake within half of it: what ends there certainly sent nothing.
    timeout = ClientTimeout(total=total_s, connect=min(settings.connect_timeout_s, total_s / 2))
    try:
        async with delivery.http.post(
            url, data=data, headers=dict(headers or {}), timeout=timeout, allow_redirects=False
        ) as response:
            status = response.status
            if 300 <= status < 400:
                # Whoever answers so is not the provider: the message may have gone anywhere.
                raise Refused(Failed("redirect_refused", f"status {status}"))
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > settings.max_response_bytes:
                    response.close()
                    raise Refused(Failed("body_too_large", f"status {status}", in_doubt=status < 300))
            wait_ms = retry_after_ms(response.headers.get("Retry-After"), now_ms)
            return Answer(status, json_object(bytes(body)), wait_ms)
    except (ClientError, TimeoutError, OSError, ValueError) as error:
        raise Refused(fault(error)) from error


def fault(error: Exception) -> Failed:
    """The stable word for a call without an answer. Details name classes only: messages hold hosts."""
    detail = type(error).__name__
    match error:
        case ConnectionTimeoutError():
            return Failed("timeout", detail, retryable=True)
        case TimeoutError():
            return Failed("timeout", detail, retryable=True, in_doubt=True)
        case ClientSSLError():
            return Failed("tls_failed", detail, retryable=True)
        case ClientConnectorDNSError():
            return Failed("dns_failed", detail, retryable=True)
        case ClientConnectorError():
            return Failed("connect_failed", detail, retryable=True)
    return Failed("connection_lost", detail, retryable=True, in_doubt=True)


def caused_by_tls(error: BaseException | None) -> bool:
    """Whether a failed handshake or certificate is behind an error."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a body; {} for anything else."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def server_fault(answer: Answer, detail: str = "") -> Failed:
    """A 5xx answer: 503 says that nothing was taken on; after any other the message may have been."""
    return Failed(
        f"status_{answer.status}",
        detail,
        retryable=True,
        retry_after_ms=answer.retry_after_ms,
        in_doubt=answer.status != 503,
    )
