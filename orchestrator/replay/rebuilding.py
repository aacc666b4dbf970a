"""The read models written anew from the log, in one transaction that holds the lane's positions."""

from collections.abc import Mapping
from typing import Any, LiteralString
from uuid import UUID

from psycopg import Cursor, sql
from typing_extensions import override

from orchestrator.core.addresses import Stream
from orchestrator.core.errors import OrchestratorError
from orchestrator.core.events import Event
from orchestrator.core.lane_events import DeadLettered
from orchestrator.core.resource import ResourceKind, kept_fold_version
from orchestrator.engine.codec import Codec
from orchestrator.engine.envelope import Envelope
from orchestrator.engine.frame import Frame, Snapshot
from orchestrator.engine.positions import LOG, OUT, log_detail
from orchestrator.replay.folding import Folded, Visitor
from orchestrator.replay.letters import given_up_timers, letter_row, settlement, timer_letter_id
from orchestrator.replay.reading import LaneSnapshot, Merged
from orchestrator.replay.report import Findings
from projections.flow_analytics.counting import encode
from projections.flow_analytics.recount import Recount

_ROWS_AT_ONCE = 500
_EMPTIED: tuple[LiteralString, ...] = (
    "journeys",
    "stream_keys",
    "timers",
    "dead_letters",
    "flow_counts",
    "flow_open",
)
_FOLLOWERS = ("journeys", "dead_letters", "flow_analytics")
_INSERTS: Mapping[str, LiteralString] = {
    "journeys": "INSERT INTO {lane}.journeys (stream_id, stream, kind, definition, definition_version, label, version,"
    " updated_ms, fold_version, snapshot) SELECT * FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[],"
    " %s::bigint[], %s::text[], %s::bigint[], %s::bigint[], %s::int[], %s::bytea[])",
    "stream_keys": "INSERT INTO {lane}.stream_keys (stream_id, first_version, packed)"
    " SELECT * FROM unnest(%s::uuid[], %s::bigint[], %s::bytea[])",
    "timers": "INSERT INTO {lane}.timers (stream_id, timer, armed_at, due_ms, stream, history)"
    " SELECT * FROM unnest(%s::uuid[], %s::text[], %s::bigint[], %s::bigint[], %s::text[], %s::boolean[])",
    "dead_letters": "INSERT INTO {lane}.dead_letters (id, version, topic, reason, error, source, command_id, command_type,"
    " subject, at_ms) SELECT * FROM unnest(%s::text[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[],"
    " %s::text[], %s::text[], %s::text[], %s::bigint[]) ON CONFLICT DO NOTHING",
    "flow_counts": "INSERT INTO {lane}.flow_counts (definition, version, day, node, measure, key, n) SELECT * FROM"
    " unnest(%s::text[], %s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::bigint[])",
    "flow_open": "INSERT INTO {lane}.flow_open (stream_id, state) SELECT * FROM unnest(%s::uuid[], %s::bytea[])",
}
_SETTLE: LiteralString = "UPDATE {lane}.dead_letters SET status = %s, note = %s WHERE id = %s"


class Moved(OrchestratorError):
    """The lane's positions changed while it was rebuilt; nothing was written."""


class Rebuilding(Visitor):
    """Writes rows as journeys end: `lock`, then `empty`, then the fold; nothing counts before the commit."""

    def __init__(self, cursor: Cursor[Any], lane: int, codec: Codec, findings: Findings) -> None:
        self._cursor = cursor
        self._number = lane
        self._lane = f"lane_{lane:03d}"
        self._codec = codec
        self._findings = findings
        self._snapshot: LaneSnapshot | None = None
        self._given_up: set[str] = set()
        self._imported_ms = 0
        self._old_timers: Merged | None = None
        self._old: list[Any] = []
        self._positions: dict[str, int] = {}
        self._flows = Recount(0)
        self._flow_id = b""
        self._waiting: dict[str, list[tuple[Any, ...]]] = {table: [] for table in _EMPTIED}

    def lock(self) -> None:
        """Hold every position of the lane: whoever still writes it waits, and meets other positions afterwards."""
        self._execute("SET LOCAL statement_timeout = 0")
        self._execute("SET LOCAL idle_in_transaction_session_timeout = '10min'")
        self._execute("SELECT name, at FROM {lane}.positions ORDER BY name FOR UPDATE")
        self._positions = {row["name"]: row["at"] for row in self._cursor.fetchall()}
        self._flows = Recount(self._positions[LOG])

    def empty(self, snapshot: LaneSnapshot) -> None:
        """Delete the old rows, which `snapshot`, taken after `lock`, still shows."""
        self._snapshot = snapshot
        self._given_up = given_up_timers(snapshot, self._number, self._codec)
        self._imported_ms = log_detail(snapshot.positions()[LOG].detail).imported_ms
        self._old_timers = Merged(snapshot.timers())
        for table in _EMPTIED:
            self._execute("DELETE FROM {lane}.{table}", table=table)

    @override
    def begin(self, stream_id: bytes) -> int:
        """Find the stream's old timers."""
        self._end_flow()
        self._flow_id = stream_id
        assert self._old_timers is not None
        for _ in self._old_timers.before(stream_id):
            pass
        self._old = self._old_timers.of(stream_id)
        return 0

    @override
    def event(self, position: int, stream: str, event: Event) -> None:
        """Flows are counted."""
        self._flows.event(position, stream, event)

    def _end_flow(self) -> None:
        if open := self._flows.end():
            self._write("flow_open", (UUID(bytes=self._flow_id), encode(open)))

    @override
    def folded(self, journey: Folded) -> None:
        """The journey's row with its snapshot, its keys and its timers."""
        frame, stream = journey.frame, journey.frame.stream
        kind = frame.kind
        state = None if frame.state is None else kind.dump(frame.state)
        timers = {name: (timer.due_ms, timer.armed_at) for name, timer in frame.timers.items()}
        snapshot = Snapshot(stream.text, journey.at_ms, frame.definition_version, state, timers)
        label = kind.label(frame.state) if frame.state is not None else ""
        row = (
            stream.id, stream.text, stream.kind, stream.definition, frame.definition_version, label, frame.version,
            journey.at_ms, kept_fold_version(kind), self._codec.encode_snapshot(snapshot, self._key_of),
        )  # fmt: skip
        self._write("journeys", row)
        if not isinstance(kind, ResourceKind):
            self._write("stream_keys", (stream.id, 1, bytes(frame.keys.packed)))
        self._timers(frame, stream)

    def _timers(self, frame: Frame, stream: Stream) -> None:
        for name, timer in frame.timers.items():
            deadline_ms = frame.kind.deadline_ms(frame.state, name)
            letter = timer_letter_id(stream.id, name, timer.armed_at)
            if deadline_ms is not None and letter not in self._given_up:
                self._findings.timers += 1
                history = self._in_history(name, timer.armed_at, deadline_ms)
                self._write("timers", (stream.id, name, timer.armed_at, deadline_ms, stream.text, history))

    def _in_history(self, timer: str, armed_at: int, deadline_ms: int) -> bool:
        """Whether the timer was due already when an import armed it, which no event says.

        The old row knows. Without one: what is still armed though due before the last import waits for its end.
        """
        for _, name, old_armed_at, _, _, history in self._old:
            if (name, old_armed_at) == (timer, armed_at):
                return bool(history)
        return deadline_ms <= self._imported_ms

    @override
    def lane_event(self, version: int, position: int, envelope: Envelope) -> None:
        """Dead letters and what became of them."""
        event = envelope.data
        if isinstance(event, DeadLettered):
            self._findings.dead_letters += 1
            self._write("dead_letters", letter_row(version, event, envelope.at_ms))
        elif (settled := settlement(event)) is not None:
            self._flush("dead_letters")
            letter, status, note = settled
            self._execute(_SETTLE, (status, note, letter))

    @override
    def ended(self) -> None:
        """Write what waits, and say that the read models have everything."""
        self._end_flow()
        for cell, n in self._flows.counts.items():
            self._write("flow_counts", (*cell, n))
        for table in _EMPTIED:
            self._flush(table)
        for name in _FOLLOWERS:
            self._execute(
                "UPDATE {lane}.positions SET at = %s WHERE name = %s AND at = %s",
                (self._positions[LOG], OUT + name, self._positions[OUT + name]),
            )
            if self._cursor.rowcount != 1:
                raise Moved(f"{self._lane}: {OUT + name} moved meanwhile: another owner writes this lane")

    def _write(self, table: str, row: tuple[Any, ...]) -> None:
        waiting = self._waiting[table]
        waiting.append(row)
        if len(waiting) >= _ROWS_AT_ONCE:
            self._flush(table)

    def _flush(self, table: str) -> None:
        waiting = self._waiting[table]
        if waiting:
            self._execute(_INSERTS[table], [list(column) for column in zip(*waiting, strict=True)])
            self._findings.rows_written += len(waiting)
            waiting.clear()

    def _execute(self, text: LiteralString, params: Any = None, table: str = "") -> None:
        names = {"lane": sql.Identifier(self._lane), "table": sql.Identifier(table)}
        self._cursor.execute(sql.SQL(text).format(**names), params)

    def _key_of(self, subject: str) -> bytes:
        assert self._snapshot is not None
        return self._snapshot.subject_keys({subject})[subject]


__all__ = ["Moved", "Rebuilding"]
