"""Amazon SNS over HTTPS: who signed a message, and the handshake that begins a subscription.

Checked: the topic is one of ours, before anything is fetched; the certificate comes by https from a host of SNS itself
and is valid now; the signature (SHA-1 or SHA-256 with RSA, as the topic is set) covers the fields that SNS documents; the
message isn't older than SNS goes on trying. A subscription is confirmed by fetching its address, from those hosts alone.
Fetching goes through the guard of webhooks: public addresses, no redirects.
"""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import structlog
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from msgspec import Struct

from consumers.actions.guard import AddressRefused
from consumers.callbacks.adapter import Received, Tools, is_recent
from consumers.callbacks.errors import Forged, Unavailable, Unreadable

CERTIFICATES_MAX: Final = 16
_HOST: Final = re.compile(r"https://sns\.[a-z0-9-]{3,40}\.amazonaws\.com(\.cn)?/[!-~]{1,2000}")
_CERTIFICATE: Final = re.compile(r"https://[a-z0-9.-]+/[A-Za-z0-9_-]{1,200}\.pem")
_SIGNED: Final = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": (
        *("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    ),
    "UnsubscribeConfirmation": (
        *("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    ),
}
_log = structlog.get_logger("callbacks")


class SnsMessage(Struct, frozen=True, rename="pascal"):
    """What SNS posts. Names that differ from the rule are spelt out."""

    type: str
    message: str
    message_id: str
    timestamp: str
    topic_arn: str
    signature: str
    signature_version: str
    signing_cert_url: str = msgspec.field(name="SigningCertURL")
    subject: str | None = None
    token: str | None = None
    subscribe_url: str | None = msgspec.field(name="SubscribeURL", default=None)


class _Certificate(Struct, frozen=True):
    key: RSAPublicKey
    after_ms: int
    before_ms: int


class Sns:
    """Keeps the few certificates it has seen."""

    def __init__(self) -> None:
        self._certificates: OrderedDict[str, _Certificate] = OrderedDict()

    async def notification(self, received: Received, tools: Tools) -> str | None:
        """The text of a verified notification; None once a handshake is dealt with. Raises TurnedAway."""
        try:
            raw = msgspec.json.decode(received.body, type=dict[str, Any])
            message = msgspec.convert(raw, SnsMessage)
        except (msgspec.MsgspecError, RecursionError):
            raise Forged from None
        if message.topic_arn not in tools.settings.ses_topics or message.type not in _SIGNED:
            raise Forged
        await self._verify(message, raw, received.now_ms, tools)
        if message.type == "Notification":
            return message.message
        if message.type == "SubscriptionConfirmation":
            await _confirm(message, tools)
        else:
            _log.warning("callbacks.sns_unsubscribed", topic=message.topic_arn)
        return None

    async def _verify(self, message: SnsMessage, raw: dict[str, Any], now_ms: int, tools: Tools) -> None:
        certificate = await self._certificate(message.signing_cert_url, tools)
        if not certificate.after_ms <= now_ms <= certificate.before_ms:
            raise Forged
        algorithm = {"1": SHA1(), "2": SHA256()}.get(message.signature_version)  # noqa: S303  the topic's choice
        if algorithm is None:
            raise Forged
        names = [name for name in _SIGNED[message.type] if raw.get(name) is not None]
        text = "".join(f"{name}\n{raw[name]}\n" for name in names)
        try:
            certificate.key.verify(
                b64decode(message.signature, validate=True), text.encode(), PKCS1v15(), algorithm
            )
            sent_ms = int(datetime.fromisoformat(message.timestamp).timestamp() * 1_000)
        except (InvalidSignature, Base64Error, ValueError):
            raise Forged from None
        if not is_recent(sent_ms, now_ms):
            raise Forged

    async def _certificate(self, url: str, tools: Tools) -> _Certificate:
        if not _HOST.fullmatch(url) or not _CERTIFICATE.fullmatch(url):
            raise Forged
        found = self._certificates.get(url)
        if found is None:
            found = _read(await _fetched(url, tools))
            self._certificates[url] = found
            if len(self._certificates) > CERTIFICATES_MAX:
                self._certificates.popitem(last=False)
        return found


def _read(pem: bytes) -> _Certificate:
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        key = certificate.public_key()
    except ValueError:
        raise Unavailable from None  # what was fetched is no certificate: another try may fare better
    if not isinstance(key, RSAPublicKey):
        raise Forged
    after, before = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return _Certificate(key, _ms(after), _ms(before))


def _ms(moment: datetime) -> int:
    return int(moment.astimezone(UTC).timestamp() * 1_000)


async def _confirm(message: SnsMessage, tools: Tools) -> None:
    if message.subscribe_url is None or not _HOST.fullmatch(message.subscribe_url):
        raise Unreadable("SubscribeURL isn't an address of SNS")
    await _fetched(message.subscribe_url, tools)
    _log.info("callbacks.sns_subscribed", topic=message.topic_arn)


async def _fetched(url: str, tools: Tools) -> bytes:
    try:
        return await tools.fetch(url)
    except AddressRefused:
        raise Forged from None
    except (OSError, TimeoutError) as error:
        raise Unavailable from error
