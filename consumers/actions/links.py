"""Tokens in links that come back to us: sealed, so that a URL shows nothing of whom it is about, nor can be made up.

AES-SIV needs no nonce: the same link for the same message each time, and no chance for a repeated nonce to hurt.
"""

from base64 import b64decode, urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Callable
from hashlib import blake2b

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from msgspec import Struct

from orchestrator.core.addresses import CUSTOMER, RESOURCE, Owner, customer, resource
from orchestrator.core.errors import Malformed, OrchestratorError

TOKEN_CHARS_MAX = 4_000  # an address of 2,000 characters and a message fit
_UNSUBSCRIBE = b"unsubscribe.v1"
OWNERS: dict[str, Callable[[str, str], Owner]] = {CUSTOMER: customer, RESOURCE: resource}


class InvalidToken(OrchestratorError):
    """A token that none of our keys sealed for this purpose."""


class Subscription(Struct, frozen=True):
    """What an unsubscribe link ends: messages of one channel to one customer. `template` is the mail it was in."""

    owner: Owner
    channel: str
    template: str = ""


def make_token(subscription: Subscription, keys: str) -> str:
    """The token of an unsubscribe link. `keys` as in LinkSettings; the first one seals."""
    owner = subscription.owner
    fields = (owner.organization, owner.scope, owner.id, subscription.channel, subscription.template)
    return seal(_UNSUBSCRIBE, fields, keys)


def read_token(token: str, keys: str) -> Subscription:
    """Whom an unsubscribe link is about. Raises InvalidToken."""
    fields = unseal(_UNSUBSCRIBE, token, keys)
    try:
        organization, scope, identity, channel, template = fields
        owner = OWNERS[scope](organization, identity)
        return Subscription(owner, channel, template)
    except (KeyError, ValueError, Malformed):
        raise InvalidToken("not a subscription") from None


def seal(purpose: bytes, fields: tuple[str, ...], keys: str) -> str:
    """A token of these fields, none of which holds a NUL; good for this purpose alone."""
    sealed = _ciphers(keys)[0].encrypt("\x00".join(fields).encode(), [purpose])
    return urlsafe_b64encode(sealed).rstrip(b"=").decode()


def unseal(purpose: bytes, token: str, keys: str) -> list[str]:
    """The fields of a token. Raises InvalidToken."""
    if len(token) > TOKEN_CHARS_MAX or not token.isascii():
        raise InvalidToken("too long, or not of our alphabet")
    try:
        sealed = urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except (Base64Error, ValueError):
        raise InvalidToken("not of our alphabet") from None
    for cipher in _ciphers(keys):
        try:
            return cipher.decrypt(sealed, [purpose]).decode().split("\x00")
        except (InvalidTag, ValueError):
            continue
    raise InvalidToken("sealed by none of our keys")


def _ciphers(keys: str) -> list[AESSIV]:
    digests = (
        blake2b(b64decode(key), digest_size=64, person=b"journeys.links").digest() for key in keys.split()
    )
    return [AESSIV(digest) for digest in digests]
