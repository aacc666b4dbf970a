"""Settings of the callbacks' server: where it listens, whom it believes, and its bounds. No I/O."""

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key
from msgspec import Struct

from orchestrator.core.errors import ConfigurationError

PREFIX = "ORCHESTRATOR_CALLBACKS_"
_SECRET_BYTES_MIN = 24
_SECRETS = frozenset({"email_secret"})


class CallbackSettings(Struct, frozen=True, kw_only=True):
    """What isn't set makes its provider's page answer 404. Raises ConfigurationError; secrets are never shown."""

    host: str = "127.0.0.1"
    port: int = -1  # 0: any free port; -1: no server
    record: str = "profile"  # id of the `customer` document; "": there is none, and nobody is suppressed
    email_secret: str = ""  # whsec_…, several split by a space while rotating
    sendgrid_public_key: str = ""  # base64, as SendGrid shows it
    ses_topics: tuple[str, ...] = ()  # ARNs of the SNS topics that are believed
    trusted_proxies: tuple[str, ...] = ()  # CIDR blocks whose X-Forwarded-For counts
    max_body_bytes: int = 1_048_576
    max_events: int = 5_000  # in one callback
    request_timeout_s: float = 12.0  # providers give up after ten to fifteen
    produce_timeout_s: float = 5.0
    concurrency: int = 256  # requests at a time
    rate_per_s: float = 200.0  # of one address, over time: big mail services fetch pictures from few
    burst: int = 1_000  # of one address, at once

    def __post_init__(self) -> None:
        for secret in self.email_secret.split():
            _check_secret(secret)
        if self.sendgrid_public_key:
            sendgrid_key(self.sendgrid_public_key)
        for topic in self.ses_topics:
            if not topic.startswith("arn:") or len(topic.split(":")) != 6:
                raise ConfigurationError(
                    f"{PREFIX}SES_TOPICS: {topic[:100]!r} is no topic; write arn:aws:sns:region:account:name"
                )
        for block in self.trusted_proxies:
            try:
                ip_network(block)
            except ValueError:
                raise ConfigurationError(
                    f"{PREFIX}TRUSTED_PROXIES: {block[:60]!r} is no network; write 10.0.0.0/8"
                ) from None
        if self.rate_per_s <= 0 or self.burst < 1 or self.concurrency < 1:
            raise ConfigurationError(f"{PREFIX}RATE_PER_S, _BURST and _CONCURRENCY must be above 0")

    def __repr__(self) -> str:
        return f"CallbackSettings({', '.join(f'{n}={v!r}' for n, v in self.__rich_repr__())})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        values = ((name, getattr(self, name)) for name in self.__struct_fields__)
        return [(n, "***" if n in _SECRETS and value else value) for n, value in values]


def callbacks_from(environ: Mapping[str, str], **known: Any) -> CallbackSettings:
    """The settings in an environment; `known` are those that come from elsewhere. Raises ConfigurationError."""
    values: dict[str, Any] = {}
    for field in CallbackSettings.__struct_fields__:
        text = environ.get(f"{PREFIX}{field.upper()}", "")
        if not text or field in known:
            continue
        kind = CallbackSettings.__annotations__[field]
        given: Any = text.replace(",", " ").split() if kind == tuple[str, ...] else text
        try:
            values[field] = msgspec.convert(given, kind, strict=False)
        except msgspec.ValidationError as error:
            raise ConfigurationError(f"{PREFIX}{field.upper()}: {error}") from None
    return CallbackSettings(**values, **known)


def sendgrid_key(text: str) -> EllipticCurvePublicKey:
    """The key that SendGrid signs with. Raises ConfigurationError."""
    try:
        key = load_der_public_key(b64decode(text, validate=True))
    except (Base64Error, ValueError):
        key = None
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise ConfigurationError(
            f"{PREFIX}SENDGRID_PUBLIC_KEY: copy the verification key of SendGrid's signed event webhook"
        )
    return key


def _check_secret(secret: str) -> None:
    try:
        raw = b64decode(secret.removeprefix("whsec_"), validate=True)
    except (Base64Error, ValueError):
        raw = b""
    if not secret.startswith("whsec_") or len(raw) < _SECRET_BYTES_MIN:
        raise ConfigurationError(
            f"{PREFIX}EMAIL_SECRET: each secret is whsec_ and base64 of {_SECRET_BYTES_MIN} to 64 random bytes"
        )
