"""One lane's tables as they were at one moment: a read-only transaction and server-side cursors, in bounded chunks."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, LiteralString
from uuid import UUID

from psycopg import Connection, ServerCursor, sql
from psycopg.rows import tuple_row

from orchestrator.engine.database import Database
from orchestrator.engine.store import Position

_CHUNK_ROWS = 2_000
_KEYS_MAX = 20_000


EventRow = tuple[bytes, int, int, str, bytes]
"""One event as stored: its stream's id (16 bytes), version, position, name and stored form. A bare tuple: it is hot."""


class LaneSnapshot:
    """Reads from one connection inside one repeatable-read transaction; nothing here can write."""

    def __init__(self, connection: Connection[Any], lane: int) -> None:
        self.schema = f"lane_{lane:03d}"
        self._connection = connection
        self._keys: dict[str, bytes] = {}
        self._cursors = 0

    def positions(self) -> dict[str, Position]:
        """Every position of the lane."""
        return {
            name: Position(at, detail)
            for name, at, detail in self._rows("SELECT name, at, detail FROM {lane}.positions")
        }

    def secret(self) -> bytes:
        """The lane's secret."""
        return self.subject_keys({"lane"})["lane"]

    def subject_keys(self, subjects: set[str]) -> Mapping[str, bytes]:
        """Encryption keys that exist of these subjects, and perhaps others read before."""
        missing = [s for s in subjects if s not in self._keys]
        if missing:
            if len(self._keys) > _KEYS_MAX:
                self._keys = {}
                missing = list(subjects)
            query = "SELECT subject, key FROM {lane}.subject_keys WHERE subject = ANY(%s)"
            self._keys |= dict(self._rows(query, (missing,)))
        return self._keys

    def events(self) -> Iterator[Sequence[EventRow]]:
        """The whole log, stream by stream, each in the order of its versions."""
        yield from self._chunks(
            "SELECT uuid_send(originator_id), originator_version, notification_id, topic, state"
            " FROM {lane}.stored_events ORDER BY originator_id, originator_version"
        )

    def journeys(self) -> Iterator[Sequence[Any]]:
        """Rows of the read model by stream id."""
        yield from self._chunks(
            "SELECT uuid_send(stream_id), stream, kind, definition, definition_version, label, version, updated_ms,"
            " fold_version, snapshot FROM {lane}.journeys ORDER BY stream_id"
        )

    def stream_keys(self) -> Iterator[Sequence[Any]]:
        """Chunks of decided keys by stream id and version."""
        yield from self._chunks(
            "SELECT uuid_send(stream_id), packed FROM {lane}.stream_keys ORDER BY stream_id, first_version"
        )

    def timers(self) -> Iterator[Sequence[Any]]:
        """Rows of the timers' table by stream id."""
        yield from self._chunks(
            "SELECT uuid_send(stream_id), timer, armed_at, due_ms, stream, history FROM {lane}.timers ORDER BY stream_id, timer"
        )

    def stream_events(self, stream_id: bytes, names: Sequence[str]) -> Iterator[Sequence[Any]]:
        """Events of one stream that have one of these names, in order: name and stored form."""
        yield from self._chunks(
            "SELECT topic, state FROM {lane}.stored_events WHERE originator_id = %s AND topic = ANY(%s)"
            " ORDER BY originator_version",
            (UUID(bytes=stream_id), list(names)),
        )

    def dead_letters(self) -> Iterator[Sequence[Any]]:
        """Rows of the dead letters' read model in the order of the lane's own stream."""
        yield from self._chunks(
            "SELECT version, id, topic, reason, error, source, command_id, command_type, subject, at_ms, status, note"
            " FROM {lane}.dead_letters ORDER BY version, id"
        )

    def flow_counts(self) -> Iterator[Sequence[Any]]:
        """Rows of the counts of flows: definition, version, day, node, measure, key, number."""
        yield from self._chunks(
            "SELECT definition, version, day, node, measure, key, n FROM {lane}.flow_counts WHERE n <> 0"
        )

    def flow_open(self) -> Iterator[Sequence[Any]]:
        """What counting remembers, by stream id."""
        yield from self._chunks("SELECT uuid_send(stream_id), state FROM {lane}.flow_open ORDER BY stream_id")

    def dead_letter_ids(self, ids: Sequence[str]) -> set[str]:
        """Which of these dead letters have a row."""
        return {
            row[0]
            for row in self._rows("SELECT id FROM {lane}.dead_letters WHERE id = ANY(%s)", (list(ids),))
        }

    def position_gaps(self, limit: int) -> list[tuple[int, int]]:
        """Positions that no event has: first and last of each gap."""
        return self._rows(
            "SELECT before + 1, at - 1 FROM (SELECT notification_id AS at, COALESCE(lag(notification_id)"
            " OVER (ORDER BY notification_id), 0) AS before FROM {lane}.stored_events) AS x"
            " WHERE at <> before + 1 ORDER BY at LIMIT %s",
            (limit,),
        )

    def newest_position(self) -> int:
        """The log's last position; 0 when it is empty."""
        return int(self._rows("SELECT COALESCE(max(notification_id), 0) FROM {lane}.stored_events")[0][0])

    def _rows(self, query: LiteralString, params: Any = None) -> list[Any]:
        with self._connection.cursor(row_factory=tuple_row, binary=True) as cursor:
            return cursor.execute(self._statement(query), params).fetchall()

    def _chunks(self, query: LiteralString, params: Any = None) -> Iterator[Sequence[Any]]:
        self._cursors += 1
        with ServerCursor(self._connection, f"replay_{self._cursors}", row_factory=tuple_row) as cursor:
            cursor.execute(self._statement(query), params, binary=True)
            while rows := cursor.fetchmany(_CHUNK_ROWS):
                yield rows

    def _statement(self, query: LiteralString) -> sql.Composed:
        return sql.SQL(query).format(lane=sql.Identifier(self.schema))


@contextmanager
def lane_snapshot(database: Database, lane: int) -> Iterator[LaneSnapshot]:
    """The lane as it is now. Raises the library's PersistenceError."""
    with database.datastore.transaction() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        # A worker's limits are for look-ups; this reads everything, and sorts it when that is cheaper.
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = '10min'")
        cursor.execute("SET LOCAL cursor_tuple_fraction = 1.0")
        cursor.execute("SET LOCAL work_mem = '64MB'")
        yield LaneSnapshot(cursor.connection, lane)


class Merged:
    """Rows of a table ordered by stream id, handed out stream by stream beside the log. First column: the id."""

    def __init__(self, chunks: Iterator[Sequence[Any]]) -> None:
        self._rows = (row for chunk in chunks for row in chunk)
        self._next = next(self._rows, None)

    def before(self, stream_id: bytes) -> Iterator[Any]:
        """Rows of streams that come before this one: the log doesn't know them."""
        while self._next is not None and self._next[0] < stream_id:
            yield self._next
            self._next = next(self._rows, None)

    def of(self, stream_id: bytes) -> list[Any]:
        """The rows of this stream."""
        found = []
        while self._next is not None and self._next[0] == stream_id:
            found.append(self._next)
            self._next = next(self._rows, None)
        return found

    def rest(self) -> Iterator[Any]:
        """What is left when the log has ended."""
        while self._next is not None:
            yield self._next
            self._next = next(self._rows, None)
