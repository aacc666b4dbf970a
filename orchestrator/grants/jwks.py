"""The public keys as a JWK set (RFC 7517): all that a server needs to validate grants without asking."""

from typing import Any

from orchestrator.grants.keys import GrantKeys


def jwks(keys: GrantKeys, now_s: int) -> dict[str, Any]:
    """The set to publish, public parts only: keys that count, those included that will sign only later."""
    return {"keys": [key.public() for key in keys if key.counts(now_s)]}
