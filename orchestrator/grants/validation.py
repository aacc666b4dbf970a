"""Whether a token is a grant of ours, decided offline: by public keys, expectations and the clock alone."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from typing import Any, Final, Literal

from joserfc import jws
from joserfc.errors import JoseError
from msgspec import Struct, ValidationError, convert

from orchestrator.core.errors import Malformed, OrchestratorError
from orchestrator.grants.claims import ALGORITHM, TOKEN_BYTES_MAX, TYPE, GrantClaims
from orchestrator.grants.keys import GrantKeys
from orchestrator.grants.settings import CLOCK_SKEW_MAX_S, TOKEN_LIFETIME_MAX_S

Reason = Literal[
    "too_large", "malformed", "header", "algorithm", "type", "unknown_key", "signature", "claims", "issuer",
    "audience", "organization", "experience", "expired", "not_yet_valid", "redeemed", "revoked", "unknown_grant",
]  # fmt: skip
_SAYS: Final[dict[Reason, str]] = {
    "too_large": f"the token is longer than {TOKEN_BYTES_MAX} bytes",
    "malformed": "this is no compact JWT: three parts of base64url, split by dots, each of unambiguous JSON",
    "header": "the header must have alg, typ and kid and nothing else: keys and addresses in it are not followed",
    "algorithm": f"alg must be {ALGORITHM}",
    "type": f"typ must be {TYPE}",
    "unknown_key": "no key of that kid counts: fetch the key set again, or read the grant again for a new token",
    "signature": "the signature does not fit: the token was altered, or signed by another key",
    "claims": "the claims are not those of a grant",
    "issuer": "another issuer made this token",
    "audience": "the token is meant for another audience",
    "organization": "the grant is of another organization",
    "experience": "the grant is for another experience",
    "expired": "the token is over: read the grant again for a new one, if it still lives",
    "not_yet_valid": "the token does not count yet: compare the clocks",
    "redeemed": "the grant was used",
    "revoked": "the grant was taken back",
    "unknown_grant": "the distribution has no such grant of this customer",
}
_HEADER_BYTES_MAX: Final = 512
_HEADER: Final = frozenset(("alg", "typ", "kid"))


class GrantRefused(OrchestratorError):
    """A token that counts for nothing. `reason` is a stable word; neither it nor the message quotes the token."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(f"grant refused ({reason}): {_SAYS[reason]}")
        self.reason: Reason = reason


class Expected(Struct, frozen=True, kw_only=True):
    """What a token must say to count here. `experience` None: any of the organization's."""

    issuer: str
    audience: str
    organization: str
    experience: str | None = None
    clock_skew_s: int = 30  # how far the signer's clock and ours may differ, both ways


def validate(token: str, keys: GrantKeys, expected: Expected, now_s: int) -> GrantClaims:
    """The claims of a token that counts at `now_s`; raises GrantRefused. Says nothing about use or revocation."""
    if len(token) > TOKEN_BYTES_MAX:
        raise GrantRefused("too_large")
    parts = token.split(".")
    if len(parts) != 3:
        raise GrantRefused("malformed")
    header = _object(_decoded(parts[0], _HEADER_BYTES_MAX))
    if header.get("alg") != ALGORITHM:  # first: nothing else in a token of another algorithm is of interest
        raise GrantRefused("algorithm")
    if header.keys() != _HEADER:
        raise GrantRefused("header")
    if header["typ"] != TYPE:
        raise GrantRefused("type")
    key = keys.verifying(header["kid"], now_s) if isinstance(header["kid"], str) else None
    if key is None:
        raise GrantRefused("unknown_key")
    payload = _decoded(parts[1], TOKEN_BYTES_MAX)
    _decoded(parts[2], TOKEN_BYTES_MAX)
    try:
        jws.deserialize_compact(token, key.key, algorithms=[ALGORITHM])
    except (JoseError, ValueError):
        raise GrantRefused("signature") from None
    try:
        claims = convert(_object(payload), GrantClaims)
        _ = claims.stream
    except (ValidationError, Malformed):
        raise GrantRefused("claims") from None
    _check(claims, expected, now_s)
    return claims


def _check(claims: GrantClaims, expected: Expected, now_s: int) -> None:
    if claims.iss != expected.issuer:
        raise GrantRefused("issuer")
    if claims.aud != expected.audience:
        raise GrantRefused("audience")
    if claims.organization != expected.organization:
        raise GrantRefused("organization")
    if expected.experience is not None and claims.experience != expected.experience:
        raise GrantRefused("experience")
    if not claims.iat <= claims.exp <= claims.iat + TOKEN_LIFETIME_MAX_S:
        raise GrantRefused("claims")
    skew_s = min(max(expected.clock_skew_s, 0), CLOCK_SKEW_MAX_S)
    if now_s >= claims.exp + skew_s:
        raise GrantRefused("expired")
    if now_s < max(claims.nbf, claims.iat) - skew_s:
        raise GrantRefused("not_yet_valid")


def _decoded(part: str, most: int) -> bytes:
    """The bytes of a base64url part in its one canonical spelling."""
    try:
        raw = urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (Base64Error, ValueError):
        raise GrantRefused("malformed") from None
    if len(raw) > most or urlsafe_b64encode(raw).rstrip(b"=").decode() != part:
        raise GrantRefused("malformed")
    return raw


def _object(raw: bytes) -> dict[str, Any]:
    """A JSON object whose members are there once: of two, one reader would take the first and one the last."""
    try:
        found = json.loads(raw.decode(), object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise GrantRefused("malformed") from None
    if not isinstance(found, dict):
        raise GrantRefused("malformed")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member is there twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(name)
