"""A lane's event log: positions that fence, events, timers, snapshots. One transaction shape for every writer."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder
from psycopg import Cursor, sql
from psycopg.rows import DictRow, tuple_row
from typing_extensions import override

from orchestrator.core.errors import ConfigurationError, Fenced
from orchestrator.engine import copy_format
from orchestrator.engine.database import Database, PersistenceError
from orchestrator.engine.migrations import LANE_STEPS
from orchestrator.engine.schema import FENCED_STATE, FLOW_TABLES, LANE_FUNCTIONS, LANE_TABLES

LOG = "log"
_ONE_CALL_ROWS = 200


class Position(NamedTuple):
    """How far a reader or writer has come; `detail` is JSON kept beside it."""

    at: int
    detail: str


class Move(NamedTuple):
    """A compare-and-set of one position; `detail` None leaves it as it is."""

    name: str
    was: int
    to: int
    detail: str | None = None


class TimerRow(NamedTuple):
    """A timer of the lane."""

    stream_id: UUID
    timer: str
    armed_at: int
    due_ms: int
    stream: str
    history: bool = False  # was due already when an imported command armed it


class LogRow(NamedTuple):
    """One event as stored."""

    position: int
    stream_id: UUID
    version: int
    name: str
    stored: bytes


class SnapshotRow(NamedTuple):
    """A journey as last saved."""

    stream_id: UUID
    stream: str
    kind: str
    definition: str
    definition_version: int
    label: str
    version: int
    updated_ms: int
    fold_version: int
    snapshot: bytes
    new_keys_from: int  # version of the first key in `new_keys`
    new_keys: bytes


class Append(NamedTuple):
    """One lane transaction: positions, events in order, timers set, moved and deleted."""

    moves: Sequence[Move]
    events: Sequence[LogRow] = ()
    timers_set: Sequence[TimerRow] = ()
    timers_deleted: Sequence[tuple[UUID, str]] = ()

    @property
    def small(self) -> bool:
        """Whether one call takes it; above, COPY is quicker for the server than arrays are."""
        return max(len(self.events), len(self.timers_set), len(self.timers_deleted)) <= _ONE_CALL_ROWS


class Loaded(NamedTuple):
    """What a cold stream is rebuilt from."""

    snapshot: tuple[int, int, int, bytes] | None  # version, definition_version, fold_version, snapshot
    keys: bytes
    tail: list[tuple[int, str, bytes]]  # version, name, stored


class LaneRecorder(PostgresApplicationRecorder):
    """The library's recorder with its insert replaced: binary COPY, positions chosen by the fenced writer."""

    @override
    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        """Refused: an append without the lane's compare-and-set could interleave with another owner's."""
        raise NotImplementedError("append through LaneStore.commit, which fences")


class LaneStore:
    """Synchronous; call it in a thread. Every method may raise the library's PersistenceError."""

    def __init__(self, database: Database, lane: int) -> None:
        self.lane = lane
        self.schema = f"lane_{lane:03d}"
        self.database = database
        self._datastore = database.lane_datastore(self.schema)
        self._recorder = LaneRecorder(self._datastore)
        self._sql = {
            name: sql.SQL(text).format(lane=sql.Identifier(self.schema)) for name, text in _STATEMENTS.items()
        }
        self._append = self._sql["append"].as_bytes(None)

    def create(self, positions: Iterable[tuple[str, int]], secret: bytes) -> None:
        """Make the lane's schema, tables and position rows; what exists is left as it is."""
        with self.database.transaction() as cursor:
            cursor.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(self.schema)))
        self._recorder.create_table()
        with self.database.transaction() as cursor:
            for statement in LANE_TABLES.split(";"):
                if statement.strip():
                    cursor.execute(sql.SQL(statement.strip()).format(lane=sql.Identifier(self.schema)))
            for statement in (*FLOW_TABLES, *LANE_FUNCTIONS):
                cursor.execute(self.statement(statement))
            rows = [(LOG, 0), *positions]
            cursor.executemany(self._sql["make_position"], rows)
            cursor.execute(self._sql["make_key"], ("lane", secret))

    def migrate(self, found: int) -> None:
        """Bring a lane of an older format up to this release's, in one transaction; a lane not made yet is left alone."""
        with self.database.transaction() as cursor:
            there = cursor.execute("SELECT to_regclass(%s) AS there", (f"{self.schema}.timers",)).fetchone()
            if there is None or there["there"] is None:
                return
            for step in LANE_STEPS[found - 1 :]:
                for statement in step:
                    cursor.execute(self.statement(statement))

    def positions(self) -> dict[str, Position]:
        """Every position of the lane. Raises ConfigurationError when the lane was never made."""
        with self._datastore.cursor() as cursor:
            cursor.execute(self._sql["positions"])
            rows = {row["name"]: Position(row["at"], row["detail"]) for row in cursor.fetchall()}
        if LOG not in rows:
            raise ConfigurationError(
                f"{self.schema} has no log position: run `orchestrator init` against this database"
            )
        return rows

    def log_end(self) -> int:
        """The position of the last event that is there; 0 in an empty log."""
        with self._datastore.cursor() as cursor:
            row = cursor.execute(self._sql["log_end"]).fetchone()
        return int(row["at"]) if row else 0

    def secret(self) -> bytes:
        return self.subject_keys(["lane"])["lane"]

    def subject_keys(
        self, subjects: Sequence[str], *, create: Mapping[str, bytes] | None = None
    ) -> dict[str, bytes]:
        """Encryption keys that exist; those in `create` are made first unless another owner was quicker."""
        with self.database.transaction() as cursor:
            if create:
                cursor.executemany(self._sql["make_key"], list(create.items()))
            cursor.execute(self._sql["keys"], (list(subjects),))
            return {row["subject"]: bytes(row["key"]) for row in cursor.fetchall()}

    def erase_day_keys(self, before_day: int) -> int:
        """Erase keys `day/N` with N below `before_day` (days since the epoch); what they sealed is unreadable then."""
        with self.database.transaction() as cursor:
            return cursor.execute(self._sql["erase_day_keys"], (before_day,)).rowcount

    def load(self, stream_ids: Sequence[UUID], fold_versions: Mapping[str, int]) -> dict[UUID, Loaded]:
        """Snapshots, keys and tails of cold streams, in three look-ups for all. Unknown streams are absent."""
        ids = list(stream_ids)
        found: dict[UUID, Loaded] = {}
        with (
            self._datastore.cursor() as cursor,
            cursor.connection.cursor(row_factory=tuple_row, binary=True) as c,
        ):
            c.execute(self._sql["snapshots"], (ids,), prepare=True)
            after = dict.fromkeys(ids, 0)
            for stream_id, kind, version, definition_version, fold_version, snapshot in c.fetchall():
                if fold_versions.get(kind) == fold_version:
                    found[stream_id] = Loaded((version, definition_version, fold_version, snapshot), b"", [])
                    after[stream_id] = version
            if found:
                c.execute(self._sql["stream_keys"], (list(found),), prepare=True)
                for stream_id, packed in c.fetchall():
                    found[stream_id] = found[stream_id]._replace(keys=packed)
            c.execute(self._sql["tails"], (list(after), list(after.values())), prepare=True)
            for stream_id, version, name, stored in c.fetchall():
                if stream_id not in found:
                    found[stream_id] = Loaded(None, b"", [])
                found[stream_id].tail.append((version, name, stored))
        return found

    def stream_page(self, stream_id: UUID, after: int, limit: int) -> list[tuple[int, str, bytes]]:
        """Up to `limit` events of one stream after a version: version, name, stored."""
        with (
            self._datastore.cursor() as cursor,
            cursor.connection.cursor(row_factory=tuple_row, binary=True) as c,
        ):
            return c.execute(self._sql["stream_page"], (stream_id, after, limit), prepare=True).fetchall()

    def events_at(self, places: Sequence[tuple[UUID, int]]) -> dict[tuple[UUID, int], tuple[str, bytes]]:
        """Name and stored bytes of single events."""
        ids, versions = [p[0] for p in places], [p[1] for p in places]
        with (
            self._datastore.cursor() as cursor,
            cursor.connection.cursor(row_factory=tuple_row, binary=True) as c,
        ):
            c.execute(self._sql["events_at"], (ids, versions), prepare=True)
            return {(r[0], r[1]): (r[2], r[3]) for r in c.fetchall()}

    def read_log(self, after: int, limit: int) -> list[LogRow]:
        """Up to `limit` events after a position, in order."""
        with (
            self._datastore.cursor() as cursor,
            cursor.connection.cursor(row_factory=tuple_row, binary=True) as c,
        ):
            c.execute(self._sql["read_log"], (after, limit), prepare=True)
            return [LogRow(*row) for row in c.fetchall()]

    def stream_events(self, stream_id: UUID) -> Sequence[StoredEvent]:
        """Every event of one stream."""
        return list(self._recorder.select_events(stream_id))

    def commit(self, append: Append) -> None:
        """One transaction. Raises Fenced when a position isn't where the caller thinks it is."""
        if append.small:
            self._commit_in_one_call(append)
            return
        with self.database.transaction() as cursor:
            self._move(cursor, append.moves)
            if append.events:
                with cursor.copy(self._sql["copy_events"]) as copy:
                    copy.write(copy_format.events(append.events))
            if append.timers_deleted:
                ids, names = [t[0] for t in append.timers_deleted], [t[1] for t in append.timers_deleted]
                cursor.execute(self._sql["delete_timers"], (ids, names))
            if append.timers_set:
                columns = [list(column) for column in zip(*append.timers_set, strict=True)]
                cursor.execute(self._sql["set_timers"], columns)

    def append_call(self, append: Append) -> tuple[bytes, list[list[Any]]]:
        """The call that commits a small transaction, and its arguments. In autocommit its statement is the transaction."""
        events = [(e.stream_id, e.version, e.name, e.stored, e.position) for e in append.events]
        arguments = [
            *_columns(append.moves, 4),
            *_columns(events, 5),
            *_columns(append.timers_deleted, 2),
            *_columns(append.timers_set, 6),
        ]
        return self._append, arguments

    def _commit_in_one_call(self, append: Append) -> None:
        call, arguments = self.append_call(append)
        try:
            with self._datastore.cursor() as cursor:
                cursor.execute(b"SELECT " + call, arguments, prepare=True)
        except PersistenceError as error:
            if getattr(error.__cause__, "sqlstate", None) == FENCED_STATE:
                raise self._fenced(append.moves) from None
            raise

    def _fenced(self, moves: Sequence[Move]) -> Fenced:
        where = ", ".join(f"{move.name} at {move.was}" for move in moves)
        return Fenced(f"{self.schema}: no longer {where}: another owner writes this lane")

    def _move(self, cursor: Cursor[DictRow], moves: Sequence[Move]) -> None:
        done = cursor.execute(self._sql["move"], [list(column) for column in zip(*moves, strict=True)])
        if done.rowcount != len(moves):
            raise self._fenced(moves)

    def due_timers(self, now_ms: int, limit: int, *, history: bool) -> list[TimerRow]:
        """Earliest first; `history`: those that were due in imported history, instead of the others."""
        with self._datastore.cursor() as cursor:
            rows = cursor.execute(self._sql["due_timers"], (history, now_ms, limit)).fetchall()
        return [TimerRow(*(r[name] for name in TimerRow._fields)) for r in rows]

    def next_due_ms(self) -> tuple[int | None, int | None]:
        """When the next timer is due, and the next of those that were due in imported history."""
        with self._datastore.cursor() as cursor:
            rows = [cursor.execute(self._sql["next_due"], (history,)).fetchone() for history in (False, True)]
        return rows[0]["due_ms"] if rows[0] else None, rows[1]["due_ms"] if rows[1] else None

    def clock_ms(self) -> int:
        """PostgreSQL's clock: the one time all owners of a lane share."""
        with self._datastore.cursor() as cursor:
            row = cursor.execute(
                "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS ms"
            ).fetchone()
        assert row is not None
        return int(row["ms"])

    def save_journeys(self, move: Move | None, rows: Sequence[SnapshotRow]) -> None:
        """Upsert journeys (never back to an older version) and append their keys; one follower transaction."""
        with self.database.transaction() as cursor:
            if move is not None:
                self._move(cursor, [move])
            if rows:
                columns = [list(c) for c in list(zip(*rows, strict=True))[:10]]
                cursor.execute(self._sql["save_journeys"], columns)
                rebuilt = [r.stream_id for r in rows if r.new_keys_from == 1]
                if rebuilt:  # folded from the first event: older chunks say the same in other cuts
                    cursor.execute(self._sql["forget_keys"], (rebuilt,))
                keys = [(r.stream_id, r.new_keys_from, r.new_keys) for r in rows if r.new_keys]
                if keys:
                    cursor.execute(self._sql["save_keys"], [list(c) for c in zip(*keys, strict=True)])

    def count_journeys(self) -> list[DictRow]:
        """Journeys by definition and label."""
        with self._datastore.cursor() as cursor:
            return cursor.execute(self._sql["count_journeys"]).fetchall()

    def controls(self) -> list[tuple[str, str, str]]:
        """Operators' requests waiting for the lane's owner: id, type, JSON data; oldest first."""
        with self._datastore.cursor() as cursor:
            rows = cursor.execute(self._sql["controls"]).fetchall()
        return [(r["id"], r["type"], r["data"]) for r in rows]

    def answer_control(self, control_id: str, answer: str) -> None:
        """Tell the operator what became of a request."""
        with self._datastore.cursor() as cursor:
            cursor.execute(self._sql["answer_control"], (answer, control_id))

    def dead_letter(self, dead_letter_id: str) -> DictRow | None:
        with self._datastore.cursor() as cursor:
            return cursor.execute(self._sql["dead_letter"], (dead_letter_id,)).fetchone()

    def move(self, moves: Sequence[Move]) -> None:
        """Advance positions alone."""
        with self.database.transaction() as cursor:
            self._move(cursor, moves)

    def statement(self, text: str) -> sql.Composed:
        """A follower's own statement with `{lane}` filled in."""
        return sql.SQL(text).format(lane=sql.Identifier(self.schema))

    def follow(self, move: Move, statement: sql.Composed, rows: Sequence[Sequence[Any]]) -> None:
        """A follower's transaction: its position, then its rows."""
        with self.database.transaction() as cursor:
            self._move(cursor, [move])
            if rows:
                cursor.executemany(statement, rows)


def _columns(rows: Sequence[Sequence[Any]], width: int) -> list[list[Any]]:
    """Rows as columns; as many empty ones where there are no rows."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]


_STATEMENTS = {
    "append": "{lane}.append(%b::text[], %b::bigint[], %b::bigint[], %b::text[], %b::uuid[], %b::bigint[],"
    " %b::text[], %b::bytea[], %b::bigint[], %b::uuid[], %b::text[], %b::uuid[], %b::text[], %b::bigint[], %b::bigint[],"
    " %b::text[], %b::boolean[])",
    "make_position": "INSERT INTO {lane}.positions (name, at) VALUES (%s, %s) ON CONFLICT DO NOTHING",
    "make_key": "INSERT INTO {lane}.subject_keys (subject, key) VALUES (%s, %s) ON CONFLICT DO NOTHING",
    "keys": "SELECT subject, key FROM {lane}.subject_keys WHERE subject = ANY(%s)",
    "erase_day_keys": "DELETE FROM {lane}.subject_keys WHERE subject LIKE 'day/%%' AND substr(subject, 5)::bigint < %s",
    "log_end": "SELECT notification_id AS at FROM {lane}.stored_events ORDER BY notification_id DESC LIMIT 1",
    "positions": "SELECT name, at, detail FROM {lane}.positions",
    "move": "UPDATE {lane}.positions p SET at = q.at, detail = COALESCE(q.detail, p.detail)"
    " FROM unnest(%b::text[], %b::bigint[], %b::bigint[], %b::text[]) AS q(name, was, at, detail)"
    " WHERE p.name = q.name AND p.at = q.was",
    "snapshots": "SELECT stream_id, kind, version, definition_version, fold_version, snapshot"
    " FROM {lane}.journeys WHERE stream_id = ANY(%b::uuid[])",
    "stream_keys": "SELECT stream_id, string_agg(packed, ''::bytea ORDER BY first_version)"
    " FROM {lane}.stream_keys WHERE stream_id = ANY(%b::uuid[]) GROUP BY stream_id",
    "tails": "SELECT e.originator_id, e.originator_version, e.topic, e.state"
    " FROM unnest(%b::uuid[], %b::bigint[]) AS q(id, after)"
    " JOIN {lane}.stored_events e ON e.originator_id = q.id AND e.originator_version > q.after"
    " ORDER BY e.originator_id, e.originator_version",
    "stream_page": "SELECT originator_version, topic, state FROM {lane}.stored_events"
    " WHERE originator_id = %s AND originator_version > %s ORDER BY originator_version LIMIT %s",
    "events_at": "SELECT e.originator_id, e.originator_version, e.topic, e.state"
    " FROM unnest(%b::uuid[], %b::bigint[]) AS q(id, at)"
    " JOIN {lane}.stored_events e ON e.originator_id = q.id AND e.originator_version = q.at",
    "read_log": "SELECT notification_id, originator_id, originator_version, topic, state"
    " FROM {lane}.stored_events WHERE notification_id > %s ORDER BY notification_id LIMIT %s",
    "copy_events": "COPY {lane}.stored_events (originator_id, originator_version, topic, state, notification_id)"
    " FROM STDIN (FORMAT BINARY)",
    "delete_timers": "DELETE FROM {lane}.timers t USING unnest(%b::uuid[], %b::text[]) AS q(id, timer)"
    " WHERE t.stream_id = q.id AND t.timer = q.timer",
    "set_timers": "INSERT INTO {lane}.timers (stream_id, timer, armed_at, due_ms, stream, history)"
    " SELECT * FROM unnest(%b::uuid[], %b::text[], %b::bigint[], %b::bigint[], %b::text[], %b::boolean[])"
    " ON CONFLICT (stream_id, timer) DO UPDATE SET armed_at = EXCLUDED.armed_at, due_ms = EXCLUDED.due_ms,"
    " history = EXCLUDED.history",
    "due_timers": "SELECT * FROM {lane}.timers WHERE history = %s AND due_ms <= %s"
    " ORDER BY due_ms, stream_id, timer LIMIT %s",
    "count_journeys": "SELECT kind, definition, label, count(*) AS journeys FROM {lane}.journeys GROUP BY 1, 2, 3",
    "controls": "SELECT id, type, data FROM {lane}.controls WHERE answer IS NULL ORDER BY made, id LIMIT 100",
    "answer_control": "UPDATE {lane}.controls SET answer = %s WHERE id = %s",
    "dead_letter": "SELECT * FROM {lane}.dead_letters WHERE id = %s",
    "next_due": "SELECT due_ms FROM {lane}.timers WHERE history = %s ORDER BY due_ms LIMIT 1",
    "save_journeys": "INSERT INTO {lane}.journeys AS j (stream_id, stream, kind, definition, definition_version, label,"
    " version, updated_ms, fold_version, snapshot) SELECT * FROM unnest(%b::uuid[], %b::text[], %b::text[], %b::text[],"
    " %b::bigint[], %b::text[], %b::bigint[], %b::bigint[], %b::int[], %b::bytea[])"
    " ON CONFLICT (stream_id) DO UPDATE SET definition_version = EXCLUDED.definition_version, label = EXCLUDED.label,"
    " version = EXCLUDED.version, updated_ms = EXCLUDED.updated_ms, fold_version = EXCLUDED.fold_version,"
    " snapshot = EXCLUDED.snapshot WHERE j.version <= EXCLUDED.version",
    "forget_keys": "DELETE FROM {lane}.stream_keys WHERE stream_id = ANY(%b::uuid[])",
    "save_keys": "INSERT INTO {lane}.stream_keys AS k (stream_id, first_version, packed)"
    " SELECT * FROM unnest(%b::uuid[], %b::bigint[], %b::bytea[]) ON CONFLICT (stream_id, first_version)"
    " DO UPDATE SET packed = EXCLUDED.packed WHERE length(EXCLUDED.packed) > length(k.packed)",
}
