"""Who was sent text messages at which number: a reply names the number alone. Numbers are kept as keyed hashes."""

from base64 import b64decode
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final, Protocol

from consumers.actions.references import Reference

OWNERS_MAX: Final = 20  # who share one number


class AddressBook(Protocol):
    """Remembers the last message to each address and customer. Both raise OSError or TimeoutError while it is away."""

    async def remember(self, reference: Reference) -> None:
        """Before the message is sent. Does nothing for a reference without an address."""

    async def find(self, channel: str, address_hash: str) -> Sequence[Reference]:
        """The last message to each customer at this address, the newest first, at most OWNERS_MAX."""


def pseudonyms(channel: str, address_hash: str, keys: str) -> list[bytes]:
    """What stands for an address in the book, by each key, the sealing one first.

    There are few enough numbers to hash them all: without the key a book that leaks would tell whose they are.
    """
    text = f"{channel}\0{address_hash}".encode()
    return [
        blake2b(text, digest_size=32, key=b64decode(key)[:64], person=b"journeys.address").digest()
        for key in keys.split()
    ]
