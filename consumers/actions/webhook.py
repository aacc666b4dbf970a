"""`webhook`: one signed HTTP call, to public addresses only, with the idempotency key in its headers."""

import re
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import quote

import msgspec
import orjson
from aiohttp import ClientConnectorDNSError, ClientConnectorError, ClientError, ClientResponse, ClientTimeout
from aiohttp.client_exceptions import ClientPayloadError, ClientSSLError, ConnectionTimeoutError, InvalidURL
from msgspec import Struct
from standardwebhooks import Webhook
from yarl import URL

from consumers.actions.answers import kept, retry_after_ms
from consumers.actions.base import ActionParams, Context, Done, EffectRequest, Ending, Failed, Scalar, text
from consumers.actions.guard import AddressRefused, literal

METHODS = frozenset({"POST", "PATCH"})  # aiohttp repeats PUT by itself
MAX_URL_CHARACTERS = 4_096
MAX_BODY_BYTES = 256 * 1024
RETRYABLE = frozenset({408, 409, 425, 429})  # 409: another call with this key is under way
# Set by the provider or the connection itself; a definition may not speak for them.
RESERVED_HEADERS = frozenset({
    "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "cookie", "expect", "host",
    "idempotency-key", "keep-alive", "te", "traceparent", "tracestate", "trailer", "transfer-encoding", "upgrade",
    "webhook-id", "webhook-signature", "webhook-timestamp",
})  # fmt: skip
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]{0,2048}")
_URL_CHARACTERS = re.compile(r"[^\x00-\x20\x7f]+")


class WebhookParams(ActionParams, frozen=True):
    """`secret` names a signing secret of the settings. Without `body` the call says which effect it is."""

    url: str
    body: Any = msgspec.UNSET
    headers: dict[str, Scalar] = msgspec.field(default_factory=dict)
    method: str = "POST"
    secret: str = ""


class _Refused(Exception):
    def __init__(self, error: str, detail: str) -> None:
        super().__init__(error)
        self.failed = Failed(error, detail)


class WebhookProvider:
    """Sends the idempotency key as `webhook-id` and `Idempotency-Key`: receivers can drop repeats."""

    name: ClassVar[str] = "webhook"
    idempotent: ClassVar[bool] = True
    params: ClassVar[type[Struct]] = WebhookParams

    async def perform(self, request: EffectRequest, params: WebhookParams, context: Context) -> Ending:
        """Done with `{"status", "body" or "text"}` for 2xx; see docs/effects.md for the error words."""
        try:
            url = _url(params, allow_http=context.settings.allow_http)
            body = _body(request, params)
            headers = _headers(request, params, body, context)
        except _Refused as refused:
            return refused.failed
        timeout = ClientTimeout(
            total=request.timeout_ms / 1000, sock_connect=context.settings.connect_timeout_s
        )
        try:
            # No redirects: a Location is an address that nobody has judged.
            async with context.http.request(
                params.method, url, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                return await _ending(response, context)
        except (ClientError, TimeoutError, OSError, ValueError) as error:
            return _failed(error)


def _url(params: WebhookParams, *, allow_http: bool) -> URL:
    if params.method not in METHODS:
        raise _Refused("invalid_params", f"method must be one of {', '.join(sorted(METHODS))}")
    if len(params.url) > MAX_URL_CHARACTERS or not _URL_CHARACTERS.fullmatch(params.url):
        raise _Refused(
            "url_refused", f"longer than {MAX_URL_CHARACTERS} characters, or holds spaces or controls"
        )
    try:
        url = URL(params.url)
        host = url.raw_host  # what will be resolved: punycode, lower case, no brackets
    except ValueError:
        raise _Refused("url_refused", "not a URL") from None
    if url.scheme not in {"https", "http"} or not host:
        raise _Refused("url_refused", "must be https://host/…")
    if url.raw_user is not None or url.raw_password is not None:
        raise _Refused("url_refused", "user names and passwords don't belong into a URL")
    if url.scheme == "http" and not allow_http:
        raise _Refused("https_required", "http is refused unless the setting effects.allow_http is on")
    try:
        literal(host)  # aiohttp doesn't ask its resolver about addresses; the socket judges canonical ones
    except AddressRefused:
        raise _Refused("address_refused", "not a canonical address") from None
    return url.with_fragment(None)


def _body(request: EffectRequest, params: WebhookParams) -> bytes:
    body = params.body
    if body is msgspec.UNSET:
        # The same for every attempt: receivers compare bodies under one idempotency key.
        body = {"type": request.action, "stream": request.stream.text, "effect": request.effect}
    try:
        encoded = orjson.dumps(body)
    except (orjson.JSONEncodeError, TypeError):
        raise _Refused("invalid_params", "body can't be written as JSON") from None
    if len(encoded) > MAX_BODY_BYTES:
        raise _Refused("request_too_large", f"body is longer than {MAX_BODY_BYTES} bytes")
    return encoded


def _headers(request: EffectRequest, params: WebhookParams, body: bytes, context: Context) -> dict[str, str]:
    headers = {}
    for name, rendered in params.headers.items():
        value = text(rendered)
        if not _TOKEN.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise _Refused(
                "header_refused", "a header has characters that HTTP doesn't allow, or is too long"
            )
        if name.lower() in RESERVED_HEADERS or name.lower().startswith("proxy-"):
            raise _Refused("header_refused", f"{name.lower()} is set by the engine")
        headers[name] = value
    key = quote(request.idempotency_key, safe="!#$%&'()*+,/:;=?@[]~")
    headers["Content-Type"] = "application/json"
    headers["Accept-Encoding"] = "identity"  # a compressed answer could be larger than it looks
    headers["Idempotency-Key"] = key
    headers["webhook-id"] = key
    headers.update({name: value.decode() for name, value in request.trace_headers})
    if params.secret:
        secrets = context.settings.secrets.get(params.secret, "").split()
        if not secrets:
            raise _Refused("unknown_secret", "no setting effects.secrets of the name that `secret` gives")
        signed_at = datetime.fromtimestamp(context.now_ms() // 1000, UTC)
        headers["webhook-timestamp"] = str(int(signed_at.timestamp()))
        headers["webhook-signature"] = " ".join(
            Webhook(s).sign(key, signed_at, body.decode()) for s in secrets
        )
    return headers


async def _ending(response: ClientResponse, context: Context) -> Ending:
    status = response.status
    if 300 <= status < 400:
        return Failed("redirect_refused", f"status {status}")
    if not 200 <= status < 300:
        retryable = status in RETRYABLE or status >= 500
        wait_ms = retry_after_ms(response.headers.get("Retry-After"), context.now_ms()) if retryable else None
        return Failed(f"status_{status}", retryable=retryable, retry_after_ms=wait_ms, in_doubt=status >= 500)
    limit = context.settings.max_response_bytes
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > limit:  # the receiver took the call; nobody has to hear the rest of what it says
            response.close()
            break
    return Done({"status": status, **kept(bytes(body), context.settings.max_result_bytes)})


def _failed(error: Exception) -> Failed:
    """The stable word for what went wrong. Details name classes only: messages hold hosts and paths."""
    detail = type(error).__name__
    match error:
        case ClientConnectorError() if isinstance(error.os_error, AddressRefused):
            return Failed("address_refused", "the host is or resolves to an address that may not be called")
        case InvalidURL():
            return Failed("url_refused", detail)
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
        case ClientPayloadError() | OSError() | ClientError():
            return Failed("connection_lost", detail, retryable=True, in_doubt=True)
    return Failed("bad_request", detail)
