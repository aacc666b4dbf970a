"""Replays lanes one after the other, in a thread: fold, and compare or write. Performs no effect, publishes nothing."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from orchestrator.core.decider import JourneyKind
from orchestrator.core.errors import ConfigurationError, OrchestratorError
from orchestrator.engine.codec import Codec
from orchestrator.engine.positions import LOG, OUT, log_detail
from orchestrator.engine.store import LaneStore
from orchestrator.installation import Databases, lanes_of
from orchestrator.journeys import KINDS
from orchestrator.replay.comparing import Comparing
from orchestrator.replay.folding import LaneFold, Visitor
from orchestrator.replay.guard import check_unowned
from orchestrator.replay.reading import LaneSnapshot, lane_snapshot
from orchestrator.replay.rebuilding import Rebuilding
from orchestrator.replay.report import Findings, ReplayProgress, Report
from orchestrator.settings import Settings

Progress = Callable[[ReplayProgress], None]
_TELL_EVERY_S = 0.1
_GAPS_MAX = 20
_WORDS = {True: "paused", False: "running"}


class Interrupted(OrchestratorError):
    """The replay was cancelled."""


class Damaged(OrchestratorError):
    """A lane's log has differences of its own: its read models stay as they are."""


async def replay(
    settings: Settings,
    *,
    verify: bool,
    rebuild: bool = False,
    lanes: Sequence[int] | None = None,
    progress: Progress = lambda _: None,
    kinds: Sequence[JourneyKind] = KINDS,
) -> Report:
    """Fold every stream of `lanes` (None: all) from the log as it is at the start of each lane.

    `verify` compares with everything live; `rebuild` writes journeys, keys, timers and dead letters anew; neither
    of them: fold only. `progress` is called in the event loop, at most ten times a second and at the end.
    Raises ConfigurationError (no such lane, no installation), Owned (rebuilding while workers decide) and the
    event store library's PersistenceError. Differences are no error: see `Report.ok`.
    """
    if verify and rebuild:
        raise ConfigurationError("--verify and --rebuild exclude each other: rebuild first, then verify")
    loop, stop = asyncio.get_running_loop(), threading.Event()

    def tell(now: ReplayProgress) -> None:
        loop.call_soon_threadsafe(progress, now)

    databases = Databases(settings)
    try:
        chosen, total = await asyncio.to_thread(_choose, databases, lanes)
        if rebuild:
            await check_unowned(settings, await asyncio.to_thread(_paused, databases, chosen))
        mode = "verify" if verify else "rebuild" if rebuild else "fold"
        work = _Replay(databases, lanes=chosen, total=total, kinds=kinds, mode=mode, tell=tell, stop=stop)
        running = asyncio.ensure_future(asyncio.to_thread(work.run))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            stop.set()  # the thread ends at its next chunk; its connections are in use until then
            with suppress(Exception):
                await running
            raise
    finally:
        databases.close()


def _choose(databases: Databases, lanes: Sequence[int] | None) -> tuple[list[int], int]:
    total = lanes_of(databases.main)
    chosen = sorted(set(range(total) if lanes is None else lanes))
    unknown = [lane for lane in chosen if not 0 <= lane < total]
    if unknown:
        raise ConfigurationError(
            f"there is no lane {unknown[0]}: this installation has lanes 0 to {total - 1}"
        )
    return chosen, total


def _paused(databases: Databases, lanes: Sequence[int]) -> dict[int, bool]:
    stores = (LaneStore(databases.of_lane(lane), lane) for lane in lanes)
    return {store.lane: log_detail(store.positions()[LOG].detail).paused for store in stores}


class _Replay:
    """One run over the chosen lanes. Synchronous."""

    def __init__(
        self,
        databases: Databases,
        *,
        lanes: Sequence[int],
        total: int,
        kinds: Sequence[JourneyKind],
        mode: str,
        tell: Progress,
        stop: threading.Event,
    ) -> None:
        self._databases = databases
        self._lanes = lanes
        self._total = total
        self._kinds = {kind.name: kind for kind in kinds}
        self._codec = Codec(event for kind in kinds for event in kind.events)
        self._mode = mode
        self._tell = tell
        self._stop = stop
        self._findings = Findings()
        self._events_total = 0
        self._lanes_done = 0
        self._told_s = 0.0

    def run(self) -> Report:
        began_s = time.perf_counter()
        for lane in self._lanes:
            self._events_total += LaneStore(self._databases.of_lane(lane), lane).positions()[LOG].at
        for lane in self._lanes:
            if self._mode == "rebuild":
                self._rebuild(lane)
            else:
                self._read(lane)
            self._lanes_done += 1
            self._told_s = 0.0
            self._progress(lane, 0, 0)
        return self._report(time.perf_counter() - began_s)

    def _read(self, lane: int) -> None:
        with lane_snapshot(self._databases.of_lane(lane), lane) as snapshot:
            verify = self._mode == "verify"
            visitor = (
                Comparing(snapshot, lane, self._kinds, self._codec, self._findings) if verify else Visitor()
            )
            self._fold(lane, snapshot, visitor)

    def _rebuild(self, lane: int) -> None:
        database, findings = self._databases.of_lane(lane), self._findings
        damage, rows = findings.in_log, findings.rows_written
        with suppress(Damaged), database.transaction() as cursor:
            visitor = Rebuilding(cursor, lane, self._codec, findings)
            visitor.lock()
            with lane_snapshot(database, lane) as snapshot:
                visitor.empty(snapshot)
                self._fold(lane, snapshot, visitor)
            if findings.in_log > damage:
                findings.rows_written = rows
                raise Damaged

    def _fold(self, lane: int, snapshot: LaneSnapshot, visitor: Visitor) -> None:
        fold = LaneFold(
            snapshot,
            lane,
            lanes=self._total,
            kinds=self._kinds,
            codec=self._codec,
            findings=self._findings,
            visitor=visitor,
        )
        fold.run(lambda events, streams: self._progress(lane, events, streams))
        _compare_positions(snapshot, lane, fold, self._findings)

    def _progress(self, lane: int, events: int, streams: int) -> None:
        if self._stop.is_set():
            raise Interrupted(f"the replay was cancelled in lane {lane}, which stays as it was")
        findings = self._findings
        findings.events += events
        findings.streams += streams
        now_s = time.monotonic()
        if now_s - self._told_s >= _TELL_EVERY_S:
            self._told_s = now_s
            total = max(self._events_total, findings.events)
            done, lanes = self._lanes_done, len(self._lanes)
            self._tell(
                ReplayProgress(lane, done, lanes, findings.events, total, findings.streams, findings.found)
            )

    def _report(self, elapsed_s: float) -> Report:
        found = self._findings
        return Report(
            ok=not found.found,
            mode=self._mode,
            lanes=list(self._lanes),
            streams=found.streams,
            events=found.events,
            timers=found.timers,
            dead_letters=found.dead_letters,
            journeys_compared=found.journeys_compared,
            journeys_outdated=found.journeys_outdated,
            rows_written=found.rows_written,
            elapsed_s=round(elapsed_s, 3),
            events_per_s=round(found.events / elapsed_s) if elapsed_s else 0,
            differences_found=found.found,
            differences=found.kept,
        )


def _compare_positions(snapshot: LaneSnapshot, lane: int, fold: LaneFold, findings: Findings) -> None:
    """The log against its own numbering and what stands beside its position."""
    schema, positions = snapshot.schema, snapshot.positions()
    at, detail, newest = positions[LOG].at, log_detail(positions[LOG].detail), snapshot.newest_position()
    if fold.events != newest:
        for first, last in snapshot.position_gaps(_GAPS_MAX):
            findings.add(
                lane, "log.position_gap", f"{schema} positions {first} to {last}", "no event stands there"
            )
    if at != newest:
        findings.add(
            lane,
            "position.log",
            f"{schema}.positions",
            f"the log's says {at}, its last event stands at {newest}",
        )
    if detail.lane_version != fold.lane_version and not fold.own_damaged:
        found = (
            f"the lane's own stream is said to have {detail.lane_version} events, it has {fold.lane_version}"
        )
        findings.add(lane, "position.note", f"{schema}.positions", found)
    if detail.paused != fold.paused and not fold.own_damaged:
        found = f"the lane is said to be {_WORDS[detail.paused]}, its stream says {_WORDS[fold.paused]}"
        findings.add(lane, "position.note", f"{schema}.positions", found)
    for name, position in positions.items():
        if name.startswith(OUT) and not 0 <= position.at <= at:
            found = f"{name} says {position.at}, the log ends at {at}"
            findings.add(lane, "position.follower", f"{schema}.positions", found)
