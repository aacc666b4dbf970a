"""The organizer's public keys for checking receipts: a JSON Web Key (Set), or one key in PEM."""

from base64 import urlsafe_b64decode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestrator.core.errors import OrchestratorError
from orchestrator.distributions.fairness.checking import Keys
from orchestrator.distributions.fairness.receipts import Verify

_BYTES_MAX = 1_048_576


class InvalidKeys(OrchestratorError):
    """A file that holds no public Ed25519 key; the message says what to give instead."""


def load(path: Path) -> Keys:
    """The keys of a file, by id; a PEM has none, so it stands for every id. Raises InvalidKeys."""
    import orjson

    with path.open("rb") as file:
        data = file.read(_BYTES_MAX)
    if data.lstrip().startswith(b"-----BEGIN"):
        return _pem(path, data)
    try:
        parsed = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise InvalidKeys(f"{path}: neither JSON nor PEM; {_CURE}") from None
    keys = parsed.get("keys", [parsed]) if isinstance(parsed, dict) else None
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise InvalidKeys(f"{path}: no JSON Web Key; {_CURE}")
    found = of(keys)
    if not any(_is_ed25519(key) for key in keys):
        raise InvalidKeys(f"{path}: no Ed25519 key is among its {len(keys)}; {_CURE}")
    return found


def of(keys: Sequence[dict[str, Any]]) -> Keys:
    """Keys from parsed JSON Web Keys; those of other kinds are left out. Raises InvalidKeys for a broken one."""
    return {str(key.get("kid", "")): _verify(_point(key)) for key in keys if _is_ed25519(key)}.get


_CURE = "give a JSON Web Key Set with public Ed25519 keys, or one public key in PEM"


def _is_ed25519(key: dict[str, Any]) -> bool:
    return key.get("kty") == "OKP" and key.get("crv") == "Ed25519"


def _point(key: dict[str, Any]) -> bytes:
    text = key.get("x")
    try:
        point = urlsafe_b64decode(f"{text}{'=' * (-len(str(text)) % 4)}")
    except ValueError:
        point = b""
    if len(point) != 32:
        raise InvalidKeys(f"key {str(key.get('kid', ''))[:100]!r}: `x` is no Ed25519 point; {_CURE}")
    return point


def _pem(path: Path, data: bytes) -> Keys:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidKeys(f"{path}: no public key in PEM; {_CURE}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise InvalidKeys(f"{path}: the key is of another kind; {_CURE}")
    verify = _verify(key.public_bytes_raw())
    return lambda _: verify


def _verify(point: bytes) -> Verify:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    key = Ed25519PublicKey.from_public_bytes(point)

    def verify(message: bytes, signature: bytes) -> bool:
        try:
            key.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    return verify
