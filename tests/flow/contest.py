"""A customer with one record and several flows; what they tell each other may come late, twice, in any order, or never."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from orchestrator.core.events import EffectFailed, EffectRequested, Event
from orchestrator.core.messages import TELLING_SOURCE
from orchestrator.customers.record import shown
from orchestrator.customers.record.events import ContactCounted, ContactReleased
from orchestrator.journeys.effects import EffectAttemptFailed
from orchestrator.journeys.flow import FLOW
from orchestrator.journeys.flow.doubt import in_doubt
from orchestrator.journeys.flow.events import ActionStarted
from tests.customers.specs import record
from tests.customers.told import Kept
from tests.flow.world import World, definition


class Message(NamedTuple):
    """A command on its way. `key` is what the receiver remembers it by."""

    key: str
    stream: str
    type: str
    data: Mapping[str, Any]


class Contest:
    """`step` whatever is to happen, then `collect`; every step is checked against a naive count."""

    def __init__(self, profile: Mapping[str, Any], flows: list[Mapping[str, Any]]) -> None:
        self.record = Kept(record(profile), careful=False)
        self.caps = self.record.spec.definition.compiled.caps
        self.flows = {
            world.stream.text: world for world in (World(definition(flow), careful=False) for flow in flows)
        }
        self.now_ms = next(iter(self.flows.values())).now_ms
        self.record.now_ms = self.now_ms
        self.underway: list[Message] = []
        self.known: set[tuple[str, str]] = set()  # stream and key: what each has decided
        self.seen: dict[str, int] = {}
        self.counted: dict[str, tuple[int, str]] = {}  # reference in its stream: when and by which channel
        self.used: dict[str, str] = {}  # contact to effect, for good
        self.failed: set[str] = set()  # effects that have for certain not reached the customer
        self.doubted: set[str] = set()

    def ready(self) -> list[World]:
        """The flows, seeing the record as it stands."""
        for world in self.flows.values():
            world.record = shown(self.record.state, self.record.spec.definition)
        return list(self.flows.values())

    def pass_time(self, ms: int) -> None:
        self.now_ms += ms
        for world in self.ready():
            world.wait(self.now_ms - world.now_ms)
        self.record.now_ms = self.now_ms
        self.collect()

    def deliver(self, message: Message) -> None:
        """What is on its way arrives; a stream decides each key once."""
        if (message.stream, message.key) in self.known:
            return
        self.known.add((message.stream, message.key))
        self.ready()
        key = (TELLING_SOURCE, message.key)
        if message.stream in self.flows:
            self.flows[message.stream].do(FLOW.parse(message.type, message.data), key=key)
        else:
            self.record.send(message.type, message.data, key=key)
        self.collect()

    def settle(self) -> None:
        """Everything that is on its way arrives, in order."""
        while self.underway:
            self.deliver(self.underway.pop(0))

    def collect(self) -> None:
        """Take up what the streams told since, and check what they did."""
        streams: list[tuple[str, list[Event]]] = [(text, w.events) for text, w in self.flows.items()]
        for text, events in [*streams, (self.record.spec.stream.text, self.record.events)]:
            for version, event in enumerate(events[self.seen.get(text, 0) :], self.seen.get(text, 0) + 1):
                self._note(text, event)
                for index, told in enumerate(event.tells()):
                    self.underway.append(
                        Message(f"{text}/{version}/{index}", told.stream, told.type, told.data)
                    )
            self.seen[text] = len(events)

    def _note(self, stream: str, event: Event) -> None:
        match event:
            case ContactCounted():
                self.counted[f"{event.stream}#{event.reference}"] = (event.at_ms, event.channel)
                self._within_caps(event.at_ms)
            case ContactReleased():
                contact = f"{event.stream}#{event.reference}"
                del self.counted[contact]
                assert self.used.get(contact, "") in {"", *self.failed}, "it may have reached the customer"
            case ActionStarted() if event.contact:
                contact = f"{stream}#{event.contact}"
                assert contact in self.counted, "sent without a contact"
                assert contact not in self.used, "sent twice by one grant"
                self.used[contact] = f"{stream}#{event.effect}"
            case ActionStarted():
                raise AssertionError("sent without asking")
            case EffectAttemptFailed() if in_doubt(event):
                self.doubted.add(f"{stream}#{event.effect}")
            case EffectFailed() if not in_doubt(event) and f"{stream}#{event.effect}" not in self.doubted:
                self.failed.add(f"{stream}#{event.effect}")

    def _within_caps(self, now_ms: int) -> None:
        for cap in self.caps:
            inside = [
                c for t, c in self.counted.values() if t > now_ms - cap.per_ms and cap.channel in {c, "any"}
            ]
            assert len(inside) <= cap.limit, f"{len(inside)} contacts in {cap.per} by {cap.channel}"

    def requested(self) -> int:
        """First attempts of messages so far."""
        events = (event for world in self.flows.values() for event in world.events)
        return sum(isinstance(event, EffectRequested) and event.attempt == 1 for event in events)
