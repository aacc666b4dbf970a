"""Who may go on, and when: the few numbers of a queue that admission depends on, small enough to copy and try out.

The rate is a bucket of credit in whole numbers: each millisecond adds `rate_per_minute`, each admission costs CREDIT.
"""

from typing import Final

from msgspec import Struct

from orchestrator.core.events import Event
from orchestrator.distributions.admissions import (
    Granted,
    GrantRedeemed,
    GrantReturned,
    GrantRevoked,
    GrantsExpired,
)
from orchestrator.distributions.queue import events as happened
from orchestrator.distributions.queue.config import QueueConfig

AT_ONCE_MAX: Final = 1_000
"""Admissions or dismissals of one decision."""
CREDIT: Final = 60_000
TICK_MS: Final = 1_000
BURST_MS: Final = 5_000
"""Credit is saved up for so long at most: a lull, or a late timer, is no licence for a rush."""


class Flow(Struct):
    """Mutable; the state's own is changed by `apply` alone, a decision tries out on a copy."""

    config: QueueConfig
    phase: str  # scheduled, open, draining or closed
    credited_ms: int
    paused: bool = False
    shuffled: bool = False  # whether it was opened once: the pre-queue is over
    waiting: int = 0
    inside: int = 0
    credit: int = CREDIT
    ticked_ms: int = 0

    def credit_at(self, now_ms: int) -> int:
        """The credit at a time, in sixty-thousandths of an admission."""
        rate = self.config.rate_per_minute
        most = max(CREDIT, rate * BURST_MS)
        return min(most, self.credit + rate * max(0, now_ms - self.credited_ms))

    def room(self) -> int:
        """How many more may be inside."""
        limit = self.config.concurrent
        return max(0, limit - self.inside) if limit else self.waiting

    def admissible(self, now_ms: int) -> int:
        """How many of those waiting may go on now."""
        if self.phase not in {"open", "draining"} or self.paused:
            return 0
        by_rate = self.credit_at(now_ms) // CREDIT if self.config.rate_per_minute else AT_ONCE_MAX
        return min(self.waiting, self.room(), by_rate, AT_ONCE_MAX)

    def next_tick_ms(self, now_ms: int) -> int | None:
        """When there is something to do for those waiting; None while there isn't."""
        if not self.waiting or (self.paused and self.phase != "closed"):
            return None
        if self.phase == "closed":
            return now_ms
        if self.phase == "scheduled" or not self.room():
            return None
        if self.admissible(now_ms) == AT_ONCE_MAX:
            return now_ms
        rate, due_ms = self.config.rate_per_minute, now_ms
        if rate:
            due_ms = max(due_ms, self.credited_ms - (self.credit - CREDIT) // rate)
        return max(due_ms, self.ticked_ms + TICK_MS)

    def apply(self, event: Event) -> None:
        """The numbers after an event."""
        match event:
            case happened.QueueEntered():
                self.waiting += 1
            case Granted():
                self._admit(len(event.grants), event.at_ms)
            case GrantRedeemed():
                self.inside -= self.config.slot == "until_redeemed"
            case GrantRevoked() | GrantReturned():
                self.inside -= 1
            case GrantsExpired():
                self.inside -= len(event.grants)
            case happened.QueueSlotsFreed():
                self.inside -= len(event.participants)
            case happened.QueueCompleted():
                self.inside -= event.freed
            case happened.QueueLeft():
                self.inside -= event.inside
                self.waiting -= not event.inside
            case happened.QueuePlacesFreed() | happened.QueueDismissed():
                self.waiting -= len(event.participants)
            case _:
                self._turn(event)

    def _admit(self, count: int, at_ms: int) -> None:
        self._accrue(at_ms)
        self.credit = max(0, self.credit - count * CREDIT)
        self.ticked_ms = at_ms
        self.waiting -= count
        self.inside += count

    def _turn(self, event: Event) -> None:
        match event:
            case happened.QueueOpened():
                self._accrue(event.at_ms)
                self.credit = CREDIT
                self.phase, self.shuffled = "open", True
            case happened.QueuePaused():
                self.paused = True
            case happened.QueueResumed():
                self._accrue(event.at_ms)
                self.credit = min(self.credit, CREDIT)  # a pause saves nothing up
                self.paused = False
            case happened.QueueDraining():
                self.phase = "draining"
            case happened.QueueClosed():
                self.phase = "closed"
            case happened.QueueConfigured():
                self._accrue(event.at_ms)
                self.config = event.config

    def _accrue(self, at_ms: int) -> None:
        self.credit = self.credit_at(at_ms)
        self.credited_ms = max(self.credited_ms, at_ms)
