"""Tokens of providers, kept until shortly before they end; and the signed claims they are asked for with."""

import asyncio
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_private_key

Fetch = Callable[[], Awaitable[tuple[str, int]]]
_P256_BYTES = 32


class AccessTokens:
    """A runner's tokens by name. One caller fetches, the others wait for it."""

    def __init__(self) -> None:
        self._tokens: dict[str, tuple[str, int]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def get(self, name: str, now_ms: int, fetch: Fetch) -> str:
        """The token; `fetch` gives a new one and until when (ms) it may be used. Raises what `fetch` raises."""
        async with self._locks.setdefault(name, asyncio.Lock()):
            token, until_ms = self._tokens.get(name, ("", 0))
            if not token or now_ms >= until_ms:
                token, until_ms = await fetch()
                self._tokens[name] = (token, until_ms)
            return token

    def drop(self, name: str, token: str) -> None:
        """Forgets a token that was refused; a newer one of the same name stays."""
        if self._tokens.get(name, ("", 0))[0] == token:
            del self._tokens[name]


def signed_claims(pem: str, header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    """A compact JWS: RS256 with an RSA key, ES256 with a P-256 key. Raises ValueError for any other key."""
    key = load_pem_private_key(pem.encode(), None)
    if isinstance(key, rsa.RSAPrivateKey):
        text = _joined({**header, "alg": "RS256"}, claims)
        return f"{text}.{_base64(key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        text = _joined({**header, "alg": "ES256"}, claims)
        r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{_base64(r.to_bytes(_P256_BYTES, 'big') + s.to_bytes(_P256_BYTES, 'big'))}"
    raise ValueError("the key is neither RSA nor P-256")


def _joined(header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    return f"{_base64(orjson.dumps({**header, 'typ': 'JWT'}))}.{_base64(orjson.dumps(dict(claims)))}"


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
