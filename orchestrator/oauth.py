"""Tokens for Kafka's SASL OAUTHBEARER by the OAuth 2.0 client credentials grant (RFC 6749, section 4.4)."""

import asyncio
import time
from urllib.parse import urlsplit

import aiohttp
import aiokafka.conn
import msgspec
from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaError, SaslAuthenticationFailed

from orchestrator.core.errors import ConfigurationError, OrchestratorError

_TIMEOUT_S = 10.0
_EARLY_S = 30.0  # a token is renewed this long before it ends
_DEFAULT_LIFE_S = 300.0
_MAX_ANSWER_BYTES = 65_536
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_TRY_LATER = (408, 429)


class TokenRefused(OrchestratorError, KafkaError):  # type: ignore[misc]
    """There is no token; the message holds address and status, never the secret. Clients try again as after any KafkaError.

    `final`: the authorization server has answered that it won't, so asking again can't help.
    """

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


class _Answer(msgspec.Struct):
    access_token: str
    expires_in: float = _DEFAULT_LIFE_S


class ClientCredentials(AbstractTokenProvider):  # type: ignore[misc]
    """Fetches a token when it is asked for one and the last has almost ended. Raises ConfigurationError."""

    def __init__(self, url: str, client_id: str, client_secret: str, scope: str = "") -> None:
        self._url, self._place = url, _checked(url)
        if not client_id or ":" in client_id:
            raise ConfigurationError("ORCHESTRATOR_KAFKA_SASL_OAUTH_CLIENT_ID must be set, and hold no colon")
        if not client_secret:
            raise ConfigurationError("ORCHESTRATOR_KAFKA_SASL_OAUTH_CLIENT_SECRET is not set")
        self._id, self._secret, self._scope = client_id, client_secret, scope
        self._token, self._ends_s = "", 0.0
        self._lock = asyncio.Lock()

    async def token(self) -> str:
        """A token that ends half a minute from now or later, unless the server's live shorter. Raises TokenRefused."""
        async with self._lock:  # a lane's connections ask at the same moment
            if time.monotonic() >= self._ends_s - _EARLY_S:
                answer = await self._fetch()
                self._token, self._ends_s = answer.access_token, time.monotonic() + answer.expires_in
            return self._token

    def refused(self) -> None:
        """The broker didn't take the token: the next connection gets another."""
        self._ends_s = 0.0

    async def _fetch(self) -> _Answer:
        form = {"grant_type": "client_credentials"}
        if self._scope:
            form["scope"] = self._scope
        headers = {"Authorization": aiohttp.encode_basic_auth(self._id, self._secret, encoding="utf-8")}
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(self._url, data=form, headers=headers, allow_redirects=False) as response,
            ):
                if response.status != 200:
                    final = response.status < 500 and response.status not in _TRY_LATER
                    raise TokenRefused(
                        f"{self._place} answered {response.status} instead of a token", final=final
                    )
                body = await _bounded(response)
        except (
            aiohttp.ClientError,
            OSError,
            TimeoutError,
        ) as error:  # their texts may quote the whole address
            raise TokenRefused(f"{self._place} gave no answer ({type(error).__name__})") from None
        try:
            return msgspec.json.decode(body, type=_Answer, strict=False)
        except msgspec.MsgspecError:
            raise TokenRefused(
                f"{self._place} answered with something that is no token", final=True
            ) from None


def _checked(url: str) -> str:
    """The address as messages may show it: without user, password and query. Raises ConfigurationError."""
    cure = "ORCHESTRATOR_KAFKA_SASL_OAUTH_TOKEN_URL must be an https address (http on this machine alone)"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ConfigurationError(cure) from None
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)):
        raise ConfigurationError(cure)
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path}"


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    body = b""
    async for chunk in response.content.iter_chunked(_MAX_ANSWER_BYTES):
        body += chunk
        if len(body) > _MAX_ANSWER_BYTES:
            break
    return body


class _Authenticator(aiokafka.conn.OAuthAuthenticator):  # type: ignore[misc]
    """The library takes a refusal, which comes as a challenge (RFC 7628, section 3.2.2), for success.

    It would then go on with a connection that answers nothing, and never ask for another token.
    """

    async def step(self, payload: bytes | None) -> tuple[bytes, bool] | None:
        if payload:
            if isinstance(self._sasl_oauth_token_provider, ClientCredentials):
                self._sasl_oauth_token_provider.refused()
            raise SaslAuthenticationFailed("the broker refused the token")
        made: tuple[bytes, bool] | None = await super().step(payload)
        return made


aiokafka.conn.OAuthAuthenticator = _Authenticator
