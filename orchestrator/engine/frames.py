"""Streams in memory: a cache of frames, filled from snapshots and logs, emptied after every error."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from orchestrator.core.addresses import Owner, Stream, stream_of
from orchestrator.core.decider import Definition, JourneyKind
from orchestrator.core.errors import LaneStopped
from orchestrator.core.resource import ResourceKind
from orchestrator.engine.catalogue import Catalogue
from orchestrator.engine.codec import SEALED_MARK, Codec, KeyOf
from orchestrator.engine.frame import Frame
from orchestrator.engine.keyring import KeyRing
from orchestrator.engine.store import LaneStore, Loaded
from orchestrator.engine.unread import UNREAD

_PAGE_EVENTS = 5_000  # of a resource, which is read from its first event
_T = TypeVar("_T")
Wanted = tuple[Stream, str]
"""A stream and the type of the command it is wanted for."""


class Run(Protocol):
    """Calls in a thread."""

    def __call__(self, call: Callable[..., _T], *args: Any) -> Awaitable[_T]: ...


class RecordSource(NamedTuple):
    """Where customers' records are, and what of them other journeys may read; read in the same lane, in the same batch."""

    kind: str
    definition: str
    show: Callable[[Any, Definition | None], Mapping[str, Any]]  # of its state, by its newest definition

    def stream(self, owner: Owner) -> Stream:
        return stream_of(owner, self.kind, self.definition)


class Frames:
    """One lane's. `secret` is the lane's, known once the lane is open; `size` says how many streams it may keep now."""

    def __init__(
        self,
        store: LaneStore,
        *,
        kinds: Mapping[str, JourneyKind],
        catalogue: Catalogue,
        codec: Codec,
        keys: KeyRing,
        run: Run,
        size: Callable[[], int],
        record: RecordSource | None,
    ) -> None:
        self.secret = b""
        self._store = store
        self._kinds = kinds
        self._folds = {name: kind.fold_version for name, kind in kinds.items()}
        self._catalogue = catalogue
        self._codec = codec
        self._keys = keys
        self._run = run
        self._size = size
        self._record = record
        self._readers: set[tuple[str, str, str]] = set()  # kind, definition and type of commands that read it
        self._frames: OrderedDict[str, Frame] = OrderedDict()
        self._resources: dict[str, Frame] = {}  # those of them that are any

    def __getitem__(self, text: str) -> Frame:
        """Of a stream that `bring` brought in."""
        return self._frames[text]

    def clear(self) -> None:
        self._frames.clear()
        self._resources.clear()

    def trim(self) -> None:
        """Let those go that were used longest ago."""
        size = self._size()
        while len(self._frames) > size:
            text, _ = self._frames.popitem(last=False)
            self._resources.pop(text, None)

    def resources(self) -> list[Frame]:
        """The resources among them, as they stand; a batch under way may have changed them."""
        return list(self._resources.values())

    def record_of(self, owner: Owner) -> Mapping[str, Any]:
        """What the owner's record shows; one that raises RecordNeeded when looked at where it isn't in memory."""
        record = self._record
        if record is None:
            return {}
        frame = self._frames.get(record.stream(owner).text)
        if frame is None:
            return UNREAD
        return record.show(frame.state, self._catalogue.newest(record.kind, record.definition))

    def learn(self, stream: Stream, command_type: str) -> None:
        """A command of this type looked at the record: from now on `bring` brings it with others of the type."""
        self._readers.add((stream.kind, stream.definition, command_type))

    async def bring(self, wanted: Iterable[Wanted]) -> None:
        """Bring streams into the cache, each for a type of command, newest use last; cold ones in one round of queries."""
        frames = self._frames
        cold: dict[str, Stream] = {}
        record, readers = self._record, self._readers
        streams = []
        for stream, command_type in wanted:
            streams.append(stream)
            if readers and record is not None and (stream.kind, stream.definition, command_type) in readers:
                streams.append(record.stream(stream.owner))
        for stream in streams:
            if stream.text in frames:
                frames.move_to_end(stream.text)
            else:
                cold[stream.text] = stream
        if not cold:
            return
        for frame in await self.read(list(cold.values())):
            frames[frame.stream.text] = frame
            if isinstance(frame.kind, ResourceKind):
                self._resources[frame.stream.text] = frame

    async def read(self, streams: Sequence[Stream]) -> list[Frame]:
        """These streams as the log has them, beside the cache."""
        resources: list[Stream] = []
        others: list[Stream] = []
        for stream in streams:
            (resources if isinstance(self._kinds[stream.kind], ResourceKind) else others).append(stream)
        frames = [await self._read_resource(stream) for stream in resources]
        if others:
            loaded = await self._run(self._store.load, [s.id for s in others], self._folds)
            key_of = await self.keys_of(
                [
                    data
                    for one in loaded.values()
                    for data in (*(t[2] for t in one.tail), *((one.snapshot[3],) if one.snapshot else ()))
                ]
            )
            frames += [self._rebuild(stream, loaded.get(stream.id), key_of) for stream in others]
        return frames

    async def keys_of(self, stored: Sequence[bytes]) -> KeyOf:
        """The keys these bytes were sealed with, kept apart from the cache: it may be dropped while they are read."""
        subjects = {self._codec.subject_of(data) for data in stored if SEALED_MARK in data}
        keys = await self._run(self._keys.fetch, subjects) if subjects else {}
        return keys.__getitem__

    async def _read_resource(self, stream: Stream) -> Frame:
        """Page by page, so that neither memory nor the event loop has to hold a million events at once."""
        frame = Frame(stream, self._kinds[stream.kind])
        while True:
            page = await self._run(self._store.stream_page, stream.id, frame.version, _PAGE_EVENTS)
            if not page:
                return frame
            key_of = await self.keys_of([stored for _, _, stored in page])
            await self._run(self._follow, frame, page, key_of)

    def _rebuild(self, stream: Stream, loaded: Loaded | None, key_of: KeyOf) -> Frame:
        frame = Frame(stream, self._kinds[stream.kind])
        if loaded is None:
            return frame
        try:
            if loaded.snapshot is not None:
                version, _, _, stored = loaded.snapshot
                snapshot = self._codec.decode_snapshot(stored, key_of)
                frame.restore(snapshot, version, loaded.keys)
        except Exception as error:
            raise _cannot(stream, error) from error
        self._follow(frame, loaded.tail, key_of)
        return frame

    def _follow(self, frame: Frame, tail: Sequence[tuple[int, str, bytes]], key_of: KeyOf) -> None:
        decode, secret = self._codec.decode, self.secret
        try:
            for _version, name, stored in tail:
                frame.apply(decode(name, stored, key_of), secret)
        except Exception as error:
            raise _cannot(frame.stream, error) from error


def _cannot(stream: Stream, error: Exception) -> LaneStopped:
    return LaneStopped(f"{stream.text} can't be rebuilt: {type(error).__name__}: {error}")
