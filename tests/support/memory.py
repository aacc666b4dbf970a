"""The engine's parts in memory: definitions, keys and records without a server."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from orchestrator.core.addresses import Stream, customer
from orchestrator.core.decider import Definition, JourneyKind
from orchestrator.core.messages import Command, Outcome
from orchestrator.core.resource import documents_by_kind
from orchestrator.engine.batch import Batch
from orchestrator.engine.catalogue import Catalogue
from orchestrator.engine.codec import Codec
from orchestrator.engine.database import Database
from orchestrator.engine.envelope import Envelope, Recorded
from orchestrator.engine.frame import Frame
from orchestrator.engine.keyring import KeyRing
from orchestrator.engine.store import LaneStore
from tests.support.toy import TOY

SECRET = bytes(range(32))
STREAM = Stream(customer("acme", "cus-1"), "toy", "t")
NOW_MS = 1_700_000_000_000


class MemoryStore:
    """What a key ring asks of a lane's store."""

    def __init__(self) -> None:
        self.keys: dict[str, bytes] = {}

    def subject_keys(
        self, subjects: Sequence[str], *, create: Mapping[str, bytes] | None = None
    ) -> dict[str, bytes]:
        for subject, key in (create or {}).items():
            self.keys.setdefault(subject, key)
        return {s: self.keys[s] for s in subjects if s in self.keys}


def key_ring(store: MemoryStore | None = None) -> KeyRing:
    return KeyRing(cast("LaneStore", store or MemoryStore()))


class Published(Catalogue):
    """Definitions that need no database: `refresh` finds what `publish` was given before."""

    def __init__(self, *definitions: Definition) -> None:
        super().__init__(cast("Database", None), cast("Any", None))
        for definition in definitions:
            self._add(definition)

    def publish(self, definition: Definition) -> None:
        self._add(definition)


def definition(version: int = 1, *, kind: JourneyKind = TOY, compiled: Any = None) -> Definition:
    return Definition(kind.name, "t", version, {}, compiled, frozenset())


class Engine:
    """One lane's pure side: `decide` a run of commands as one batch, keep its log, rebuild frames from it."""

    def __init__(self, kind: JourneyKind = TOY, catalogue: Catalogue | None = None) -> None:
        self.kind = kind
        self.catalogue = catalogue or Published(definition(kind=kind))
        self.codec = Codec(kind.events)
        self.keys = key_ring()
        self.log: list[Recorded] = []

    def batch(self, now_ms: int = NOW_MS) -> Batch:
        return Batch(
            lane=0,
            secret=SECRET,
            documents=documents_by_kind({self.kind.name: self.kind}),
            catalogue=self.catalogue,
            codec=self.codec,
            keys=self.keys,
            position=len(self.log),
            lane_version=0,
            now_ms=now_ms,
            record_of=lambda _owner: {},
        )

    def commit(self, batch: Batch) -> list[Recorded]:
        """Append the batch's events; returns them."""
        assert [e.position for e in batch.events] == list(range(len(self.log) + 1, batch.position + 1))
        self.keys.make_durable()
        self.log += batch.events
        return batch.events

    def outcomes(self, batch: Batch) -> list[Outcome]:
        """The outcomes of a batch's repeats, their first events read from the log."""
        read = {
            (r.stream_id, r.version): (r.name, self.decoded(r))
            for r in self.log
            if (r.stream_id, r.version) in set(batch.repeats_elsewhere())
        }
        return batch.settle_repeats(read)

    def decoded(self, recorded: Recorded) -> Envelope:
        keys = self.keys.fetch({recorded.envelope.subject})
        return self.codec.decode(recorded.name, recorded.stored, keys.__getitem__)

    def rebuilt(self, stream: Stream = STREAM) -> Frame:
        """A frame from the log's bytes alone."""
        frame = Frame(stream, self.kind)
        for recorded in self.log:
            if recorded.stream_id == stream.id:
                frame.apply(self.decoded(recorded), SECRET)
        return frame


def frame(stream: Stream = STREAM, kind: JourneyKind = TOY) -> Frame:
    return Frame(stream, kind)


def command(type: str = "add", id: str = "k1", stream: Stream | None = STREAM, **more: Any) -> Command:
    """A command; `data` defaults to one that fits its type."""
    data = more.pop("data", {"n": 1} if type == "add" else {})
    owner = stream.owner if stream is not None else STREAM.owner
    return Command(more.pop("source", "tests"), id, type, owner, stream, data, **more)


def same(one: Frame, other: Frame) -> None:
    """Both frames stand at the same place."""
    assert one.stream == other.stream
    assert one.version == other.version
    assert one.definition_version == other.definition_version
    assert one.state == other.state
    assert dict(one.timers) == dict(other.timers)
    assert bytes(one.keys.packed) == bytes(other.keys.packed)


class Message(msgspec.Struct):
    """A consumed Kafka record, as far as the engine reads one."""

    value: bytes | None = b"{}"
    headers: Sequence[tuple[str, bytes]] = ()
    key: bytes | None = b"acme/c/cus-1"
    topic: str = "journeys.commands"
    partition: int = 0
    offset: int = 7
    timestamp: int = NOW_MS
