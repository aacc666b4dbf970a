"""One lane's log folded stream by stream, with the engine's own frames; memory holds one stream at a time."""

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from orchestrator.core.addresses import lane_of, lane_stream, parse_stream
from orchestrator.core.decider import JourneyKind
from orchestrator.core.errors import Malformed
from orchestrator.core.events import Event
from orchestrator.core.lane_events import LanePaused, LaneResumed
from orchestrator.engine.codec import SEALED_MARK, Codec, UnknownEvent
from orchestrator.engine.envelope import Envelope
from orchestrator.engine.frame import Frame
from orchestrator.replay.reading import EventRow, LaneSnapshot
from orchestrator.replay.report import Findings

Advance = Callable[[int, int], None]
"""Called with so many more events and streams; raises to end the replay."""
# Each address comes up once: the caches of these would only be filled and emptied.
_parse_stream, _lane_of = parse_stream.__wrapped__, lane_of.__wrapped__
Reader = Generator[None, EventRow | None, None]


class Folded(NamedTuple):
    """A journey after its last event."""

    frame: Frame
    at_ms: int  # of the last event
    settled: int  # its version at the position up to which the read model must have it
    beside: Frame | None  # restored from its snapshot, with the events since


class Visitor:
    """What is done with what was folded: nothing. Others compare, or write."""

    settled_position = 0

    def begin(self, stream_id: bytes) -> int:  # noqa: ARG002 - for those who look
        """A journey begins; the version at which `stands` is asked for (0: never)."""
        return 0

    def stands(self, frame: Frame) -> Frame | None:  # noqa: ARG002 - for those who look
        """The fold is at that version; the same journey as its snapshot has it, to go on beside."""
        return None

    def event(self, position: int, stream: str, event: Event) -> None:
        """An event of the journey that began last."""

    def folded(self, journey: Folded) -> None:
        """A journey has ended."""

    def lane_event(self, version: int, position: int, envelope: Envelope) -> None:
        """An event of the lane's own stream."""

    def lane_damaged(self) -> None:
        """The lane's own stream can't be read any further: it was reported already."""

    def ended(self) -> None:
        """The log has ended."""


class LaneFold:
    """The pass over one lane."""

    def __init__(
        self,
        snapshot: LaneSnapshot,
        lane: int,
        *,
        lanes: int,
        kinds: Mapping[str, JourneyKind],
        codec: Codec,
        findings: Findings,
        visitor: Visitor,
    ) -> None:
        self.lane_version = 0
        self.paused = False
        self.own_damaged = False
        self.events = 0
        self._snapshot = snapshot
        self._lane = lane
        self._lanes = lanes
        self._kinds = kinds
        self._codec = codec
        self._findings = findings
        self._visitor = visitor
        self._secret = snapshot.secret()
        self._own = lane_stream(lane)
        self._keys: Mapping[str, bytes] = {}

    def run(self, advance: Advance) -> None:
        """Fold all of it. Raises the library's PersistenceError, and what `advance` raises."""
        own_id = self._own.id.bytes
        stream_id, stream = b"", _nobody()
        next(stream)
        for rows in self._snapshot.events():
            self._fetch_keys(rows, own_id)
            streams = 0
            for row in rows:
                if row[0] == stream_id:
                    stream.send(row)
                    continue
                _end(stream)
                streams += 1
                stream_id = row[0]
                stream = self._lane_log(row) if stream_id == own_id else self._journey(row)
                next(stream)
            self.events += len(rows)
            advance(len(rows), streams)
        _end(stream)
        self._visitor.ended()

    def _journey(self, row: EventRow) -> Reader:
        """Takes one journey's rows; None after the last."""
        visitor, secret, settled_position = self._visitor, self._secret, self._visitor.settled_position
        stream_id, version, position, _, _ = row
        following: EventRow | None = row
        settled, beside = 0, None
        stop_at = visitor.begin(stream_id)
        try:
            envelope = self._decode(row)
            frame = self._frame(stream_id, envelope.stream)
            order = _Order(frame.stream.text)
            while True:
                order.follow(version, position, envelope)
                try:
                    frame.apply(envelope, secret)
                except Exception as error:
                    raise _cannot_follow(frame, error) from error
                visitor.event(position, envelope.stream, envelope.data)
                if position <= settled_position:
                    settled = version
                if beside is not None:
                    beside = _beside(beside, envelope, secret)
                if version == stop_at:
                    beside = visitor.stands(frame)
                following = yield
                if following is None:
                    break
                _, version, position, _, _ = following
                envelope = self._decode(following)
            order.end()
        except _Damaged as damage:
            self._findings.add(self._lane, damage.code, damage.place, str(damage))
            while following is not None:
                following = yield
        else:
            visitor.folded(Folded(frame, envelope.at_ms, settled, beside))

    def _lane_log(self, row: EventRow) -> Reader:
        """Takes the rows of the lane's own stream."""
        order = _Order(self._own.text)
        following: EventRow | None = row
        try:
            while following is not None:
                _, version, position, _, _ = following
                envelope = self._decode(
                    following
                )  # what is sealed stays so: nothing here follows from a message
                order.follow(version, position, envelope)
                self.lane_version = version
                if isinstance(envelope.data, LanePaused | LaneResumed):
                    self.paused = isinstance(envelope.data, LanePaused)
                self._visitor.lane_event(version, position, envelope)
                following = yield
        except _Damaged as damage:
            self._findings.add(self._lane, damage.code, damage.place, str(damage))
            self.own_damaged = True
            self._visitor.lane_damaged()
            while following is not None:
                following = yield

    def _decode(self, row: EventRow) -> Envelope:
        _, _, _, name, stored = row
        try:
            return self._codec.decode(name, stored, self._key_of)
        except UnknownEvent as error:
            raise _Damaged("log.unknown", _place(row), str(error)) from error
        except Exception as error:
            why = str(error) if isinstance(error, msgspec.MsgspecError) else type(error).__name__
            raise _Damaged("log.unreadable", _place(row), f"{name} can't be read: {why}") from error

    def _frame(self, stream_id: bytes, text: str) -> Frame:
        try:
            stream = _parse_stream(text)
        except Malformed as error:
            raise _Damaged("log.wrong_stream", stream_id.hex(), str(error)) from error
        if stream.id.bytes != stream_id:
            raise _Damaged(
                "log.wrong_stream", stream_id.hex(), f"its events are {text}'s, by their own words"
            )
        if _lane_of(stream.owner.text, self._lanes) != self._lane:
            raise _Damaged("log.wrong_lane", text, "its owner's lane is another")
        if stream.kind not in self._kinds:
            raise _Damaged("log.unknown", text, f"this release has no journeys of kind {stream.kind}")
        return Frame(stream, self._kinds[stream.kind])

    def _key_of(self, subject: str) -> bytes:
        return self._keys[subject]

    def _fetch_keys(self, rows: Sequence[EventRow], own_id: bytes) -> None:
        sealed = {
            self._codec.subject_of(row[4]) for row in rows if SEALED_MARK in row[4] and row[0] != own_id
        }
        if sealed:
            self._keys = self._snapshot.subject_keys(sealed)


class _Damaged(Exception):
    """A stream can't be folded any further."""

    def __init__(self, code: str, place: str, found: str) -> None:
        super().__init__(found)
        self.code = code
        self.place = place


class _Order:
    """How the events of one stream must follow each other: versions, positions and commands without gaps."""

    __slots__ = ("_left", "_position", "_text", "_version")

    def __init__(self, text: str) -> None:
        self._text = text
        self._version = 0
        self._position = 0
        self._left = 0  # events of the present command that have to come

    def follow(self, version: int, position: int, envelope: Envelope) -> None:
        """The next event. Raises _Damaged."""
        if version != self._version + 1:
            raise _Damaged("log.version_gap", self._place(), f"the next event has version {version}")
        if envelope.stream != self._text:
            raise _Damaged(
                "log.wrong_stream", f"{self._text}/{version}", "says that it belongs to another stream"
            )
        if position <= self._position:
            raise _Damaged(
                "log.order", f"{self._text}/{version}", f"stands at {position}, before the version before it"
            )
        if self._left:
            if envelope.count - envelope.index != self._left or position != self._position + 1:
                raise _Damaged(
                    "log.torn_command", f"{self._text}/{version}", "its command's events don't stand together"
                )
            self._left -= 1
        else:
            if envelope.index:
                raise _Damaged(
                    "log.torn_command", f"{self._text}/{version}", "its command's first event is missing"
                )
            self._left = envelope.count - 1
        self._version, self._position = version, position

    def end(self) -> None:
        """No event comes any more. Raises _Damaged."""
        if self._left:
            raise _Damaged(
                "log.torn_command", self._place(), f"the last {self._left} events of its command are missing"
            )

    def _place(self) -> str:
        return f"{self._text}/{self._version}"


def _cannot_follow(frame: Frame, error: Exception) -> _Damaged:
    place = f"{frame.stream.text}/{frame.version}"
    return _Damaged("log.unreadable", place, f"the state can't follow: {type(error).__name__}")


def _beside(frame: Frame, envelope: Envelope, secret: bytes) -> Frame:
    try:
        frame.apply(envelope, secret)
    except Exception:  # noqa: BLE001 - what its snapshot holds isn't what the log says: its version tells
        frame.version = -1
    return frame


def _place(row: EventRow) -> str:
    stream_id, version, position, _, _ = row
    return f"stream {stream_id.hex()} version {version}, position {position}"


def _nobody() -> Reader:
    yield


def _end(stream: Reader) -> None:
    try:
        stream.send(None)
    except StopIteration:
        return
    raise AssertionError("a stream's reader goes on after its last row")
