"""One lane's Parquet files: `date=YYYY-MM-DD/lane=7/<first>-<last>.parquet`, each there whole or not at all.

`first` and `last` are positions of the lane's log; a stretch of the log over several days is one file a day, all named
alike. `date` is the UTC day of `recorded_at`.
"""

import os
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.core.errors import OrchestratorError
from projections.analytics.rows import Row, columns_of

_DAY_MS = 86_400_000
_NAME = re.compile(r"(\d{20})-(\d{20})\.parquet")
_TEMPORARY = ".tmp"
_SUPERSEDED = ".superseded"  # no reader's glob for *.parquet matches it
_LOG_KEY = b"journey.log"
_INSTANT = pa.timestamp("ms", tz="UTC")
_TYPES = {
    "lane": pa.int32(),
    "position": pa.int64(),
    "version": pa.int64(),
    "definition_version": pa.int64(),
    "recorded_at": _INSTANT,
    "occurred_at": _INSTANT,
    "command_index": pa.int32(),
    "attempt": pa.int32(),
    "due_at": _INSTANT,
}
SCHEMA = pa.schema([pa.field(name, _TYPES.get(name, pa.string())) for name in Row._fields])

Days = dict[int, list[Any]]
"""Day since the epoch to record batches, in log order."""


class FolderRefused(OrchestratorError):
    """The folder can't take this lane's files; the message says why and what to do."""


class Stretch(NamedTuple):
    """A contiguous part of the lane's log, ends included."""

    first: int
    last: int

    @property
    def file_name(self) -> str:
        return f"{self.first:020d}-{self.last:020d}.parquet"


def add_rows(days: Days, rows: Iterable[Row]) -> None:
    """Sort rows into days, as compact columns."""
    by_day: dict[int, list[Row]] = {}
    for row in rows:
        by_day.setdefault(row.recorded_at // _DAY_MS, []).append(row)
    for day, its_rows in by_day.items():
        batch = pa.RecordBatch.from_pydict(columns_of(its_rows), schema=SCHEMA)
        days.setdefault(day, []).append(batch)


class LaneFiles:
    """The files of one lane below `root`. `log` names the log they come from. Synchronous; may raise OSError."""

    def __init__(self, root: Path, lane: int, log: str) -> None:
        self._root = root
        self._lane = lane
        self._log = log

    def check(self) -> None:
        """Refuse a folder that holds another installation's files. Raises FolderRefused."""
        newest = max(self._found(), default=None)
        if newest is None:
            return
        path = newest[1]
        known = (pq.read_metadata(path).metadata or {}).get(_LOG_KEY, b"").decode()
        if known != self._log:
            raise FolderRefused(
                f"{path} was written from another event log than this lane's: its rows would mix with ours."
                " Name an empty folder in ORCHESTRATOR_ANALYTICS_DIR"
            )

    def stretches(self) -> Sequence[Stretch]:
        """What the files' names say, in order, each once."""
        return sorted({stretch for stretch, _ in self._found()})

    def remove_temporary(self) -> None:
        """Remove what a dead writer left half done."""
        for path in self._root.glob(f"date=*/lane={self._lane}/.*{_TEMPORARY}"):
            path.unlink(missing_ok=True)

    def set_aside_after(self, position: int) -> int:
        """Rename files beyond a position so that no reader takes them; how many there were."""
        beyond = [path for stretch, path in self._found() if stretch.last > position]
        for path in beyond:
            path.rename(path.with_name(path.name + _SUPERSEDED))
            _sync_folder(path.parent)
        return len(beyond)

    def write_missing(self, stretch: Stretch, days: Mapping[int, Sequence[Any]]) -> int:
        """Write each day's file of a stretch unless it is there already; how many were written."""
        missing = [day for day, batches in days.items() if not self._holds(self._path(stretch, day), batches)]
        for day in missing:
            self._write(self._path(stretch, day), days[day])
        return len(missing)

    def _found(self) -> list[tuple[Stretch, Path]]:
        found = []
        for path in self._root.glob(f"date=*/lane={self._lane}/*.parquet"):
            match = _NAME.fullmatch(path.name)
            if match is not None:
                found.append((Stretch(int(match[1]), int(match[2])), path))
        return found

    def _path(self, stretch: Stretch, day: int) -> Path:
        date = datetime.fromtimestamp(day * _DAY_MS / 1000, UTC).date().isoformat()
        return self._root / f"date={date}" / f"lane={self._lane}" / stretch.file_name

    def _holds(self, path: Path, batches: Sequence[Any]) -> bool:
        try:
            known = pq.read_metadata(path)
        except FileNotFoundError:
            return False
        except pa.ArrowException:  # not ours: a file system that lost what it had confirmed
            return False
        return bool(known.num_rows == sum(batch.num_rows for batch in batches))

    def _write(self, path: Path, batches: Sequence[Any]) -> None:
        """Under another name first: the file's own name appears only when all of it is on the disk."""
        _make_folder(path.parent)
        schema = SCHEMA.with_metadata({_LOG_KEY: self._log.encode()})
        table = pa.Table.from_batches(batches, schema=SCHEMA).cast(schema)
        temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{_TEMPORARY}")
        try:
            with temporary.open("xb") as file:
                pq.write_table(table, file, compression="zstd")
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def _make_folder(folder: Path) -> None:
    """Make a folder and its parents, each durable in the one above it."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
