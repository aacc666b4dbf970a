"""Addresses as suppressions know them: normalised, then hashed, so that a suppression holds no address."""

import re
from hashlib import sha256
from typing import Final

HASH: Final = r"^[0-9a-f]{64}$"
_PHONE_CHANNELS = frozenset({"sms", "whatsapp", "voice", "rcs"})
_PHONE_FILL = re.compile(r"[\s().\-/]")


def normalise(channel: str, address: str) -> str:
    """What is compared: e-mail addresses in small letters, phone numbers without the signs people put between."""
    address = address.strip()
    if channel == "email":
        return address.lower()
    if channel in _PHONE_CHANNELS:
        return _PHONE_FILL.sub("", address)
    return address


def address_hash(channel: str, address: str) -> str:
    """SHA-256 of the normalised address (UTF-8), in hexadecimal. Whoever has the address can compute it."""
    return sha256(normalise(channel, address).encode()).hexdigest()
