"""Journeys and the real distributions of an experience together: what one tells, the other hears. One clock, no servers."""

from collections import deque
from typing import Any

from orchestrator.core.addresses import Stream, parse_stream
from orchestrator.core.decider import Definition, EffectResult, Facts, TimerFired
from orchestrator.core.errors import Rejected
from orchestrator.core.events import (
    CommandRejected,
    Event,
    Told,
)
from orchestrator.core.messages import TELLING_SOURCE
from orchestrator.distributions import (
    access_code,
    appointment,
    auction,
    draw,
    queue,
    timed_release,
    waitlist,
)
from orchestrator.distributions.base import distribution_stream
from orchestrator.journeys.experience.kind import Experience
from orchestrator.journeys.experience.public import public_view
from orchestrator.journeys.experience.snapshot import snapshot
from tests.experience.world import definition
from tests.support.timers import move_timers

MECHANISMS = (
    queue.QUEUE,
    draw.DRAW,
    auction.AUCTION,
    timed_release.TIMED_RELEASE,
    appointment.APPOINTMENT,
    waitlist.WAITLIST,
)
KIND = Experience(MECHANISMS)
KINDS: dict[str, Any] = {
    KIND.name: KIND,
    access_code.ACCESS_CODES.name: access_code.ACCESS_CODES,
    **{mechanism.name: mechanism for mechanism in MECHANISMS},
}


class Aggregate:
    """One stream with its state, events and timers."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.kind = KINDS[stream.kind]
        self.state: Any = None
        self.events: list[Event] = []
        self.timers: dict[str, int] = {}


class Town:
    """Everybody who takes part."""

    def __init__(self, document: Any, now_ms: int) -> None:
        self.definition: Definition = definition(document, kind=KIND)
        self.now_ms = now_ms
        self.streams: dict[str, Aggregate] = {}
        self.commands = 0
        self.slow = False  # whether what is told waits for `deliver_one`
        self._told: dict[
            tuple[str, str], deque[tuple[str, Told]]
        ] = {}  # by sender and receiver, each in order

    def at(self, stream: str | Stream) -> Aggregate:
        text = stream if isinstance(stream, str) else stream.text
        return self.streams.setdefault(text, Aggregate(parse_stream(text)))

    def journey(self, customer: str) -> Aggregate:
        return self.at(f"acme/c/{customer}/experience:{self.definition.id}")

    def place(self, distribution: str) -> Aggregate:
        mechanism = self.definition.compiled.distributions[distribution].mechanism
        return self.at(distribution_stream("acme", self.definition.id, distribution, mechanism))

    def do(self, customer: str, type: str, source: str = "web", **data: Any) -> str:
        """A customer's command; the rule that rejected it, or nothing. Everything told by it is heard."""
        self.commands += 1
        journey = self.journey(customer)
        events = self._decide(journey, KIND.parse(type, data), source, f"c{self.commands}")
        self._deliver()
        first = events[0]
        return first.rule if isinstance(first, CommandRejected) else ""

    def operate(self, distribution: str, type: str, **data: Any) -> None:
        """An operator's or a server's command."""
        self.commands += 1
        place = self.place(distribution)
        self._decide(place, place.kind.parse(type, data), "shop/checkout", f"c{self.commands}")
        self._deliver()

    def answer(self, customer: str, need: str, **result: Any) -> None:
        """The provider confirms a proof."""
        journey = self.journey(customer)
        (effect,) = (one for one in journey.state.pending.values() if one.action == need)
        self._decide(
            journey, EffectResult(effect.effect, effect.attempt, "succeeded", result), "engine/effects", "e"
        )
        self._deliver()

    def until(self, at_ms: int) -> None:
        """Time passes for everybody; timers fire in order."""
        for _ in range(10_000):
            due = [
                (due_ms, text, timer)
                for text, one in self.streams.items()
                for timer, due_ms in one.timers.items()
            ]
            due = [one for one in due if one[0] <= at_ms]
            if not due:
                break
            due_ms, text, timer = min(due)
            self.now_ms = max(self.now_ms, due_ms)
            one = self.streams[text]
            deadline = one.kind.deadline_ms(one.state, timer)
            if deadline is None:
                del one.timers[timer]
            elif deadline > self.now_ms:
                one.timers[timer] = deadline
            else:
                del one.timers[timer]
                self._decide(one, TimerFired(timer, deadline), "engine/timers", f"t{len(one.events)}")
                self._deliver()
        self.now_ms = at_ms

    def shot(self, customer: str) -> dict[str, Any]:
        return snapshot(self.journey(customer).state, now_ms=self.now_ms)

    def view(self, customer: str) -> dict[str, Any]:
        return public_view(self.journey(customer).state, now_ms=self.now_ms)

    def label(self, customer: str) -> str:
        return KIND.label(self.journey(customer).state)

    def _decide(self, one: Aggregate, command: Any, source: str, command_id: str) -> list[Event]:
        facts = Facts(
            self.now_ms,
            self.now_ms,
            one.stream,
            self.definition,
            len(one.events),
            source=source,
            command_id=command_id,
        )
        try:
            events = list(one.kind.decide(one.state, command, facts))
        except Rejected as no:
            events = [CommandRejected(no.rule, no.inputs)]
        for index, event in enumerate(events):
            one.state = one.kind.evolve(one.state, event)
            one.events.append(event)
            move_timers(one.timers, event)
            for n, told in enumerate(event.tells()):
                way = self._told.setdefault((one.stream.text, told.stream), deque())
                way.append((f"{one.stream.text}/{len(one.events)}/{n}", told))
            assert index == 0 or not isinstance(event, CommandRejected)
        return events

    @property
    def under_way(self) -> list[tuple[str, str]]:
        """Senders and receivers between which something is on its way."""
        return sorted(way for way, waiting in self._told.items() if waiting)

    def deliver_one(self, way: tuple[str, str]) -> None:
        """The oldest of what one stream told another is heard."""
        command_id, told = self._told[way].popleft()
        receiver = self.at(told.stream)
        self._decide(receiver, receiver.kind.parse(told.type, told.data), TELLING_SOURCE, command_id)

    def settle(self) -> None:
        """Everything that was told is heard."""
        while self.under_way:
            self.deliver_one(self.under_way[0])

    def _deliver(self) -> None:
        if not self.slow:
            self.settle()
