"""Who a command is for: owners (one customer, or one shared resource) and their streams.

Text forms, every segment percent-encoded before joining, so no two addresses can collide:
owner  `acme/c/customer-1` or `acme/r/queue-7`; stream  `acme/c/customer-1/lifecycle:shop[:run]`.
The owner's text is the Kafka key; its murmur2 hash names the lane.
"""

from functools import lru_cache
from urllib.parse import quote, unquote
from uuid import NAMESPACE_URL, UUID, uuid5

from msgspec import Struct
from msgspec.structs import force_setattr

from orchestrator.core.errors import Malformed

SEGMENT_MAX_BYTES = 128
_NAMESPACE = uuid5(NAMESPACE_URL, "journey-orchestrator/streams")
CUSTOMER = "c"
RESOURCE = "r"
LANE = "lane"
_MURMUR_SEED = 0x9747B28C
_M = 0x5BD1E995


class Owner(Struct, frozen=True):
    """The unit of order: all streams of one owner are decided in one lane, in arrival order."""

    organization: str
    scope: str  # CUSTOMER or RESOURCE
    id: str
    text: str = ""  # derived

    def __post_init__(self) -> None:
        force_setattr(self, "text", f"{_encode(self.organization)}/{self.scope}/{_encode(self.id)}")


class Stream(Struct, frozen=True):
    """One journey (or resource, or lane log): the sequence of events behind one aggregate."""

    owner: Owner
    kind: str
    definition: str
    run: str = ""
    text: str = ""  # derived
    id: UUID = UUID(int=0)  # derived: UUIDv5 of the text

    def __post_init__(self) -> None:
        run = f":{_encode(self.run)}" if self.run else ""
        text = f"{self.owner.text}/{self.kind}:{_encode(self.definition)}{run}"
        force_setattr(self, "text", text)
        force_setattr(self, "id", uuid5(_NAMESPACE, text))


@lru_cache(maxsize=65_536)
def customer(organization: str, customer_id: str) -> Owner:
    """The owner of a customer's journeys. Raises Malformed for ids that may not be used ('@' marks personal data)."""
    if "@" in customer_id:
        raise Malformed("customer ids are opaque: '@' is refused, publish an id instead of an e-mail address")
    return Owner(_segment("organization", organization), CUSTOMER, _segment("customer", customer_id))


def resource(organization: str, resource_id: str) -> Owner:
    """The owner of a resource shared by many customers."""
    return Owner(_segment("organization", organization), RESOURCE, _segment("resource", resource_id))


@lru_cache(maxsize=4_096)
def lane_stream(lane: int) -> Stream:
    """The lane's own stream: duplicates, conflicts, forwards, dead letters, rebases."""
    return Stream(Owner("", LANE, f"{lane:03d}"), LANE, "log")


@lru_cache(maxsize=65_536)
def stream_of(owner: Owner, kind: str, definition: str) -> Stream:
    """The stream of an owner's journey through a definition (the one without a run)."""
    return Stream(owner, kind, definition)


def stream_text(organization: str, scope: str, id: str, kind: str, definition: str) -> str:
    """The text of a stream without a run; making only that costs a fraction of making the stream."""
    return f"{_encode(organization)}/{scope}/{_encode(id)}/{kind}:{_encode(definition)}"


@lru_cache(maxsize=65_536)
def parse_owner(text: str) -> Owner:
    """The owner written as `organization/scope/id`. Raises Malformed, naming what is wrong."""
    parts = text.split("/")
    if len(parts) != 3:
        raise Malformed(f"owner {shown(text)} must read organization/c/customer or organization/r/resource")
    return _owner(parts)


@lru_cache(maxsize=65_536)
def parse_stream(text: str) -> Stream:
    """The stream written as `owner/kind:definition[:run]`. Raises Malformed, naming what is wrong."""
    parts = text.split("/")
    if len(parts) != 4:
        raise Malformed(f"subject {shown(text)} must read organization/c/customer/kind:definition[:run]")
    owner = _owner(parts[:3])
    tail = parts[3].split(":")
    if len(tail) not in (2, 3) or not all(tail):
        raise Malformed(f"subject {shown(text)} must end in kind:definition or kind:definition:run")
    run = _decode("run", tail[2]) if len(tail) == 3 else ""
    stream = Stream(owner, _decode("kind", tail[0]), _decode("definition", tail[1]), run)
    if stream.text != text:
        raise Malformed(
            f"subject {shown(text)} is not in canonical percent-encoding; expected {shown(stream.text)}"
        )
    return stream


@lru_cache(maxsize=65_536)
def lane_of(owner_text: str, lanes: int) -> int:
    """The lane of an owner: Kafka's default partitioner (murmur2 of the key, sign bit cleared) over `lanes`."""
    return (murmur2(owner_text.encode()) & 0x7FFFFFFF) % lanes


def murmur2(data: bytes) -> int:
    """32-bit murmur2 as Kafka's Java client computes it; unsigned."""
    length = len(data)
    h = (_MURMUR_SEED ^ length) & 0xFFFFFFFF
    whole = length - length % 4
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * _M & 0xFFFFFFFF
        k = (k ^ (k >> 24)) * _M & 0xFFFFFFFF
        h = (h * _M & 0xFFFFFFFF) ^ k
    if length % 4:
        h = (h ^ int.from_bytes(data[whole:], "little")) * _M & 0xFFFFFFFF
    h = (h ^ (h >> 13)) * _M & 0xFFFFFFFF
    return h ^ (h >> 15)


def is_personal(text: str) -> bool:
    """Whether an address that was refused may be somebody's e-mail address: then nothing shows or keeps it in clear."""
    return "@" in unquote(text) and f"/{RESOURCE}/" not in text


def shown(text: str) -> str:
    """A refused address, shortened, for messages."""
    return "with '@'" if is_personal(text) else repr(text[:200])


def _owner(parts: list[str]) -> Owner:
    organization, scope, identity = (
        _decode(n, p) for n, p in zip(("organization", "scope", "id"), parts, strict=True)
    )
    if scope == CUSTOMER:
        owner = customer(organization, identity)
    elif scope == RESOURCE:
        owner = resource(organization, identity)
    else:
        raise Malformed(f"scope {scope[:20]!r} is neither 'c' (customer) nor 'r' (resource)")
    if owner.text != "/".join(parts):
        raise Malformed(
            f"owner {shown('/'.join(parts))} is not in canonical percent-encoding; expected {shown(owner.text)}"
        )
    return owner


def _segment(name: str, value: str) -> str:
    if not value:
        raise Malformed(f"{name} is empty")
    if "\x00" in value:
        raise Malformed(f"{name} contains a NUL character")
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        raise Malformed(f"{name} is not valid Unicode text") from error
    if size > SEGMENT_MAX_BYTES:
        raise Malformed(f"{name} is {size} bytes long, more than {SEGMENT_MAX_BYTES}")
    return value


def _encode(value: str) -> str:
    return quote(value, safe="")


def _decode(name: str, value: str) -> str:
    try:
        return _segment(name, unquote(value, errors="strict"))
    except UnicodeDecodeError as error:
        raise Malformed(f"{name} is not valid UTF-8 in percent-encoding") from error
