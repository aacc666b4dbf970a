"""What happens to a lifecycle journey, beside the events every kind shares."""

from typing import Any, ClassVar

from orchestrator.core.events import Event


class Moved(Event, frozen=True):
    """The journey changed its state; `transition` names the place in the definition that said so."""

    NAME: ClassVar[str] = "lifecycle.moved.v1"
    from_state: str
    to_state: str
    trigger: str  # the event type, or `after` for inactivity
    transition: str  # JSON Pointer into the definition
    last_event_ms: int
    set: dict[str, Any] = {}  # context paths and their new values
    inputs: dict[str, Any] = {}  # what the conditions read
    refused: tuple[str, ...] = ()  # transitions tried before whose conditions said no
    private: dict[str, Any] = {}


class EventNoted(Event, frozen=True):
    """An event arrived and the state stayed; `lastEventAt` moved, and perhaps values of the context."""

    NAME: ClassVar[str] = "lifecycle.event_noted.v1"
    trigger: str
    last_event_ms: int
    transition: str = ""  # of an internal transition that was taken
    set: dict[str, Any] = {}
    inputs: dict[str, Any] = {}
    refused: tuple[str, ...] = ()
    private: dict[str, Any] = {}


class ContextSet(Event, frozen=True):
    """A service set values of the context; that is no activity of the customer."""

    NAME: ClassVar[str] = "lifecycle.context_set.v1"
    set: dict[str, Any] = {}
    private: dict[str, Any] = {}


class Reset(Event, frozen=True):
    """The journey is back at its beginning; unanswered effects are forgotten."""

    NAME: ClassVar[str] = "lifecycle.reset.v1"
    state: str
    last_event_ms: int
    context: dict[str, Any]
    private: dict[str, Any] = {}


class Destroyed(Event, frozen=True):
    """Nothing is left of the journey but the keys of its commands."""

    NAME: ClassVar[str] = "lifecycle.destroyed.v1"
