"""A compiled record document: what `decide` asks of it, looked up once at publishing."""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from orchestrator.customers.record.caps import Cap

JsonType = Literal["string", "integer", "number", "boolean", "array", "object"]


class Attribute(Struct, frozen=True):
    """One declared attribute. `max_length` is in characters of a text, in bytes of an array's or object's JSON."""

    type: JsonType
    pii: bool
    max_length: int


class MessageClass(Struct, frozen=True):
    """What messages have in common. `exempt`: no cap stops or counts them; `consent`: whether it is needed."""

    exempt: bool = False
    consent: bool = True


class Compiled(Struct, frozen=True):
    """The document in force."""

    attributes: Mapping[str, Attribute]
    keeps_unknown: bool  # undeclared attributes are kept, encrypted; else refused
    zone: str  # the attribute that holds the IANA zone; empty: none
    addresses: dict[str, str]  # channel to the attribute that holds its address
    tokens: dict[str, list[str]]  # channel to the platforms whose device tokens are its addresses
    events: Mapping[str, Mapping[str, tuple[str, ...]]]  # raw event type to attribute to path in the event
    caps: tuple[Cap, ...] = ()
    classes: Mapping[str, MessageClass] = {}
    capped: tuple[str, ...] = ()  # channels with a cap

    @property
    def channels(self) -> frozenset[str]:
        return frozenset((*self.addresses, *self.tokens))

    def is_personal(self, name: str) -> bool:
        """Whether an attribute is stored encrypted; one that isn't declared always is."""
        attribute = self.attributes.get(name)
        return attribute is None or attribute.pii
