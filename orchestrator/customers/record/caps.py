"""How many contacts a customer may have: caps over windows of time, and when one of them frees."""

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

ANY: Final = "any"
"""The channel of a cap that counts contacts by every channel."""


class Cap(Struct, frozen=True):
    """At most `limit` contacts in any span of `per_ms`."""

    channel: str
    per_ms: int
    limit: int
    per: str  # as the document writes it


class Contact(Struct, frozen=True):
    """A contact that counts: when (lane time), and which stream asked for it under which reference."""

    at_ms: int
    stream: str
    reference: str


class Over(Struct, frozen=True):
    """A cap that is used up: how many contacts count now, and when every cap will permit another."""

    cap: Cap
    counted: int
    free_at_ms: int


Contacts = Mapping[str, tuple[Contact, ...]]
"""By channel, oldest first."""


def caps_of(caps: Sequence[Cap], channel: str) -> tuple[Cap, ...]:
    """Those that limit contacts by a channel."""
    return tuple(cap for cap in caps if cap.channel in {channel, ANY})


def over(caps: Sequence[Cap], contacts: Contacts, now_ms: int) -> Over | None:
    """The cap that would be passed by one more contact now and that frees last; None if all permit it.

    A contact counts until its span is over: from then on, another may take its place.
    """
    found: Over | None = None
    for cap in caps:
        channels = contacts.values() if cap.channel == ANY else (contacts.get(cap.channel, ()),)
        times = sorted(one.at_ms for own in channels for one in own if one.at_ms > now_ms - cap.per_ms)
        if len(times) < cap.limit:
            continue
        free_at_ms = times[len(times) - cap.limit] + cap.per_ms
        if found is None or free_at_ms > found.free_at_ms:
            found = Over(cap, len(times), free_at_ms)
    return found


def with_contact(
    contacts: Contacts, channel: str, contact: Contact, window_ms: int
) -> dict[str, tuple[Contact, ...]]:
    """With one more contact, without those of its channel that no cap counts any more."""
    kept = [one for one in contacts.get(channel, ()) if one.at_ms > contact.at_ms - window_ms]
    return {**contacts, channel: (*kept, contact)}


def without(contacts: Contacts, stream: str, reference: str) -> dict[str, tuple[Contact, ...]]:
    """Without the contact a stream asked for under a reference."""
    left = {
        channel: tuple(one for one in own if (one.stream, one.reference) != (stream, reference))
        for channel, own in contacts.items()
    }
    return {channel: own for channel, own in left.items() if own}


def channel_of(contacts: Contacts, stream: str, reference: str) -> str | None:
    """The channel of a counted contact; None if it doesn't count."""
    for channel, own in contacts.items():
        if any((one.stream, one.reference) == (stream, reference) for one in own):
            return channel
    return None
