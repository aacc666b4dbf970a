"""What travels: commands in, outcomes out. Times are milliseconds since the epoch, UTC."""

from typing import Any, Literal

from msgspec import Struct

from orchestrator.core.addresses import Owner, Stream

ENGINE_SOURCE = "engine/"
"""Sources starting with this are made by the engine: their repeats are never compared, the first wins."""

TELLING_SOURCE = "engine/streams"
"""Of commands one stream tells another; their id is `sender's text/version of the event/index`."""

OutcomeKind = Literal["applied", "rejected", "ignored", "dead_lettered"]


class Command(Struct, frozen=True, gc=False):
    """One idempotency-keyed request: (`source`, `id`) is its key within the stream that decides it.

    `stream` is None for a raw event of `owner`, which is decided against each definition that lists its type.
    """

    source: str
    id: str
    type: str
    owner: Owner
    stream: Stream | None
    data: dict[str, Any]
    time_ms: int | None = None  # when it occurred, by the producer; None: when it was appended
    reply_to: str | None = None
    backfill: bool = False
    traceparent: str | None = None
    tracestate: str | None = None

    @property
    def made_by_engine(self) -> bool:
        return self.source.startswith(ENGINE_SOURCE)


class Outcome(Struct, frozen=True, gc=False, omit_defaults=True):
    """What became of one command in one stream. `revision` is the stream's version after it."""

    outcome: OutcomeKind
    source: str
    id: str
    stream: str
    revision: int
    duplicate: bool = False
    reason: str | None = None
    detail: dict[str, Any] | None = None
