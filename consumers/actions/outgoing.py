"""Commands that the effects process publishes on its own account, and their form on the wire. Pure."""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

import orjson
from msgspec import Struct

from consumers.actions.base import Headers, rfc3339
from orchestrator.core.addresses import Owner, Stream

RECORD_KIND: Final = "customer"
ID_CHARS_MAX: Final = 100


class Outgoing(Struct, frozen=True):
    """A command; `(source, id)` is its key. `time_ms` is when it occurred; repeats may say otherwise, `data` never."""

    stream: Stream
    type: str
    source: str
    id: str
    data: Mapping[str, Any]
    time_ms: int

    @property
    def key(self) -> bytes:
        return self.stream.owner.text.encode()

    @property
    def value(self) -> bytes:
        return orjson.dumps(self.data)

    @property
    def headers(self) -> Headers:
        return (
            ("ce_specversion", b"1.0"),
            ("ce_id", self.id.encode()),
            ("ce_source", self.source.encode()),
            ("ce_type", self.type.encode()),
            ("ce_subject", self.stream.text.encode()),
            ("ce_time", rfc3339(self.time_ms).encode()),
            ("content-type", b"application/json"),
        )


def command_id(word: str, *parts: str) -> str:
    """A short id that the same parts always give: `opened/3f…`."""
    digest = blake2b("\0".join(parts).encode(), digest_size=16, person=b"journeys.command")
    return f"{word[:ID_CHARS_MAX]}/{digest.hexdigest()}"


def record_stream(owner: Owner, record: str) -> Stream:
    """The stream of a customer's record; `record` is the id of a published `customer` document."""
    return Stream(owner, RECORD_KIND, record)
