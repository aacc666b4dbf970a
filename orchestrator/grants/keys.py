"""Keys that sign grants and keys that verify them: values without I/O. Private parts are never shown."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from joserfc.jwk import OKPKey
from joserfc.util import urlsafe_b64decode
from msgspec import Struct, ValidationError, convert

from orchestrator.core.errors import ConfigurationError

KEYS_MAX: Final = 32
CURE: Final = "make one with `orchestrator keys generate`"


class GrantKey(Struct, frozen=True, eq=False):
    """One key. It signs from `from_s`, and what it signed counts until `until_s` (None: no end set); seconds, UTC."""

    kid: str  # RFC 7638 thumbprint
    key: OKPKey
    from_s: int = 0
    until_s: int | None = None

    @property
    def signs(self) -> bool:
        """Whether its private part is here."""
        return self.key.is_private

    def counts(self, now_s: int) -> bool:
        """Whether tokens signed by it are still accepted."""
        return self.until_s is None or now_s < self.until_s

    def public(self) -> dict[str, str]:
        """The JWK without its private part."""
        found = self.key.as_dict(private=False)
        return {
            "kty": "OKP", "crv": "Ed25519", "x": str(found["x"]), "kid": self.kid, "use": "sig", "alg": "Ed25519",
        }  # fmt: skip

    def __repr__(self) -> str:
        part = "private" if self.signs else "public"
        return f"GrantKey(kid={self.kid!r}, {part}, from_s={self.from_s}, until_s={self.until_s})"

    __str__ = __repr__

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("kid", self.kid), ("from_s", self.from_s), ("until_s", self.until_s)]


class GrantKeys:
    """All keys that count: the newest begun one signs, each verifies what carries its `kid`."""

    def __init__(self, keys: Iterable[GrantKey]) -> None:
        """Raises ConfigurationError for two keys of one id, and for too many."""
        self._keys: dict[str, GrantKey] = {}
        for key in keys:
            if key.kid in self._keys:
                raise ConfigurationError(f"key {key.kid} is there twice: remove one")
            self._keys[key.kid] = key
        if len(self._keys) > KEYS_MAX:
            raise ConfigurationError(f"{len(self._keys)} keys, more than {KEYS_MAX}: remove those that ended")

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[GrantKey]:
        return iter(sorted(self._keys.values(), key=_age))

    def __repr__(self) -> str:
        return f"GrantKeys({list(self._keys)})"

    def signing(self, now_s: int) -> GrantKey:
        """The key that signs now: of those with a private part that have begun and not ended, the newest.

        Raises ConfigurationError when there is none.
        """
        ready = [
            key for key in self._keys.values() if key.signs and key.from_s <= now_s and key.counts(now_s)
        ]
        if not ready:
            raise ConfigurationError(f"no key to sign grants with: {CURE}")
        return max(ready, key=_age)

    def verifying(self, kid: str, now_s: int) -> GrantKey | None:
        """The key of that id while it counts, whether or not it signs any more."""
        key = self._keys.get(kid)
        return key if key is not None and key.counts(now_s) else None


def generate(*, from_s: int) -> GrantKey:
    """A new key from the machine's secure randomness, to sign from then on."""
    return _key(OKPKey.import_key(Ed25519PrivateKey.generate()), from_s, None)


def from_pem(text: str, place: str) -> GrantKey:
    """The Ed25519 key of a PEM, private (PKCS 8, not encrypted) or public. Raises ConfigurationError naming `place`."""
    found: object
    try:
        if "PRIVATE KEY" in text:
            found = load_pem_private_key(text.encode(), password=None)
        else:
            found = load_pem_public_key(text.encode())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        found = None  # the library's message may quote what it read
    if not isinstance(found, Ed25519PrivateKey | Ed25519PublicKey):
        raise ConfigurationError(f"{place} holds no Ed25519 key as unencrypted PEM: {CURE}")
    return _key(OKPKey.import_key(found), 0, None)


class _Stored(Struct, frozen=True):
    kty: str
    crv: str
    x: str
    d: str | None = None
    kid: str | None = None
    nbf: int = 0
    exp: int | None = None


def from_jwk(given: Mapping[str, Any], place: str) -> GrantKey:
    """The key of a JWK; its members `nbf` and `exp` say from when it signs and until when it counts.

    Raises ConfigurationError naming `place`, and nothing of what the JWK holds.
    """
    try:
        stored = convert(dict(given), _Stored)
        if stored.kty != "OKP" or stored.crv != "Ed25519":
            raise ConfigurationError(f"{place} holds a key of another kind than Ed25519: {CURE}")
        raw = urlsafe_b64decode((stored.x if stored.d is None else stored.d).encode())
        key = (
            Ed25519PublicKey.from_public_bytes(raw)
            if stored.d is None
            else Ed25519PrivateKey.from_private_bytes(raw)
        )
    except (ValidationError, ValueError):
        raise ConfigurationError(f"{place} is no Ed25519 key as JWK: {CURE}") from None
    made = _key(OKPKey.import_key(key), stored.nbf, stored.exp)
    if made.public()["x"] != stored.x:
        raise ConfigurationError(f"{place}: its public and private part belong to different keys: {CURE}")
    if stored.kid is not None and stored.kid != made.kid:
        raise ConfigurationError(f"{place}: kid must be the key's RFC 7638 thumbprint, {made.kid}")
    return made


def from_text(text: str, place: str) -> list[GrantKey]:
    """The keys of a PEM, a JWK or a JWK set. Raises ConfigurationError naming `place`."""
    if text.lstrip().startswith("-----BEGIN"):
        return [from_pem(text, place)]
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise ConfigurationError(f"{place} is neither PEM nor JSON: {CURE}") from None
    keys = found.get("keys", [found]) if isinstance(found, dict) else None
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise ConfigurationError(f"{place} is neither a JWK nor a set of JWKs: {CURE}")
    if len(keys) > KEYS_MAX:
        raise ConfigurationError(f"{place} holds {len(keys)} keys, more than {KEYS_MAX}")
    return [from_jwk(key, place if len(keys) == 1 else f"{place}, key {n}") for n, key in enumerate(keys, 1)]


def to_jwk(key: GrantKey) -> dict[str, Any]:
    """The JWK as a file keeps it, private part included: for the key store alone."""
    found: dict[str, Any] = {**key.public(), "nbf": key.from_s}
    if key.signs:
        found["d"] = key.key.as_dict(private=True)["d"]
    if key.until_s is not None:
        found["exp"] = key.until_s
    return found


def _key(key: OKPKey, from_s: int, until_s: int | None) -> GrantKey:
    return GrantKey(key.thumbprint(), key, from_s, until_s)


def _age(key: GrantKey) -> tuple[int, str]:
    return (key.from_s, key.kid)
