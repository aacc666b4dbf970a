"""The two tables of a lane: counts that add up, and what counting remembers of streams with something open."""

from collections.abc import Iterable, Mapping
from typing import Any, Final
from uuid import UUID

from orchestrator.engine.store import LaneStore, Move
from projections.flow_analytics.counting import Counts, Open, decode, encode

_SAVE: Final = (
    "WITH counted AS (INSERT INTO {lane}.flow_counts AS c (definition, version, day, node, measure, key, n)"
    " SELECT * FROM unnest(%b::text[], %b::bigint[], %b::bigint[], %b::text[], %b::text[], %b::text[], %b::bigint[])"
    " ON CONFLICT (definition, version, day, node, measure, key) DO UPDATE SET n = c.n + EXCLUDED.n),"
    " closed AS (DELETE FROM {lane}.flow_open WHERE stream_id = ANY(%b::uuid[]))"
    " INSERT INTO {lane}.flow_open AS o (stream_id, state) SELECT * FROM unnest(%b::uuid[], %b::bytea[])"
    " ON CONFLICT (stream_id) DO UPDATE SET state = EXCLUDED.state"
)
_LOAD: Final = "SELECT stream_id, state FROM {lane}.flow_open WHERE stream_id = ANY(%b::uuid[])"


def load(store: LaneStore, streams: Iterable[UUID]) -> dict[UUID, Open]:
    """What is open of these streams; those without anything are absent. Raises the library's PersistenceError."""
    with store.database.transaction() as cursor:
        rows = cursor.execute(store.statement(_LOAD), (list(streams),)).fetchall()
    return {row["stream_id"]: decode(row["state"]) for row in rows}


def save(store: LaneStore, move: Move, counts: Counts, changed: Mapping[UUID, Open]) -> None:
    """One transaction: the position, a row for each count that grew, and what is open of the streams that changed.

    Raises Fenced when the position isn't where the caller thinks it is, and the library's PersistenceError.
    """
    store.follow(move, store.statement(_SAVE), [_columns(counts, changed)])


def _columns(counts: Counts, changed: Mapping[UUID, Open]) -> tuple[list[Any], ...]:
    cells = [(*cell, n) for cell, n in counts.items()]
    counted = [list(column) for column in zip(*cells, strict=True)] or [[] for _ in range(7)]
    closed = [stream for stream, open in changed.items() if not open]
    opened = [stream for stream, open in changed.items() if open]
    return (*counted, closed, opened, [encode(changed[stream]) for stream in opened])
