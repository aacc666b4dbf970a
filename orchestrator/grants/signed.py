"""What every token of ours shares: one compact form, one algorithm, and a header that says what the token is for."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from typing import Any, Final, Literal

from joserfc import jws
from joserfc.errors import JoseError

from orchestrator.core.errors import OrchestratorError
from orchestrator.grants.claims import ALGORITHM, TOKEN_BYTES_MAX
from orchestrator.grants.keys import GrantKey, GrantKeys

FormReason = Literal["too_large", "malformed", "header", "algorithm", "type", "unknown_key", "signature"]
_HEADER_BYTES_MAX: Final = 512
_HEADER: Final = frozenset(("alg", "typ", "kid"))


class NotSigned(OrchestratorError):
    """A token whose form or signature doesn't count. `reason` is a stable word; the token isn't quoted."""

    def __init__(self, reason: FormReason) -> None:
        super().__init__(f"token refused ({reason})")
        self.reason: FormReason = reason


def signed(type_: str, payload: bytes, key: GrantKey) -> str:
    """The payload as a compact JWS of this `typ`, signed by a key with its private part."""
    header = {"alg": ALGORITHM, "typ": type_, "kid": key.kid}
    return jws.serialize_compact(header, payload, key.key, algorithms=[ALGORITHM])


def opened(token: str, type_: str, keys: GrantKeys, now_s: int) -> dict[str, Any]:
    """The object that a key which counts signed as a token of this `typ`; raises NotSigned. Claims aren't judged."""
    if len(token) > TOKEN_BYTES_MAX:
        raise NotSigned("too_large")
    parts = token.split(".")
    if len(parts) != 3:
        raise NotSigned("malformed")
    header = _object(_decoded(parts[0], _HEADER_BYTES_MAX))
    if header.get("alg") != ALGORITHM:  # first: nothing else in a token of another algorithm is of interest
        raise NotSigned("algorithm")
    if header.keys() != _HEADER:
        raise NotSigned("header")
    if header["typ"] != type_:
        raise NotSigned("type")
    key = keys.verifying(header["kid"], now_s) if isinstance(header["kid"], str) else None
    if key is None:
        raise NotSigned("unknown_key")
    payload = _decoded(parts[1], TOKEN_BYTES_MAX)
    _decoded(parts[2], TOKEN_BYTES_MAX)
    try:
        jws.deserialize_compact(token, key.key, algorithms=[ALGORITHM])
    except (JoseError, ValueError):
        raise NotSigned("signature") from None
    return _object(payload)


def _decoded(part: str, most: int) -> bytes:
    """The bytes of a base64url part in its one canonical spelling."""
    try:
        raw = urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (Base64Error, ValueError):
        raise NotSigned("malformed") from None
    if len(raw) > most or urlsafe_b64encode(raw).rstrip(b"=").decode() != part:
        raise NotSigned("malformed")
    return raw


def _object(raw: bytes) -> dict[str, Any]:
    """A JSON object whose members are there once: of two, one reader would take the first and one the last."""
    try:
        found = json.loads(raw.decode(), object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise NotSigned("malformed") from None
    if not isinstance(found, dict):
        raise NotSigned("malformed")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member is there twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(name)
