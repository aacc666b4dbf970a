"""Whom a proof is checked with: issuers of ID tokens, and services that tell people from programs. No I/O."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from orchestrator.core.errors import ConfigurationError

ISSUER_PREFIX: Final = "ORCHESTRATOR_ID_ISSUER_"
SITEVERIFY_PREFIX: Final = "ORCHESTRATOR_SITEVERIFY_"
ALGORITHMS: Final = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
    "Ed25519",
)
"""Signatures with a public key. Those with a shared secret are never taken: whoever checks could make them."""
SITEVERIFY_URLS: Final[Mapping[str, str]] = {
    "turnstile": "https://challenges.cloudflare.com/turnstile/v0/siteverify",
    "hcaptcha": "https://api.hcaptcha.com/siteverify",
}
_LOCAL_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})


class IdIssuer(Struct, frozen=True, forbid_unknown_fields=True):
    """An issuer of ID tokens: its `iss`, our `aud`, where its keys are, and the claim that holds the customer's id."""

    issuer: str
    audience: str
    jwks_url: str
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    subject_claim: str = "sub"

    def __post_init__(self) -> None:
        _check_url(self.jwks_url)
        unknown = [a for a in self.algorithms if a not in ALGORITHMS]
        if unknown or not self.algorithms:
            raise ValueError(f"algorithms may be {', '.join(ALGORITHMS)}")
        if not self.issuer or not self.audience:
            raise ValueError("issuer and audience must not be empty")


class SiteVerifier(Struct, frozen=True, forbid_unknown_fields=True):
    """An account at a service with a `siteverify` call. `hostname`: where the check must have been made, if given."""

    secret: str
    url: str = ""  # "" for those whose address is known by their name
    hostname: str = ""

    def __post_init__(self) -> None:
        if not self.secret:
            raise ValueError("secret must not be empty")
        if self.url:
            _check_url(self.url)

    def __repr__(self) -> str:
        return f"SiteVerifier(secret='***', url={self.url!r}, hostname={self.hostname!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("secret", "***"), ("url", self.url), ("hostname", self.hostname)]


class ProofSettings(Struct, frozen=True):
    """By the name that a document's requirement gives as `provider`."""

    issuers: dict[str, IdIssuer] = {}
    verifiers: dict[str, SiteVerifier] = {}


def proofs_from(environ: Mapping[str, str]) -> ProofSettings:
    """`ORCHESTRATOR_ID_ISSUER_SHOP={"issuer": …}` is the issuer `shop`; the same for `ORCHESTRATOR_SITEVERIFY_…`.

    Raises ConfigurationError, naming the variable; values are never shown.
    """
    verifiers = _read(environ, SITEVERIFY_PREFIX, SiteVerifier)
    for name, one in verifiers.items():
        if not one.url and name not in SITEVERIFY_URLS:
            raise ConfigurationError(
                f"{SITEVERIFY_PREFIX}{name.upper()}: give its url; known without one are {', '.join(SITEVERIFY_URLS)}"
            )
    return ProofSettings(_read(environ, ISSUER_PREFIX, IdIssuer), verifiers)


def _read(environ: Mapping[str, str], prefix: str, kind: Any) -> dict[str, Any]:
    found = {}
    for variable, text in environ.items():
        if variable.startswith(prefix) and text:
            try:
                found[variable.removeprefix(prefix).lower()] = msgspec.json.decode(text, type=kind)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                fields = ", ".join(kind.__struct_fields__)
                raise ConfigurationError(f"{variable} must be JSON with {fields}: {error}") from None
    return found


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    local = parts.scheme == "http" and parts.hostname in _LOCAL_HOSTS
    if not parts.hostname or parts.username or (parts.scheme != "https" and not local):
        raise ValueError("an address must begin with https://; plain http is for this machine alone")
