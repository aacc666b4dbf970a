"""The shape of every journey kind: parse, decide, evolve. All pure; facts come as arguments."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from orchestrator.core.addresses import Stream
from orchestrator.core.events import Event
from orchestrator.core.messages import TELLING_SOURCE


class Problem(Struct, frozen=True):
    """One thing wrong with a document: where (JSON Pointer), what, and what to do about it."""

    pointer: str
    message: str
    cure: str
    severity: str = "error"  # or "warning"


class Definition(Struct, frozen=True):
    """A published document of one version, with what its kind compiled from it at load."""

    kind: str
    id: str
    version: int
    document: dict[str, Any]
    compiled: Any
    listens: frozenset[str]  # raw event types that reach its journeys


class Facts(Struct, frozen=True, gc=False):
    """What a decision may know beside state and command. Times are ms since the epoch."""

    now_ms: int  # lane time, never going back
    occurred_ms: int  # when the command's cause occurred, by its producer; now_ms when unsaid
    stream: Stream
    definition: Definition  # pinned version of a running journey, newest for a new one
    version: int  # events in the stream so far; the first event of this decision becomes version + 1
    backfill: bool = False  # history being imported: effects are recorded as suppressed
    perform_effects: bool = True
    record: Mapping[
        str, Any
    ] = {}  # the customer's record as its kind shows it to flows; {} when there is none
    source: str = ""  # of the command, with `command_id` its idempotency key
    command_id: str = ""

    @property
    def teller(self) -> str:
        """The text of the stream that told this command; "" when somebody outside sent it."""
        return self.command_id.rsplit("/", 2)[0] if self.source == TELLING_SOURCE else ""


class TimerFired(Struct, frozen=True):
    """The engine's command when a timer of this stream is due. Its type is `timer.fired`."""

    timer: str
    due_ms: int


class EffectResult(Struct, frozen=True):
    """The effect runner's answer. Its type is `effect.succeeded`, `effect.failed` or `effect.unknown`."""

    effect: str
    attempt: int
    status: str  # succeeded | failed | unknown
    result: dict[str, Any] = {}
    error: str = ""
    detail: str = ""
    retryable: bool = False
    retry_after_ms: int | None = None


class JourneyKind(Protocol):
    """One kind of journey. State is None before the first event and after nothing is left of it.

    `decide` raises Rejected for a business no; whatever else it raises dead-letters the command. It must
    return at least one event. `parse` raises Malformed for data of the wrong shape and unknown types.
    `fold_version` rises whenever `evolve` or `dump` changes meaning: older snapshots are then ignored.
    """

    name: str
    reads_record: bool  # whether `decide` may look at `facts.record`: it is called again once that is there
    fold_version: int
    schema: Mapping[str, Any]  # JSON Schema (2020-12) of its documents

    @property
    def events(self) -> tuple[type[Event], ...]:
        """Its own events, beside core.events.SHARED_EVENTS."""

    def check(self, document: Mapping[str, Any]) -> Sequence[Problem]:
        """Every semantic problem of a document that already fits `schema`."""

    def compile(self, document: Mapping[str, Any]) -> Any:
        """What `decide` reads as `facts.definition.compiled`; called once per version and process."""

    def listens(self, document: Mapping[str, Any]) -> frozenset[str]:
        """The raw event types that reach (and may create) its journeys."""

    def parse(self, type: str, data: Mapping[str, Any]) -> Any:
        """The typed command of an addressed command's type and data."""

    def parse_raw(self, type: str, data: Mapping[str, Any]) -> Any:
        """The typed command for a raw event of a customer."""

    def decide(self, state: Any, command: Any, facts: Facts) -> Sequence[Event]:
        """The events that follow from a command (a parsed one, TimerFired or EffectResult)."""

    def evolve(self, state: Any, event: Event) -> Any:
        """The state after an event; never fails on an event it once produced, never reads a definition."""

    def deadline_ms(self, state: Any, timer: str) -> int | None:
        """When the timer is due by the state as it is now (None: no longer armed).

        Lets a deadline move without a row: a timer that is due in the table but later here is moved.
        """

    def label(self, state: Any) -> str:
        """The state's short name for lists and metrics, such as `CHECKOUT.PAYMENT`."""

    def dump(self, state: Any) -> dict[str, Any]:
        """JSON form of the state for snapshots; personal data only under the key `private`."""

    def load(self, data: Mapping[str, Any]) -> Any:
        """The state from its dump."""

    def view(self, state: Any) -> dict[str, Any]:
        """What the snapshots topic shows: no personal data, no rules."""
