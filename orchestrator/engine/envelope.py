"""What the log keeps beside each event: whose it is, which command caused it, when, and a digest to tell repeats."""

from typing import Any
from uuid import UUID

from msgspec import Struct

from orchestrator.core.addresses import LANE

DAY = "day/"  # + days since 1970: the subject of what a lane keeps of messages


class Envelope(Struct, frozen=True, gc=False, omit_defaults=True):
    """The stored JSON of one event. A command's events are contiguous: `index` of `count`."""

    stream: str
    source: str
    id: str
    digest: str
    at_ms: int  # lane time of the decision
    data: Any  # an Event; msgspec.Raw while reading
    type: str = ""  # of the command
    index: int = 0
    count: int = 1
    occurred_ms: int | None = None
    reply_to: str | None = None
    traceparent: str | None = None
    tracestate: str | None = None
    backfill: bool = False  # decided as history: what it tells others is history, too

    @property
    def owner_text(self) -> str:
        return self.stream.rsplit("/", 1)[0]

    @property
    def subject(self) -> str:
        """Whose key encrypts the private fields: the owner's, or the day's for what a lane keeps of messages."""
        owner = self.owner_text
        return f"{DAY}{self.at_ms // 86_400_000}" if owner.startswith(f"/{LANE}/") else owner


class Recorded(Struct, frozen=True, gc=False):
    """One event as it stands in the log of a lane."""

    position: int  # the library's notification id: gap-free, in commit order
    stream_id: UUID
    version: int
    name: str
    envelope: Envelope
    stored: bytes

    @property
    def event_id(self) -> str:
        return f"{self.envelope.stream}/{self.version}"
