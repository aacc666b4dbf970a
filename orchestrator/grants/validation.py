"""Whether a token is a grant of ours, decided offline: by public keys, expectations and the clock alone."""

from typing import Final, Literal

from msgspec import Struct, ValidationError, convert

from orchestrator.core.errors import Malformed, OrchestratorError
from orchestrator.grants.claims import ALGORITHM, TOKEN_BYTES_MAX, TYPE, GrantClaims
from orchestrator.grants.keys import GrantKeys
from orchestrator.grants.settings import CLOCK_SKEW_MAX_S, TOKEN_LIFETIME_MAX_S
from orchestrator.grants.signed import NotSigned, opened

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
    try:
        claims = convert(opened(token, TYPE, keys, now_s), GrantClaims)
        _ = claims.stream
    except NotSigned as bad:
        raise GrantRefused(bad.reason) from None
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
