"""Facts every kind of journey shares. Names are stable and versioned; class paths never reach a log.

A field called `private` holds personal data: it is stored encrypted under its customer's key and never
leaves on an outgoing topic.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from msgspec import Struct
from msgspec.structs import replace


class Told(Struct, frozen=True, gc=False):
    """A command from one stream to another: `stream` is the receiver's text form, `type` and `data` as on the topic."""

    stream: str
    type: str
    data: dict[str, Any] = {}


class Event(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Base of all domain events; `NAME` is what the log stores.

    `TELLS`: it carries commands to other streams, which the publisher sends; each is decided once.
    `timers`: armed by it, with when each is due (ms, lane time), and cancelled by it (None).
    `unpins`: after it the stream is decided by the newest version of its definition, until another JourneyStarted.
    """

    NAME: ClassVar[str] = ""
    TELLS: ClassVar[bool] = False
    timers: dict[str, int | None] | None = None
    unpins: bool = False

    def tells(self) -> Sequence[Told]:
        """The commands it carries, always the same ones in the same order."""
        return ()


class CommandRejected(Event, frozen=True):
    """A rule said no; the stream remembers the key so that a repeat gets the same answer."""

    NAME: ClassVar[str] = "journey.command_rejected.v1"
    rule: str
    inputs: dict[str, Any] = {}


class CommandIgnored(Event, frozen=True):
    """Nothing to do, on purpose: a late timer, an effect's second answer, a command without consequence."""

    NAME: ClassVar[str] = "journey.command_ignored.v1"
    reason: str


class JourneyStarted(Event, frozen=True):
    """The journey exists from here on, pinned to this version of its definition."""

    NAME: ClassVar[str] = "journey.started.v1"
    definition_version: int
    at_ms: int
    context: dict[str, Any] = {}
    private: dict[str, Any] = {}


class TimerArmed(Event, frozen=True):
    """A command comes back at `due_ms` (lane time) unless the timer is re-armed or cancelled; an event about that alone."""

    NAME: ClassVar[str] = "journey.timer_armed.v1"
    timer: str
    due_ms: int


class TimerCancelled(Event, frozen=True):
    """The timer's command won't come; an event about that alone."""

    NAME: ClassVar[str] = "journey.timer_cancelled.v1"
    timer: str


class EffectRequested(Event, frozen=True):
    """Something outside has to happen once; its result comes back as a command naming `effect` and `attempt`.

    `effect` is unique in its stream; `suppressed` says that a backfill recorded it without performing it.
    """

    NAME: ClassVar[str] = "journey.effect_requested.v1"
    effect: str
    action: str  # the name in the definition
    type: str  # the provider: webhook, publish, log ...
    params: dict[str, Any]
    attempt: int = 1
    timeout_ms: int = 10_000
    suppressed: bool = False
    private: dict[str, Any] = {}


class EffectSucceeded(Event, frozen=True):
    """The provider confirmed the effect."""

    NAME: ClassVar[str] = "journey.effect_succeeded.v1"
    effect: str
    attempt: int
    result: dict[str, Any] = {}


class EffectFailed(Event, frozen=True):
    """The effect won't be tried again; `error` is the provider's or the engine's stable word for why."""

    NAME: ClassVar[str] = "journey.effect_failed.v1"
    effect: str
    attempt: int
    error: str
    detail: str = ""
    unknown: bool = False  # the call may have happened: its result never came back
    result: dict[str, Any] = {}  # what the provider said beside the error, such as that an address is dead


class CommandSent(Event, frozen=True):
    """A command to another stream. What is personal in its data is kept in `private`; the topic carries both."""

    NAME: ClassVar[str] = "journey.command_sent.v1"
    TELLS: ClassVar[bool] = True
    stream: str
    type: str
    data: dict[str, Any] = {}
    private: dict[str, Any] = {}

    def tells(self) -> Sequence[Told]:
        """The one command."""
        return (Told(self.stream, self.type, self.data | self.private),)


_NONE: Mapping[str, int | None] = {}


def timers_of(event: Event) -> Mapping[str, int | None]:
    """The timers an event arms, with when each is due, and those it cancels (None)."""
    kind = type(event)
    if kind is TimerArmed:
        return {event.timer: event.due_ms, **(event.timers or _NONE)}  # type: ignore[attr-defined]
    if kind is TimerCancelled:
        return {event.timer: None, **(event.timers or _NONE)}  # type: ignore[attr-defined]
    return event.timers or _NONE


def with_timers(events: list[Event], timers: Mapping[str, int | None]) -> None:
    """Let the last of these events, which there has to be, arm and cancel these timers as well."""
    if timers:
        last = events[-1]
        events[-1] = replace(last, timers={**(last.timers or {}), **timers})


SHARED_EVENTS: tuple[type[Event], ...] = (
    CommandRejected,
    CommandIgnored,
    JourneyStarted,
    TimerArmed,
    TimerCancelled,
    EffectRequested,
    EffectSucceeded,
    EffectFailed,
    CommandSent,
)
