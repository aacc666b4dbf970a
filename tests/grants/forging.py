"""Tokens as an attacker would write them, and a grant to write them about."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from orchestrator.grants.claims import Grant
from orchestrator.grants.keys import GrantKey, GrantKeys, generate
from orchestrator.grants.settings import GrantSettings
from orchestrator.grants.tokens import issue
from orchestrator.grants.validation import Expected

NOW_S = 1_700_000_000
SETTINGS = GrantSettings(
    issuer="https://grants.example.com", audience="shop.example.com", token_lifetime_s=600
)
EXPECTED = Expected(
    issuer="https://grants.example.com", audience="shop.example.com", organization="acme", clock_skew_s=30
)
GRANT = Grant(
    organization="acme",
    experience="shoes",
    sequence="vip",
    distribution="line",
    mechanism="queue",
    subject="anna",
    jti="0123456789abcdef01234567",
    expires_ms=(NOW_S + 300) * 1000 + 999,
)
KEY = generate(from_s=0)
KEYS = GrantKeys([KEY])
TOKEN = issue(GRANT, KEYS, SETTINGS, NOW_S)


def b64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def parts(token: str = TOKEN) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a token, unchecked."""
    header, payload, _ = token.split(".")
    return tuple(json.loads(urlsafe_b64decode(part + "==")) for part in (header, payload))  # type: ignore[return-value]


def signed(header: Any, payload: Any, key: GrantKey = KEY) -> str:
    """A token with a true signature over whatever header and payload (bytes, or JSON values)."""
    raw = [p if isinstance(p, bytes) else json.dumps(p).encode() for p in (header, payload)]
    text = ".".join(b64(part) for part in raw)
    assert key.key.private_key is not None
    return f"{text}.{b64(key.key.private_key.sign(text.encode()))}"


def with_header(key: GrantKey = KEY, **changes: Any) -> str:
    """The true token with other header members, signed anew."""
    header, claims = parts()
    return signed({n: v for n, v in {**header, **changes}.items() if v is not None}, claims, key)


def with_claims(**changes: Any) -> str:
    """The true token with other claims (None: without), signed anew."""
    header, claims = parts()
    return signed(header, {n: v for n, v in {**claims, **changes}.items() if v is not None})
