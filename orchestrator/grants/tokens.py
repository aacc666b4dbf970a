"""A grant becomes a token at the moment somebody entitled to it reads it; the token is kept nowhere."""

from msgspec import json

from orchestrator.core.errors import OrchestratorError
from orchestrator.grants.claims import TOKEN_BYTES_MAX, TYPE, Grant, GrantClaims
from orchestrator.grants.keys import GrantKeys
from orchestrator.grants.settings import GrantSettings
from orchestrator.grants.signed import signed


class NoToken(OrchestratorError):
    """The grant can't be signed: it is over, or its ids are too long for a token."""


def issue(grant: Grant, keys: GrantKeys, settings: GrantSettings, now_s: int) -> str:
    """The grant as a compact JWT. Secret: for its subject's eyes, never for a log, an event or a topic.

    It ends with the grant, rounded down to the second, or after the tokens' lifetime. Raises NoToken, and
    ConfigurationError when no key signs now.
    """
    ends_s = now_s + settings.token_lifetime_s
    if grant.expires_ms:
        ends_s = min(ends_s, grant.expires_ms // 1000)
    if ends_s <= now_s:
        raise NoToken(f"grant {grant.jti} is over")
    key = keys.signing(now_s)
    claims = GrantClaims(
        iss=settings.issuer,
        aud=settings.audience,
        sub=grant.subject,
        jti=grant.jti,
        iat=now_s,
        nbf=now_s,
        exp=ends_s,
        organization=grant.organization,
        experience=grant.experience,
        sequence=grant.sequence,
        distribution=grant.distribution,
        mechanism=grant.mechanism,
    )
    token = signed(TYPE, json.encode(claims), key)
    if len(token) > TOKEN_BYTES_MAX:
        raise NoToken(f"the token of grant {grant.jti} would be longer than {TOKEN_BYTES_MAX} bytes")
    return token
