"""What every action provider shares: the request, its two kinds of ending, and the tools it may use."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from aiohttp import ClientSession
from msgspec import Struct

from orchestrator.core.addresses import Stream
from orchestrator.effect_settings import EffectSettings

Headers = Sequence[tuple[str, bytes]]


class ActionParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all parameters. `at_most_once`: never repeat the call, even if its result may get lost."""

    at_most_once: bool = False


Scalar = str | int | float | bool | None
"""What a header or a key may be rendered to."""


def text(value: Scalar) -> str:
    """A rendered scalar as a header or key shows it: `true`, `3`, and "" for null."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
    return str(value)


class EffectRequest(Struct, frozen=True):
    """One attempt at one effect. `idempotency_key` is the same for all attempts; `params` are rendered."""

    stream: Stream
    effect: str
    attempt: int
    action: str  # its name in the definition
    type: str  # the provider
    params: dict[str, Any]
    timeout_ms: int
    idempotency_key: str
    private: frozenset[str] | None = None  # the names of params that hold personal data; None: nobody said
    traceparent: str = ""
    tracestate: str = ""

    @property
    def id(self) -> str:
        """The attempt's own id, which is also the id of the command that answers it."""
        return f"{self.stream.text}/{self.effect}/{self.attempt}"

    @property
    def trace_headers(self) -> Headers:
        """W3C trace context as Kafka headers; empty without one."""
        pairs = (("traceparent", self.traceparent), ("tracestate", self.tracestate))
        return tuple((name, value.encode()) for name, value in pairs if value)


class Done(Struct, frozen=True):
    """The provider confirmed the effect; `result` is what the journey may read of its answer."""

    result: dict[str, Any] = {}


class Failed(Struct, frozen=True):
    """The effect wasn't confirmed. `error` is a stable snake_case word, `detail` is free of data.

    `in_doubt`: it may have happened all the same (an answer that never came).
    """

    error: str
    detail: str = ""
    retryable: bool = False
    retry_after_ms: int | None = None
    in_doubt: bool = False


class Deferred(Struct, frozen=True):
    """Somebody else answers the journey: the stream to which the provider sent a command with `ce_replyto`."""


Ending = Done | Failed | Deferred


class Produce(Protocol):
    """Sends one record and waits for its acknowledgement; raises KafkaError or TimeoutError."""

    def __call__(
        self, topic: str, *, key: bytes | None, value: bytes, headers: Headers
    ) -> Awaitable[None]: ...


class Context(Struct, frozen=True):
    """The tools of a runner: a guarded HTTP session, a producer, a clock (ms since the epoch), settings.

    `commands_topic` is where the actions publish that are commands to other journeys of the same customer.
    """

    settings: EffectSettings
    internal_topics: frozenset[str]
    http: ClientSession
    produce: Produce
    now_ms: Callable[[], int]
    commands_topic: str = "journeys.commands"


P_contra = TypeVar("P_contra", bound=ActionParams, contravariant=True)


class Provider(Protocol[P_contra]):
    """One kind of action."""

    @property
    def name(self) -> str:
        """Its `type` in definitions."""

    @property
    def idempotent(self) -> bool:
        """Whether a repeated call is harmless, because it carries the idempotency key."""

    @property
    def params(self) -> type[Any]:
        """Its ActionParams."""

    async def perform(self, request: EffectRequest, params: P_contra, context: Context) -> Ending:
        """One call. Ends with Done or Failed; what it raises becomes `provider_error`. Cancelled at its timeout."""


def rfc3339(time_ms: int) -> str:
    """A time as CloudEvents write it, in UTC with milliseconds."""
    return (
        datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )
