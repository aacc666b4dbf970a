"""`verify_id_token`: whether a customer's ID token is its issuer's, for us, still good, and whose it is."""

import asyncio
from typing import Any, ClassVar, Final

from aiohttp import ClientError, ClientTimeout
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from msgspec import Struct

from consumers.actions.base import ActionParams, Context, Done, EffectRequest, Ending, Failed
from consumers.actions.delivery import Delivery, delivery_of
from consumers.actions.proof_settings import IdIssuer
from consumers.actions.provider_calls import fault, json_object
from consumers.actions.refusals import Refused, refuse

TOKEN_CHARS_MAX: Final = 16_384
LEEWAY_S: Final = 60  # clocks differ
_KEYS_GOOD_MS: Final = 600_000
_KEYS_ASKED_AGAIN_MS: Final = 30_000  # for a key nobody knows: at most so often
_CLOSED_HEADERS: Final = frozenset({"jwk", "jku", "x5u", "x5c", "crit"})
"""What would let a token say by which key it is to be checked."""


class VerifyIdTokenParams(ActionParams, frozen=True):
    """`provider` names an issuer of the settings. `subject`: whose token it must be, if given."""

    provider: str
    token: str
    subject: str = ""


class _Keys(Struct, frozen=True):
    known: KeySet
    fetched_ms: int


class VerifyIdTokenProvider:
    """Signature by the issuer's published keys, then issuer, audience and times. Keys are kept for ten minutes."""

    name: ClassVar[str] = "verify_id_token"
    idempotent: ClassVar[bool] = True
    params: ClassVar[type[Struct]] = VerifyIdTokenParams

    def __init__(self) -> None:
        self._keys: dict[str, _Keys] = {}  # by address
        self._locks: dict[str, asyncio.Lock] = {}

    async def perform(self, request: EffectRequest, params: VerifyIdTokenParams, context: Context) -> Ending:
        """Done with `{"subject"}`; else a Failed that says what is wrong with the token, never what is in it."""
        try:
            delivery = delivery_of(context)
            issuer = delivery.settings.proofs.issuers.get(params.provider)
            if issuer is None:
                raise refuse("not_configured", f"no issuer {params.provider[:40]!r} of ID tokens")
            claims = await self._claims(delivery, issuer, params.token, request, context)
            subject = _checked(claims, issuer, context.now_ms() / 1000)
        except Refused as refused:
            return refused.failed
        if params.subject and subject != params.subject:
            return Failed("other_subject", "the token is somebody else's")
        return Done({"subject": subject})

    async def _claims(
        self, delivery: Delivery, issuer: IdIssuer, token: str, request: EffectRequest, context: Context
    ) -> dict[str, Any]:
        """What a token says whose signature holds. Raises Refused."""
        if not token or len(token) > TOKEN_CHARS_MAX or token.count(".") != 2:
            raise refuse("invalid_token", "not a signed token")
        keys = await self._issuers_keys(delivery, issuer, request, context.now_ms(), _KEYS_GOOD_MS)
        try:
            found = jwt.decode(token, keys, algorithms=list(issuer.algorithms))
        except (JoseError, ValueError, KeyError, TypeError):
            # Perhaps signed with a key that was published since.
            keys = await self._issuers_keys(delivery, issuer, request, context.now_ms(), _KEYS_ASKED_AGAIN_MS)
            try:
                found = jwt.decode(token, keys, algorithms=list(issuer.algorithms))
            except (JoseError, ValueError, KeyError, TypeError) as error:
                raise refuse("invalid_token", type(error).__name__) from None
        if _CLOSED_HEADERS & set(found.header):
            raise refuse("invalid_token", "its header names a key of its own")
        return dict(found.claims)

    async def _issuers_keys(
        self, delivery: Delivery, issuer: IdIssuer, request: EffectRequest, now_ms: int, good_ms: int
    ) -> KeySet:
        """Fetched by one caller while the others wait. Raises Refused `keys_unavailable`, worth another attempt."""
        async with self._locks.setdefault(issuer.jwks_url, asyncio.Lock()):
            held = self._keys.get(issuer.jwks_url)
            if held is not None and now_ms - held.fetched_ms < good_ms:
                return held.known
            known = await _fetch(delivery, issuer.jwks_url, request.timeout_ms)
            self._keys[issuer.jwks_url] = _Keys(known, now_ms)
            return known


async def _fetch(delivery: Delivery, url: str, timeout_ms: int) -> KeySet:
    settings = delivery.settings
    timeout = ClientTimeout(total=timeout_ms / 2000, connect=settings.connect_timeout_s)
    try:
        async with delivery.http.get(url, timeout=timeout, allow_redirects=False) as response:
            body = await response.content.read(settings.max_response_bytes + 1)
            status = response.status
    except (ClientError, TimeoutError, OSError, ValueError) as error:
        raise Refused(Failed("keys_unavailable", fault(error).error, retryable=True)) from None
    try:
        found = json_object(body) if status == 200 and len(body) <= settings.max_response_bytes else {}
        public = [
            k for k in found.get("keys", ()) if isinstance(k, dict) and k.get("kty") in {"RSA", "EC", "OKP"}
        ]
        if not public:
            raise ValueError(status)
        return KeySet.import_key_set({"keys": public})
    except (JoseError, ValueError, KeyError, TypeError):
        raise Refused(Failed("keys_unavailable", f"status {status}, no key set", retryable=True)) from None


def _checked(claims: dict[str, Any], issuer: IdIssuer, now_s: float) -> str:
    """The subject of a token that is for us and good now. Raises Refused."""
    if claims.get("iss") != issuer.issuer:
        raise refuse("other_issuer")
    audience = claims.get("aud")
    ours = audience == issuer.audience or (isinstance(audience, list) and issuer.audience in audience)
    if not ours:
        raise refuse("other_audience")
    if _instant(claims.get("exp"), 0.0) <= now_s - LEEWAY_S:
        raise refuse("token_expired")
    for name in ("nbf", "iat"):
        if name in claims and _instant(claims[name], float("inf")) > now_s + LEEWAY_S:
            raise refuse("token_not_yet_valid")
    subject = claims.get(issuer.subject_claim)
    if not isinstance(subject, str) or not subject:
        raise refuse("no_subject")
    return subject


def _instant(value: Any, otherwise: float) -> float:
    """Seconds since the epoch; `otherwise` for what is no number."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else otherwise
