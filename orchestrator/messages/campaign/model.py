"""A compiled campaign: what it sends by each channel, and when it may."""

from collections.abc import Mapping
from datetime import datetime
from hashlib import blake2b
from typing import Any

from msgspec import Struct


class Part(Struct, frozen=True):
    """What a channel sends. `version` of the template; None: the newest."""

    template: str
    version: int | None = None


class Campaign(Struct, frozen=True):
    """`parts` by channel, `channel`'s own among them. Instants in ms since 1970; 0: no bound."""

    id: str
    channel: str
    parts: dict[str, Part]
    variables: dict[str, Any] = {}
    from_ms: int = 0
    until_ms: int = 0


def compile_document(document: Mapping[str, Any]) -> Campaign:
    """The campaign of a document without errors."""
    parts = {name: _part(one) for name, one in document.get("alternatives", {}).items()}
    parts[document["channel"]] = _part(document)
    active = document.get("active", {})
    return Campaign(
        id=document["id"],
        channel=document["channel"],
        parts=parts,
        variables=document.get("variables", {}),
        from_ms=instant_ms(active["from"]) if "from" in active else 0,
        until_ms=instant_ms(active["until"]) if "until" in active else 0,
    )


def instant_ms(text: str) -> int:
    """An ISO 8601 instant with its zone, in ms. Raises ValueError."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("the zone is missing")
    return round(found.timestamp() * 1000)


def execution(key: str) -> str:
    """The id of one customer's message of a campaign: the same for every attempt under one idempotency key."""
    return blake2b(key.encode(), digest_size=12, person=b"campaign").hexdigest()


def _part(one: Mapping[str, Any]) -> Part:
    return Part(one["template"], one.get("version"))
