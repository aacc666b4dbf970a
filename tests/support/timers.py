"""What events say of timers, kept as the engine keeps it."""

from collections.abc import Iterable

from orchestrator.core.events import Event, timers_of


def move_timers(timers: dict[str, int], event: Event) -> None:
    """Arm and cancel what the event arms and cancels; values are due times (ms)."""
    for name, due_ms in timers_of(event).items():
        if due_ms is None:
            timers.pop(name, None)
        else:
            timers[name] = due_ms


def cancelled(events: Iterable[Event]) -> list[str]:
    """The timers these events cancel, in their order."""
    return [name for event in events for name, due_ms in timers_of(event).items() if due_ms is None]
