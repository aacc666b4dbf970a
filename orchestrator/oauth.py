"""Tokens for Kafka's SASL OAUTHBEARER by the OAuth 2.0 client credentials grant (RFC 6749, section 4.4)."""

import time

import aiohttp
from aiokafka.abc import AbstractTokenProvider

from orchestrator.core.errors import ConfigurationError, OrchestratorError

_TIMEOUT_S = 10.0
_EARLY_S = 30.0  # a token is renewed this long before it ends
_DEFAULT_LIFE_S = 300.0


class TokenRefused(OrchestratorError):
    """The authorization server gave no token; the message holds its status, never the secret."""


class ClientCredentials(AbstractTokenProvider):  # type: ignore[misc]
    """Fetches a token when it is asked for one and the last has almost ended."""

    def __init__(self, url: str, client_id: str, client_secret: str) -> None:
        if not url.startswith(("https://", "http://127.0.0.1")) or not client_id:
            raise ConfigurationError(
                "ORCHESTRATOR_KAFKA_SASL_OAUTH_TOKEN_URL must be an https address, and"
                " ORCHESTRATOR_KAFKA_SASL_OAUTH_CLIENT_ID must be set"
            )
        self._url, self._id, self._secret = url, client_id, client_secret
        self._token, self._ends_s = "", 0.0

    async def token(self) -> str:
        """A token valid for at least half a minute. Raises TokenRefused, or aiohttp's ClientError."""
        if time.monotonic() < self._ends_s - _EARLY_S:
            return self._token
        form = {"grant_type": "client_credentials"}
        auth = aiohttp.BasicAuth(self._id, self._secret)
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(self._url, data=form, auth=auth, allow_redirects=False) as response,
        ):
            if response.status != 200:
                raise TokenRefused(f"{self._url} answered {response.status} instead of a token")
            body = await response.json()
        self._token = str(body["access_token"])
        self._ends_s = time.monotonic() + float(body.get("expires_in", _DEFAULT_LIFE_S))
        return self._token
