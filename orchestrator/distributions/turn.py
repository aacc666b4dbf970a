"""One decision of a distribution while it grows: its events, and the few timers that they call for.

A timer is armed when something is due earlier than it; it is left alone when that moves away. Then it fires in vain
once, and that is told: every firing leaves TimerArmed or TimerCancelled, so the state always knows each timer's row.
"""

from collections.abc import Iterable, Mapping

from orchestrator.core.events import Event, TimerArmed, TimerCancelled


class Turn:
    """Events of a decision. `fired` names the timer whose firing is decided: it is no longer armed."""

    def __init__(self, armed: Mapping[str, int], fired: str = "") -> None:
        self.events: list[Event] = []
        self._armed = armed
        self._fired = fired
        self._set: dict[str, int] = {}  # by this decision

    def add(self, event: Event) -> None:
        self.events.append(event)

    def extend(self, events: Iterable[Event]) -> None:
        """Add some events."""
        for event in events:
            self.add(event)

    def want(self, timer: str, at_ms: int | None) -> None:
        """Something is due at `at_ms` (None: nothing is): the timer must not come later."""
        if at_ms is None:
            return
        armed = self._set.get(timer, None if timer == self._fired else self._armed.get(timer))
        if armed is None or at_ms < armed:
            self._set[timer] = at_ms

    def done(self) -> list[Event]:
        """All events, the timers' last."""
        self.events += [TimerArmed(timer, at_ms) for timer, at_ms in self._set.items()]
        if self._fired and self._fired not in self._set:
            self.events.append(TimerCancelled(self._fired))
        return self.events


def keep_armed(armed: dict[str, int], event: Event) -> bool:
    """Note in `armed` what an event says about timers; False when it says nothing."""
    match event:
        case TimerArmed(timer=timer, due_ms=due_ms):
            armed[timer] = due_ms
        case TimerCancelled(timer=timer):
            armed.pop(timer, None)
        case _:
            return False
    return True
