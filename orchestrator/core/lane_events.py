"""What a lane writes about itself into its own stream: everything that happened to messages no journey owns."""

from typing import Any, ClassVar

from msgspec import Struct

from orchestrator.core.events import Event
from orchestrator.core.messages import Outcome


class KafkaMessage(Struct, frozen=True, gc=False, omit_defaults=True):
    """A message as it stood on its topic. Bytes are base64 in JSON."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class BatchNoted(Event, frozen=True):
    """Outcomes of one batch that no journey's event tells: duplicates and key conflicts."""

    NAME: ClassVar[str] = "lane.batch_noted.v1"
    outcomes: tuple[Outcome, ...]
    traceparents: tuple[str | None, ...] = ()  # of the commands, one an outcome; empty when none carried any


class Forwarded(Event, frozen=True):
    """A message that came to the wrong lane (or is tried again); the publisher sends it on to `lane`, once more marked."""

    NAME: ClassVar[str] = "lane.forwarded.v1"
    lane: int
    hops: int
    source: str  # the producer whose partitioner is wrong, for the counter
    private: dict[str, Any]  # the message, encrypted at rest
    dead_letter: str | None = None  # the dead letter this retries


class DeadLettered(Event, frozen=True):
    """A message that can't be decided, kept with its bytes and headers; `id` names it for retry and discard."""

    NAME: ClassVar[str] = "lane.dead_lettered.v1"
    id: str
    topic: str
    partition: int
    offset: int
    reason: str
    error: str
    source: str | None = None  # of the command, when it could be read
    command_id: str | None = None
    command_type: str | None = None
    subject: str | None = None
    private: dict[str, Any] = {}


class DeadLetterRetried(Event, frozen=True):
    """An operator sent a dead letter back to be decided again."""

    NAME: ClassVar[str] = "lane.dead_letter_retried.v1"
    id: str


class DeadLetterDiscarded(Event, frozen=True):
    """An operator gave a dead letter up, and why."""

    NAME: ClassVar[str] = "lane.dead_letter_discarded.v1"
    id: str
    reason: str


class Rebased(Event, frozen=True):
    """Reading of a topic restarts elsewhere, because it isn't the log it was; keys make reading again safe."""

    NAME: ClassVar[str] = "lane.rebased.v1"
    topic: str
    was_at: int
    resumes_after: int
    reason: str


class LanePaused(Event, frozen=True):
    """An operator paused the lane: nothing is decided and no timer fires until it is resumed."""

    NAME: ClassVar[str] = "lane.paused.v1"
    reason: str = ""


class LaneResumed(Event, frozen=True):
    """The lane decides again."""

    NAME: ClassVar[str] = "lane.resumed.v1"


LANE_EVENTS: tuple[type[Event], ...] = (
    BatchNoted,
    Forwarded,
    DeadLettered,
    DeadLetterRetried,
    DeadLetterDiscarded,
    Rebased,
    LanePaused,
    LaneResumed,
)
