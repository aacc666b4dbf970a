"""The engine's frame around a journey's state: what it needs beside the state to decide once, rebuilt from events."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from msgspec import Struct

from orchestrator.core.addresses import Stream
from orchestrator.core.decider import JourneyKind
from orchestrator.core.events import JourneyStarted, timers_of
from orchestrator.core.keys import KeyLog
from orchestrator.engine.digests import key_hash
from orchestrator.engine.envelope import Envelope

TIMER_SOURCE = "engine/timers"
EFFECT_SOURCE = "engine/effects"


class Timer(NamedTuple):
    """An armed timer: when it is due (ms, lane time), and the version that armed it."""

    due_ms: int
    armed_at: int


class Snapshot(Struct, frozen=True, gc=False, omit_defaults=True):
    """The stored JSON of a frame; keys are kept apart, in chunks."""

    stream: str
    at_ms: int
    definition_version: int
    state: dict[str, Any] | None
    timers: dict[str, tuple[int, int]] = {}


class Mark(NamedTuple):
    """A place to come back to within one decision."""

    version: int
    definition_version: int
    state: Any
    timers: Mapping[str, Timer]
    key_bytes: int


class Frame:
    """One stream in memory. Mutable and owned by its lane; after any error it is thrown away, never repaired."""

    __slots__ = (
        "definition_version",
        "keys",
        "kind",
        "saved_version",
        "state",
        "stream",
        "timers",
        "version",
    )

    def __init__(self, stream: Stream, kind: JourneyKind) -> None:
        self.stream = stream
        self.kind = kind
        self.version = 0
        self.definition_version = 0  # 0: not started
        self.state: Any = None
        self.keys = KeyLog()
        self.timers: Mapping[str, Timer] = {}  # replaced, never changed: captures stay as they were
        self.saved_version = 0  # of the snapshot in the database

    def apply(self, envelope: Envelope, secret: bytes) -> None:
        """Move on by the next event of the log; keys, timers and pin follow from the envelope alone."""
        self.version += 1
        if envelope.index == 0:
            self.keys.add(key_hash(secret, envelope.source, envelope.id), self.version)
            if envelope.source == TIMER_SOURCE:
                self._drop_fired(envelope.id)
        self._evolve(envelope.data)

    def evolve_own(self, hashed_key: bytes | None, event: Any, fired: str | None) -> None:
        """The same as `apply` for an event just decided: its key is already hashed."""
        self.version += 1
        if hashed_key is not None:
            self.keys.add(hashed_key, self.version)
            if fired is not None:
                self._drop_fired(fired)
        self._evolve(event)

    def mark(self) -> Mark:
        """Where the frame stands; good until something else than `evolve_own` touches it."""
        return Mark(self.version, self.definition_version, self.state, self.timers, len(self.keys.packed))

    def back_to(self, mark: Mark) -> None:
        """Stand there again: the events evolved since are not to be."""
        self.version, self.definition_version, self.state, self.timers, key_bytes = mark
        self.keys.cut_to(key_bytes)

    def restore(self, snapshot: Snapshot, version: int, keys: bytes) -> None:
        """Stand where a snapshot stood."""
        self.version = self.saved_version = version
        self.definition_version = snapshot.definition_version
        self.state = None if snapshot.state is None else self.kind.load(snapshot.state)
        self.keys = KeyLog(keys)
        self.keys.cut(version)  # read a moment later than the snapshot, they may be of a newer one
        self.timers = {name: Timer(*timer) for name, timer in snapshot.timers.items()}

    def _evolve(self, event: Any) -> None:
        changed = timers_of(event)
        if changed:
            armed = {name: Timer(due, self.version) for name, due in changed.items() if due is not None}
            self.timers = {name: t for name, t in self.timers.items() if name not in changed} | armed
        if type(event) is JourneyStarted:
            self.definition_version = event.definition_version
        elif event.unpins:
            self.definition_version = 0
        self.state = self.kind.evolve(self.state, event)

    def _drop_fired(self, command_id: str) -> None:
        timer, armed_at = split_timer_id(command_id)
        found = self.timers.get(timer)
        if found is not None and found.armed_at == armed_at:
            self.timers = {name: t for name, t in self.timers.items() if name != timer}


def timer_id(stream: str, timer: str, armed_at: int) -> str:
    """The id of the command a due timer becomes: stable, so that firing twice decides once."""
    return f"{stream}#{timer}#{armed_at}"


def split_timer_id(command_id: str) -> tuple[str, int]:
    """Timer name and arming version of a `timer_id`."""
    timer, _, armed_at = command_id.partition("#")[2].rpartition("#")  # a stream's text holds no bare '#'
    return timer, int(armed_at)
