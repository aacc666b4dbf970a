"""The read model of journeys, which is also their snapshot: a row per journey, written late and rarely.

A row is written when its stream grew by enough events, fell quiet, or too many journeys wait. While the lane is busy a
journey has to be quiet for longer: commands come first, and one that changes again before then costs one row, not two.
The saved position stays below the oldest unwritten change, so a crash only repeats writing.
"""

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

from orchestrator import metrics
from orchestrator.core.addresses import LANE, parse_stream
from orchestrator.core.keys import ENTRY_BYTES
from orchestrator.core.resource import ResourceKind, kept_fold_version
from orchestrator.engine.frame import Snapshot
from orchestrator.engine.lane import Capture, Committed, Lane
from orchestrator.engine.positions import OUT
from orchestrator.engine.store import Move, SnapshotRow

NAME = "journeys"
_FLUSH_ROWS = 200
_CATCH_UP_EVENTS = 2_000
_TICK_S = 0.25
_COUNT_EVERY_S = 5.0
_BUSY_CHANGES = 25  # in one tick
_BUSY_S = 2.0  # after such a tick: large batches come less often than ticks
_BUSY_FACTOR = 10  # times as long
_RESOURCE_FACTOR = 100  # times the growth: its row is only looked at, never restored from


class Dirty(NamedTuple):
    """A journey that changed since its row was written."""

    capture: Capture
    key_bytes: int  # of the frame's key log that belong to this capture
    first_position: int  # the oldest change not written
    changed_at_s: float


class Journeys:
    """One lane's."""

    name = NAME
    tells = False

    def __init__(
        self, lane: Lane, *, growth_events: int, quiet_ms: int, dirty_max: Callable[[], int]
    ) -> None:
        self._lane = lane
        self._growth_events = growth_events
        self._quiet_s = quiet_ms / 1000
        self._dirty_max = dirty_max
        self._dirty: dict[str, Dirty] = {}
        self._grown: list[str] = []
        self._fed = 0  # changes since the last tick
        self._busy_until_s = 0.0
        self._position = 0
        self._head = 0
        self._counted_s = 0.0
        self._wrote = True

    def feed(self, committed: Committed) -> None:
        if not committed.events:
            return
        now_s, first = time.monotonic(), committed.events[0].position
        self._fed += len(committed.captures)
        self._head = committed.events[-1].position
        for capture in committed.captures:
            text = capture.frame.stream.text
            before = self._dirty.pop(text, None)
            self._dirty[text] = Dirty(
                capture, len(capture.frame.keys.packed), before.first_position if before else first, now_s
            )
            resource = isinstance(capture.frame.kind, ResourceKind)
            grown = self._growth_events * (_RESOURCE_FACTOR if resource else 1)
            if capture.version - capture.frame.saved_version >= grown:
                self._grown.append(text)

    @property
    def lag_events(self) -> int:
        return self._lane.position - self._position

    async def run(self) -> None:
        positions = await self._lane.run(self._lane.store.positions)
        self._position = positions[OUT + NAME].at
        await self._catch_up()
        while True:
            await asyncio.sleep(_TICK_S)
            await self._flush_due()
            await self._count()

    async def _catch_up(self) -> None:
        """Write every journey that changed behind the saved position: its row as it stands is enough."""
        while self._position < self._lane.position:
            events = await self._lane.read_log(self._position, _CATCH_UP_EVENTS)
            texts = {e.envelope.stream: None for e in events if not e.envelope.stream.startswith(f"/{LANE}/")}
            captures = await self._lane.committed_captures([parse_stream(t) for t in texts])
            last = events[-1].position
            await self._write([Dirty(c, len(c.frame.keys.packed), last, 0.0) for c in captures], last)
        self._head = max(self._head, self._position)

    async def _flush_due(self) -> None:
        grown, self._grown = self._grown, []
        due = [self._dirty.pop(text) for text in dict.fromkeys(grown) if text in self._dirty]
        now_s = time.monotonic()
        if self._fed >= _BUSY_CHANGES:
            self._busy_until_s = now_s + _BUSY_S
        self._fed = 0
        quiet_before_s = now_s - self._quiet_s * (_BUSY_FACTOR if now_s < self._busy_until_s else 1)
        excess = len(self._dirty) - self._dirty_max()
        for text, dirty in list(
            self._dirty.items()
        ):  # oldest change first: feed moves what changed to the end
            if dirty.changed_at_s > quiet_before_s and excess <= 0:
                break
            excess -= 1
            due.append(self._dirty.pop(text))
        if due:
            await self._write_all(due)
        if not self._dirty and not due and self._head > self._position:
            await self._write([], self._head)

    async def _write_all(self, due: list[Dirty]) -> None:
        """In transactions of some rows; after each the position stands below the oldest change not written yet."""
        chunks = [due[start : start + _FLUSH_ROWS] for start in range(0, len(due), _FLUSH_ROWS)]
        # What is fed meanwhile is newer than any of these.
        oldest = min((d.first_position for d in self._dirty.values()), default=self._head + 1)
        below = []  # the oldest change behind each chunk
        for chunk in reversed(chunks):
            below.append(oldest)
            oldest = min(oldest, *(d.first_position for d in chunk))
        for chunk, first in zip(chunks, reversed(below), strict=True):
            await self._write(chunk, max(self._position, first - 1))

    async def _write(self, dirty: list[Dirty], position: int) -> None:
        sealed = await self._lane.seal_snapshots([_snapshot(d.capture) for d in dirty])
        rows = [_row(d, stored) for d, stored in zip(dirty, sealed, strict=True)]
        await self._lane.run(self._lane.store.save_journeys, Move(OUT + NAME, self._position, position), rows)
        self._position = position
        self._wrote = True
        for d in dirty:
            d.capture.frame.saved_version = max(d.capture.frame.saved_version, d.capture.version)

    async def _count(self) -> None:
        if not self._wrote or time.monotonic() - self._counted_s < _COUNT_EVERY_S:
            return
        self._wrote, self._counted_s = False, time.monotonic()
        for row in await self._lane.run(self._lane.store.count_journeys):
            metrics.JOURNEYS.labels(f"{self._lane.number:03d}", row["definition"], row["label"]).set(
                row["journeys"]
            )


def _snapshot(capture: Capture) -> Snapshot:
    state = None if capture.state is None else capture.frame.kind.dump(capture.state)
    timers = {name: tuple(timer) for name, timer in capture.timers.items()}
    return Snapshot(capture.frame.stream.text, capture.at_ms, capture.definition_version, state, timers)  # type: ignore[arg-type]


def _row(dirty: Dirty, sealed: bytes) -> SnapshotRow:
    capture = dirty.capture
    frame, stream = capture.frame, capture.frame.stream
    new_from, new_keys = 0, b""
    if not isinstance(frame.kind, ResourceKind):  # that is rebuilt from the log, keys included
        new_from, new_keys = _unsaved_keys(frame.keys.packed, dirty.key_bytes, frame.saved_version)
    return SnapshotRow(
        stream.id, stream.text, stream.kind, stream.definition, capture.definition_version,
        frame.kind.label(capture.state) if capture.state is not None else "", capture.version, capture.at_ms,
        kept_fold_version(frame.kind), sealed, new_from, new_keys,
    )  # fmt: skip


def _unsaved_keys(packed: bytearray, end: int, saved_version: int) -> tuple[int, bytes]:
    """The key entries after a saved version, and the version of the first of them (1: everything)."""
    start = end
    while start and int.from_bytes(packed[start - 4 : start], "big") > saved_version:
        start -= ENTRY_BYTES
    fresh = bytes(packed[start:end])
    return (int.from_bytes(fresh[8:12], "big") if fresh else 0), fresh
