"""`verify_id_token` against a server that publishes keys as issuers of ID tokens do."""

import hmac
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from consumers.actions.base import Done, Ending, Failed
from consumers.actions.delivery import DeliveryContext
from consumers.actions.delivery_settings import DeliverySettings
from consumers.actions.proof_settings import IdIssuer, ProofSettings
from consumers.actions.refusals import Refused
from consumers.actions.verify_id_token import VerifyIdTokenProvider, _checked
from tests.effects.receiver import Receiver, receiver, status
from tests.providers.stage import perform, stage

ISSUER, AUDIENCE, ANNA = "https://login.example.com", "shop", "anna"
KEY = ECKey.generate_key("P-256", {"kid": "k1", "use": "sig"})
OTHER = ECKey.generate_key("P-256", {"kid": "k1", "use": "sig"})


def key_set(*keys: Any) -> bytes:
    return json.dumps({"keys": [key.as_dict(private=False) for key in keys]}).encode()


def claims(**changes: Any) -> dict[str, Any]:
    now_s = int(time.time())
    made = {"iss": ISSUER, "aud": AUDIENCE, "sub": ANNA, "iat": now_s, "exp": now_s + 300, **changes}
    return {name: value for name, value in made.items() if value is not None}


def token(key: Any = KEY, header: dict[str, Any] | None = None, **changes: Any) -> str:
    return jwt.encode({"alg": "ES256", "kid": "k1", **(header or {})}, claims(**changes), key)


class Checking:
    """A provider with a context, and the server it asks for keys."""

    def __init__(self, context: DeliveryContext, issuer: Receiver) -> None:
        self.issuer = issuer
        self.provider = VerifyIdTokenProvider()
        self._context = context

    async def check(self, text: str, **params: Any) -> Ending:
        return await perform(self.provider, self._context, {"provider": "login", "token": text, **params})


@pytest.fixture
async def checking() -> AsyncIterator[Checking]:
    async with receiver(status(200, key_set(KEY))) as issuer:
        known = IdIssuer(ISSUER, AUDIENCE, issuer.url("/jwks"))
        async with stage(DeliverySettings(proofs=ProofSettings({"login": known}))) as context:
            yield Checking(context, issuer)


async def test_an_issuers_token_tells_whose_it_is(checking: Checking) -> None:
    """A good token ends with its subject; the issuer's keys are asked for once."""
    assert await checking.check(token()) == Done({"subject": ANNA})
    assert await checking.check(token(aud=["other", AUDIENCE]), subject=ANNA) == Done({"subject": ANNA})
    assert len(checking.issuer.calls) == 1


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"iss": "https://other.example.com"}, "other_issuer"),
        ({"aud": "other"}, "other_audience"),
        ({"aud": None}, "other_audience"),
        ({"exp": int(time.time()) - 61}, "token_expired"),
        ({"exp": None}, "token_expired"),
        ({"exp": "tomorrow"}, "token_expired"),
        ({"nbf": int(time.time()) + 600}, "token_not_yet_valid"),
        ({"iat": int(time.time()) + 600}, "token_not_yet_valid"),
        ({"sub": None}, "no_subject"),
        ({"sub": 7}, "no_subject"),
    ],
    ids=["issuer", "audience", "no audience", "expired", "no end", "end no number", "early", "from later", "nobody", "number"],
)  # fmt: skip
async def test_a_token_that_is_not_for_us_now_is_refused(
    checking: Checking, changes: dict[str, Any], error: str
) -> None:
    """Another issuer, audience or time: a name for each, and no second attempt."""
    ending = await checking.check(token(**changes))
    assert isinstance(ending, Failed)
    assert (ending.error, ending.retryable) == (error, False)


async def test_somebody_elses_token_is_refused(checking: Checking) -> None:
    """A good token proves its own subject alone."""
    ending = await checking.check(token(), subject="bert")
    assert isinstance(ending, Failed)
    assert ending.error == "other_subject"


def confused() -> str:
    """Signed with the issuer's public key as if it were a shared secret."""
    parts = [json.dumps({"alg": "HS256", "kid": "k1"}).encode(), json.dumps(claims()).encode()]
    text = ".".join(urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
    mac = hmac.digest(KEY.as_pem(private=False), text.encode(), "sha256")
    return f"{text}.{urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def forged(kind: str) -> str:
    head, body, signature = token().split(".")
    unsigned = urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    match kind:
        case "other key":
            return token(OTHER)
        case "none":
            return f"{unsigned}.{body}."
        case "none with signature":
            return f"{unsigned}.{body}.{signature}"
        case "public key as secret":
            return confused()
        case "other algorithm":
            return jwt.encode({"alg": "RS256", "kid": "k1"}, claims(), RSAKey.generate_key(2048))
        case "own key":
            return token(OTHER, {"jwk": OTHER.as_dict(private=False)})
        case "cut off":
            return f"{head}.{body}"
        case "endless":
            return "a" * 20_000
    return {"empty": "", "text": "no token"}[kind]


@pytest.mark.parametrize(
    "kind",
    ["other key", "none", "none with signature", "public key as secret", "other algorithm", "own key", "cut off", "empty", "text", "endless"],
)  # fmt: skip
async def test_a_forged_token_is_refused(checking: Checking, kind: str) -> None:
    """Only a signature by one of the issuer's published keys, by an algorithm it is known for, counts."""
    ending = await checking.check(forged(kind))
    assert isinstance(ending, Failed)
    assert (ending.error, ending.retryable) == ("invalid_token", False)


async def test_a_token_that_names_its_own_key_is_refused(checking: Checking) -> None:
    """Even rightly signed: a header that brings or points to a key is never looked at."""
    ending = await checking.check(token(KEY, {"jwk": KEY.as_dict(private=False)}))
    assert isinstance(ending, Failed)
    assert ending.error == "invalid_token"


async def test_a_key_published_since_is_found() -> None:
    """After a rotation the issuer's keys are asked for again, not more often than twice a minute."""
    fresh = ECKey.generate_key("P-256", {"kid": "k2", "use": "sig"})
    published = [KEY]
    now_ms = time.time_ns() // 1_000_000

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=key_set(*published))

    async with receiver(answer) as issuer:
        known = IdIssuer(ISSUER, AUDIENCE, issuer.url("/jwks"))
        async with stage(DeliverySettings(proofs=ProofSettings({"login": known}))) as context:
            clock = [now_ms]
            later = msgspec.structs.replace(context, now_ms=lambda: clock[0])
            checking = Checking(later, issuer)
            assert await checking.check(token()) == Done({"subject": ANNA})
            published.append(fresh)
            early = await checking.check(token(fresh, {"kid": "k2"}))
            assert isinstance(early, Failed)
            assert len(issuer.calls) == 1
            clock[0] += 30_001
            assert await checking.check(token(fresh, {"kid": "k2"})) == Done({"subject": ANNA})
            assert len(issuer.calls) == 2


@pytest.mark.parametrize("body", [b"", b"{}", b'{"keys": []}', b'{"keys": [{"kty": "oct", "k": "AAAA"}]}'])
async def test_without_the_issuers_keys_nothing_is_proven(body: bytes) -> None:
    """Keys that can't be had are worth another attempt; shared secrets are no keys of an issuer."""
    async with receiver(status(200, body)) as issuer:
        known = IdIssuer(ISSUER, AUDIENCE, issuer.url("/jwks"))
        async with stage(DeliverySettings(proofs=ProofSettings({"login": known}))) as context:
            ending = await Checking(context, issuer).check(token())
    assert isinstance(ending, Failed)
    assert (ending.error, ending.retryable) == ("keys_unavailable", True)


async def test_an_unknown_issuer_is_not_configured(checking: Checking) -> None:
    """A document that names an issuer the settings lack is told so."""
    ending = await perform(checking.provider, checking._context, {"provider": "unheard-of", "token": token()})
    assert isinstance(ending, Failed)
    assert ending.error == "not_configured"


@given(
    st.dictionaries(
        st.sampled_from(["iss", "aud", "sub", "exp", "nbf", "iat"]),
        st.none() | st.text() | st.integers() | st.lists(st.text()),
    )
)
@settings(max_examples=100)
def test_whatever_claims_say_only_whole_ones_pass(found: dict[str, Any]) -> None:
    """Claims of any shape are refused by name or give a subject that is a text; nothing else comes out."""
    known = IdIssuer(ISSUER, AUDIENCE, "https://login.example.com/jwks")
    try:
        assert _checked({"iss": ISSUER, "aud": AUDIENCE, **found}, known, 1_000_000.0)
    except Refused:
        return
    assert isinstance(found.get("sub"), str)
