"""Tokens by client credentials: when they are asked for, and what is said when there are none."""

import asyncio
import secrets

import pytest

from orchestrator import embedded
from orchestrator.core.errors import ConfigurationError
from orchestrator.oauth import ClientCredentials, TokenRefused
from tests.security.tokens import TokenEndpoint

CANARY = f"canary:+/{secrets.token_hex(8)}€"
_SECRET = "ORCHESTRATOR_KAFKA_SASL_OAUTH_CLIENT_SECRET"
_ID = "ORCHESTRATOR_KAFKA_SASL_OAUTH_CLIENT_ID"
_URL = "ORCHESTRATOR_KAFKA_SASL_OAUTH_TOKEN_URL"


@pytest.fixture
def secure(servers: embedded.Servers) -> embedded.SecureListeners:
    assert servers.secure is not None
    return servers.secure


async def test_a_token_serves_all_connections_while_it_lives(secure: embedded.SecureListeners) -> None:
    """Many connections that begin together ask the server once; so do later ones."""
    with TokenEndpoint(secure, "journeys", CANARY) as endpoint:
        provider = ClientCredentials(endpoint.url, "journeys", CANARY)
        tokens = await asyncio.gather(*(provider.token() for _ in range(10)))
        assert {*tokens, await provider.token()} == set(endpoint.given)
        assert len(endpoint.given) == 1


async def test_a_token_is_renewed_before_it_ends(secure: embedded.SecureListeners) -> None:
    """A connection never begins with a token that is about to end."""
    with TokenEndpoint(secure, "journeys", CANARY) as endpoint:
        endpoint.lifetime_s = 20.0
        provider = ClientCredentials(endpoint.url, "journeys", CANARY)
        assert [await provider.token(), await provider.token()] == endpoint.given
        assert len(endpoint.asked) == 2


async def test_a_refused_token_is_not_shown_again(secure: embedded.SecureListeners) -> None:
    """A token that the broker refused is replaced, however long it had to live."""
    with TokenEndpoint(secure, "journeys", CANARY) as endpoint:
        provider = ClientCredentials(endpoint.url, "journeys", CANARY)
        await provider.token()
        provider.refused()
        await provider.token()
        assert len(endpoint.given) == 2


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, b"%s"),
        (500, b"%s"),
        (302, b"%s"),
        (200, b"%s"),
        (200, b'{"token": "%s"}'),
        (200, b'{"access_token": 5, "x": "%s"}'),
    ],
)
async def test_no_answer_of_the_server_is_repeated(
    secure: embedded.SecureListeners, status: int, body: bytes
) -> None:
    """What a server says beside a token stays with it: it may echo the secret."""
    with TokenEndpoint(secure, "journeys", CANARY) as endpoint:
        endpoint.answer = lambda *_: (status, body.replace(b"%s", CANARY.encode()))  # type: ignore[method-assign]
        with pytest.raises(TokenRefused) as refused:
            await ClientCredentials(f"{endpoint.url}?key={CANARY}", "journeys", CANARY).token()
    error: BaseException | None = refused.value
    assert endpoint.url in str(error)
    while error is not None:
        assert CANARY not in f"{error!s} {error!r}"
        error = error.__cause__


async def test_an_answer_without_end_is_given_up(secure: embedded.SecureListeners) -> None:
    """The server's answer is read up to a bound."""
    with TokenEndpoint(secure, "journeys", CANARY) as endpoint:
        endpoint.answer = lambda *_: (200, b'{"access_token": "' + b"a" * 1_000_000 + b'"}')  # type: ignore[method-assign]
        with pytest.raises(TokenRefused, match="no token"):
            await ClientCredentials(endpoint.url, "journeys", CANARY).token()


@pytest.mark.parametrize(
    ("url", "client", "secret", "named"),
    [
        ("", "journeys", CANARY, _URL),
        ("http://tokens.example.com/", "journeys", CANARY, _URL),
        ("http://127.0.0.1.example.com/", "journeys", CANARY, _URL),
        ("http://127.0.0.1@example.com/", "journeys", CANARY, _URL),
        ("ftp://tokens.example.com/", "journeys", CANARY, _URL),
        ("https://[tokens/", "journeys", CANARY, _URL),
        ("https://tokens.example.com/", "", CANARY, _ID),
        ("https://tokens.example.com/", "a:b", CANARY, _ID),
        ("https://tokens.example.com/", "journeys", "", _SECRET),
    ],
    ids=[
        "none",
        "http",
        "subdomain",
        "userinfo",
        "ftp",
        "broken",
        "no id",
        "colon in the id",
        "no secret",
    ],  # no canary
)
def test_settings_that_cannot_work_or_send_secrets_in_clear_are_refused(
    url: str, client: str, secret: str, named: str
) -> None:
    """The client secret goes to https addresses, or stays on this machine."""
    with pytest.raises(ConfigurationError, match=named) as refused:
        ClientCredentials(url, client, secret)
    assert CANARY not in str(refused.value)


def test_a_password_in_the_address_is_not_shown() -> None:
    """Messages name the server without what stands before the @ or after the ?."""
    provider = ClientCredentials(
        f"https://u:{CANARY.replace('/', '')}@tokens.example.com/t?k={CANARY}", "c", "s"
    )
    assert provider._place == "https://tokens.example.com/t"
