"""What the log says against what is live: rows of journeys with their snapshots and keys, and timers."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
from typing_extensions import override

from orchestrator.core.decider import JourneyKind
from orchestrator.core.events import Event
from orchestrator.core.keys import ENTRY_BYTES
from orchestrator.engine.codec import Codec
from orchestrator.engine.envelope import Envelope
from orchestrator.engine.frame import Frame, Snapshot
from orchestrator.engine.positions import OUT
from orchestrator.replay.flows import ComparingFlows
from orchestrator.replay.folding import Folded, Visitor
from orchestrator.replay.letters import ComparingLetters, given_up_timers, timer_letter_id
from orchestrator.replay.reading import LaneSnapshot, Merged
from orchestrator.replay.report import Findings

_PRIVATE = "private"


class JourneyRow(NamedTuple):
    """A row of the read model, which is also its journey's snapshot."""

    stream_id: bytes
    stream: str
    kind: str
    definition: str
    definition_version: int
    label: str
    version: int
    updated_ms: int
    fold_version: int
    snapshot: bytes


class Comparing(Visitor):
    """Notes every difference of one lane."""

    def __init__(
        self,
        snapshot: LaneSnapshot,
        lane: int,
        kinds: Mapping[str, JourneyKind],
        codec: Codec,
        findings: Findings,
    ) -> None:
        positions = snapshot.positions()
        self.settled_position = positions[OUT + "journeys"].at
        self._lane = lane
        self._snapshot = snapshot
        self._kinds = kinds
        self._codec = codec
        self._findings = findings
        self._letters = ComparingLetters(snapshot, lane, positions[OUT + "dead_letters"].at, findings)
        self._flows = ComparingFlows(snapshot, lane, positions[OUT + "flow_analytics"].at, findings)
        self._given_up = given_up_timers(snapshot, lane, codec)
        self._journeys = Merged(snapshot.journeys())
        self._stream_keys = Merged(snapshot.stream_keys())
        self._timers = Merged(snapshot.timers())
        self._row: JourneyRow | None = None
        self._row_keys = b""
        self._row_timers: list[Any] = []

    @override
    def begin(self, stream_id: bytes) -> int:
        """Find the stream's rows; rows of streams in between have no events."""
        self._flows.begin(stream_id)
        self._orphans(
            self._journeys.before(stream_id),
            self._stream_keys.before(stream_id),
            self._timers.before(stream_id),
        )
        rows = self._journeys.of(stream_id)
        row = self._row = JourneyRow(*rows[0]) if rows else None
        self._row_keys = b"".join(packed for _, packed in self._stream_keys.of(stream_id))
        self._row_timers = self._timers.of(stream_id)
        if row is None:
            return 0
        kind = self._kinds.get(row.kind)
        if kind is not None and kind.fold_version != row.fold_version:
            self._findings.journeys_outdated += 1  # workers ignore it as well
            return 0
        return row.version

    @override
    def stands(self, frame: Frame) -> Frame | None:
        """Compare the row with the fold at the row's version."""
        row = self._row
        assert row is not None
        self._findings.journeys_compared += 1
        place, kind, stream = frame.stream.text, frame.kind, frame.stream
        if (row.stream, row.kind, row.definition) != (stream.text, stream.kind, stream.definition):
            self._add(
                "journeys.address", place, f"its row is filed as {row.kind}:{row.definition}, {row.stream}"
            )
        if row.definition_version != frame.definition_version:
            found = f"its row says definition version {row.definition_version}, the log {frame.definition_version}"
            self._add("journeys.definition_version", place, found)
        label = kind.label(frame.state) if frame.state is not None else ""
        if row.label != label:
            self._add("journeys.label", place, f"its row says {row.label!r}, the log {label!r}")
        self._compare_keys(place, bytes(frame.keys.packed), self._row_keys)
        return self._compare_snapshot(place, row, frame)

    @override
    def event(self, position: int, stream: str, event: Event) -> None:
        """Flows are counted."""
        self._flows.event(position, stream, event)

    @override
    def folded(self, journey: Folded) -> None:
        """Compare what must hold at the end of the log."""
        frame, row = journey.frame, self._row
        place = frame.stream.text
        if row is None:
            if journey.settled:
                self._add("journeys.missing", place, f"has no row, and has been at version {journey.settled}")
            if self._row_keys:
                self._add("keys.extra", place, "has chunks of keys without a row")
        elif row.version > frame.version:
            self._add(
                "journeys.ahead",
                place,
                f"its row stands at version {row.version}, the log at {frame.version}",
            )
        elif row.version < journey.settled:
            found = f"its row stands at version {row.version}, and should at {journey.settled} at least"
            self._add("journeys.behind", place, found)
        beside = journey.beside
        if (
            beside is not None
            and row is not None
            and beside.version != row.version
            and _differ(beside, frame)
        ):
            self._add("journeys.tail", place, "its snapshot with the events since isn't what all events are")
        self._compare_timers(frame)

    @override
    def lane_event(self, version: int, position: int, envelope: Envelope) -> None:
        """Dead letters have a read model of their own."""
        self._letters.event(version, position, envelope)

    @override
    def lane_damaged(self) -> None:
        """Nothing more can be said of dead letters."""
        self._letters.give_up()

    @override
    def ended(self) -> None:
        """What is left has no events."""
        self._orphans(self._journeys.rest(), self._stream_keys.rest(), self._timers.rest())
        self._letters.ended()
        self._flows.ended()

    def _compare_snapshot(self, place: str, row: JourneyRow, frame: Frame) -> Frame | None:
        try:
            snapshot = self._codec.decode_snapshot(row.snapshot, self._key_of)
            restored = Frame(frame.stream, frame.kind)
            restored.restore(snapshot, row.version, self._row_keys)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it is what is looked for
            self._add("journeys.snapshot", place, f"its snapshot can't be read: {type(error).__name__}")
            return None
        if (snapshot.stream, snapshot.definition_version) != (frame.stream.text, frame.definition_version):
            self._add("journeys.snapshot", place, "its snapshot is of another stream or definition version")
        if _timers_of(snapshot) != {name: tuple(timer) for name, timer in frame.timers.items()}:
            self._add(
                "journeys.timers",
                place,
                f"its snapshot at version {row.version} holds other timers than the log",
            )
        dumped = _dump(frame)
        names = _different(_plain(snapshot.state), dumped)
        if names:
            self._add("journeys.state", place, f"its snapshot at version {row.version} differs in {names}")
        elif _different(_dump(restored), dumped):
            self._add("journeys.state", place, "its snapshot, loaded and saved again, is another")
        return restored

    def _compare_keys(self, place: str, expected: bytes, found: bytes) -> None:
        if found == expected:
            return
        there, wanted = _entries(found), _entries(expected)
        lost, extra = len(wanted - there), len(there - wanted)
        if lost:
            self._add(
                "keys.lost",
                place,
                f"{lost} of {len(wanted)} keys are lost: their commands would be decided again",
            )
        if extra:
            self._add("keys.extra", place, f"{extra} keys are not the log's")

    def _compare_timers(self, frame: Frame) -> None:
        place, rows = frame.stream.text, {row[1]: row for row in self._row_timers}
        for name, timer in frame.timers.items():
            row = rows.pop(name, None)
            deadline_ms = frame.kind.deadline_ms(frame.state, name)
            if deadline_ms is None:
                continue  # its row, if still there, is dropped when it is due
            if timer_letter_id(frame.stream.id, name, timer.armed_at) in self._given_up:
                if row is not None:
                    self._add("timers.stale", place, f"timer {name} is a dead letter, and has a row")
                continue
            self._findings.timers += 1
            if row is None:
                found = f"timer {name}, armed at version {timer.armed_at}, would never fire"
                self._add("timers.missing", place, found)
                continue
            _, _, armed_at, due_ms, stream, _ = row
            if (armed_at, stream) != (timer.armed_at, place):
                self._add(
                    "timers.wrong",
                    place,
                    f"timer {name} was armed at {timer.armed_at}, its row says {armed_at}",
                )
            if due_ms > deadline_ms:
                self._add(
                    "timers.late", place, f"timer {name} is due at {deadline_ms}, its row says {due_ms}"
                )
        for name in rows:
            self._add("timers.stale", place, f"timer {name} has a row and isn't armed")

    def _orphans(self, journeys: Iterator[Any], keys: Iterator[Any], timers: Iterator[Any]) -> None:
        for row in journeys:
            self._add("journeys.extra", row[1], f"has a row at version {row[6]} and no event")
        for key_row in keys:
            self._add("keys.extra", f"stream {key_row[0].hex()}", "has a chunk of keys and no event")
        for timer_row in timers:
            self._add("timers.stale", timer_row[4], f"timer {timer_row[1]} has a row, its stream no event")

    def _key_of(self, subject: str) -> bytes:
        return self._snapshot.subject_keys({subject})[subject]

    def _add(self, code: str, place: str, found: str) -> None:
        self._findings.add(self._lane, code, place, found)


def _plain(state: Any) -> Any:
    """A state's dump as JSON has it; an empty private part is as good as none, since its key may be erased."""
    if state is None:
        return None
    plain = msgspec.json.decode(msgspec.json.encode(state))
    if not plain.get(_PRIVATE, True):
        del plain[_PRIVATE]
    return plain


def _dump(frame: Frame) -> Any:
    return None if frame.state is None else _plain(frame.kind.dump(frame.state))


def _different(found: Any, expected: Any) -> str:
    """The names of the fields that differ, not their values; empty when none does."""
    if found == expected:
        return ""
    if found is None or expected is None:
        return "whether there is any state"
    return ", ".join(sorted(n for n in {*found, *expected} if found.get(n) != expected.get(n)))


def _differ(one: Frame, other: Frame) -> bool:
    return bool(
        one.version != other.version
        or one.definition_version != other.definition_version
        or one.timers != other.timers
        or _different(_dump(one), _dump(other))
    )


def _timers_of(snapshot: Snapshot) -> dict[str, tuple[int, int]]:
    return {name: (timer[0], timer[1]) for name, timer in snapshot.timers.items()}


def _entries(packed: bytes) -> set[bytes]:
    return {packed[at : at + ENTRY_BYTES] for at in range(0, len(packed), ENTRY_BYTES)}
