"""The Parquet sink: every event of a lane as one row, each row once, whatever dies when.

Positions come first: a stretch of the log is claimed by moving the saved position over it and noting its beginning, and
only then written. So its ends never change: whoever owns the lane next writes the stretch again under the same names
with the same rows, and the file of a former owner that wakes up late only replaces its equal.
"""

import asyncio
import time
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import structlog

from orchestrator.core.errors import Fenced
from orchestrator.engine.envelope import Recorded
from orchestrator.engine.follower import LogFeed
from orchestrator.engine.lane import Committed, Lane
from orchestrator.engine.positions import OUT, encode
from orchestrator.engine.store import Move
from projections.analytics.parquet_files import Days, FolderRefused, LaneFiles, Stretch, add_rows
from projections.analytics.rows import row_of

NAME = "parquet"
_POSITION = OUT + NAME
_READ_EVENTS = 2_000
_BACKOFF_FIRST_S, _BACKOFF_MOST_S = 1.0, 60.0
_LOCK = "SELECT at FROM {lane}.positions WHERE name = %s FOR UPDATE"
log = structlog.get_logger("parquet")


class Claim(msgspec.Struct, frozen=True, omit_defaults=True):
    """Beside the saved position: where the last claimed stretch begins; 0: nothing is claimed."""

    first: int = 0


class Parquet:
    """One lane's. A file is written when so many rows or bytes wait, or the first of them has waited so long."""

    name = NAME
    tells = False

    def __init__(
        self,
        lane: Lane,
        directory: str | Path,
        *,
        rows_max: int = 20_000,
        bytes_max: int = 32 << 20,
        wait_s: float = 30.0,
    ) -> None:
        self._lane = lane
        self._directory = Path(directory)
        self._rows_max = rows_max
        self._bytes_max = bytes_max
        self._wait_s = wait_s
        self._feed = LogFeed(lane)
        self._position = 0  # saved: everything up to here is claimed
        self._written = 0
        self._failures = 0

    def feed(self, committed: Committed) -> None:
        self._feed.feed(committed)

    @property
    def lag_events(self) -> int:
        return self._lane.position - self._written

    async def run(self) -> None:
        while True:
            try:
                await self._follow()
            except (OSError, FolderRefused, pa.ArrowException) as trouble:
                await self._wait(trouble)

    async def _wait(self, trouble: Exception) -> None:
        """A full or unreadable folder is this sink's trouble alone: its lag shows it, the lane goes on."""
        delay_s = min(_BACKOFF_MOST_S, _BACKOFF_FIRST_S * 2**self._failures)
        self._failures = min(self._failures + 1, 10)
        log.error(
            "analytics files can't be written; trying again",
            lane=self._lane.number, folder=str(self._directory), error=str(trouble)[:500], delay_s=delay_s,
        )  # fmt: skip
        await asyncio.sleep(delay_s)

    async def _follow(self) -> None:
        files = LaneFiles(self._directory, self._lane.number, _log_name(self._lane.secret))
        await self._open(files)
        while True:
            last, days = await self._gather()
            stretch = Stretch(self._position + 1, last)
            await self._claim(last, Claim(stretch.first))
            await asyncio.to_thread(files.write_missing, stretch, days)
            self._written, self._failures = last, 0

    async def _open(self, files: LaneFiles) -> None:
        """Stand where the log's database says, and make the folder agree with it."""
        row = (await self._lane.run(self._lane.store.positions))[_POSITION]
        self._position = row.at
        claim = msgspec.json.decode(row.detail, type=Claim)
        first = claim.first or row.at + 1
        await asyncio.to_thread(files.check)
        await asyncio.to_thread(files.remove_temporary)
        stretches = await asyncio.to_thread(files.stretches)
        before = max((s.last for s in stretches if s.last < first), default=0)
        if before != first - 1 and Stretch(first, row.at) not in stretches:
            log.warning(
                "analytics folder lacks files that were written before; writing again from there",
                lane=self._lane.number, folder=str(self._directory), after=before, position=row.at,
            )  # fmt: skip
            await self._claim(before, Claim())
        if any(s.last > self._position for s in stretches):
            await self._set_aside(files)
        if first <= self._position:
            await self._repair(files, Stretch(first, self._position))
        self._written = self._position

    async def _repair(self, files: LaneFiles, stretch: Stretch) -> None:
        """The last claimed stretch is the only one whose files may be missing."""
        days: Days = {}
        after = stretch.first - 1
        while after < stretch.last:
            events = await self._lane.read_log(after, min(_READ_EVENTS, stretch.last - after))
            await self._add(days, events)
            after = events[-1].position
        written = await asyncio.to_thread(files.write_missing, stretch, days)
        if written:
            log.info(
                "analytics files completed", lane=self._lane.number, first=stretch.first, last=stretch.last
            )

    async def _gather(self) -> tuple[int, Days]:
        """What comes next, bounded in rows, bytes and time; and the position of its end."""
        days: Days = {}
        last, rows, size = self._position, 0, 0
        until_s: float | None = None
        while rows < self._rows_max and size < self._bytes_max:
            try:
                async with asyncio.timeout(None if until_s is None else until_s - time.monotonic()) as limit:
                    run = await self._feed.next(last)
            except TimeoutError:
                if not limit.expired():
                    raise
                break
            until_s = until_s or time.monotonic() + self._wait_s
            await self._add(days, run.events)
            last, rows = run.last, rows + len(run.events)
            size += sum(len(event.stored) for event in run.events)
        return last, days

    async def _add(self, days: Days, events: Any) -> None:
        await asyncio.to_thread(_convert, days, self._lane.number, events)

    async def _claim(self, to: int, claim: Claim) -> None:
        move = Move(_POSITION, self._position, to, encode(claim))
        await self._lane.run(self._lane.store.move, [move])
        self._position = to

    async def _set_aside(self, files: LaneFiles) -> None:
        """Files beyond the position are of a log that was set back, by a restored database for one."""
        moved = await self._lane.run(self._set_aside_locked, files)
        log.warning(
            "analytics files beyond the log were set aside as *.superseded",
            lane=self._lane.number, folder=str(self._directory), files=moved, position=self._position,
        )  # fmt: skip

    def _set_aside_locked(self, files: LaneFiles) -> int:
        store = self._lane.store
        with store.database.transaction() as cursor:  # no other owner can claim what is looked at here
            row = cursor.execute(store.statement(_LOCK), (_POSITION,)).fetchone()
            if row is None or row["at"] != self._position:
                raise Fenced(f"{store.schema}: {_POSITION} is no longer at {self._position}")
            return files.set_aside_after(self._position)


def _convert(days: Days, lane: int, events: list[Recorded]) -> None:
    add_rows(days, (row_of(lane, event) for event in events))


def _log_name(secret: bytes) -> str:
    """Tells one installation's lane from another's without showing its secret."""
    return blake2b(b"analytics", digest_size=12, key=secret).hexdigest()
