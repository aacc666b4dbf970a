"""Customer records, all of them or a sample, judged by a flow's entries, page by page."""

import time
from collections.abc import Callable, Iterator
from heapq import nsmallest
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from orchestrator.core.addresses import CUSTOMER, Owner, parse_stream
from orchestrator.core.decider import Definition
from orchestrator.customers.record import RECORD, shown
from orchestrator.engine.store import LaneStore
from orchestrator.journeys.audience import Audience, interval

if TYPE_CHECKING:
    from orchestrator.engine.lane import Lane

_PAGE = 500
_COUNT = (
    "SELECT count(*) AS records FROM {lane}.journeys WHERE kind = %(kind)s AND definition = %(definition)s"
    " AND starts_with(stream, %(owner)s)"
)
_ROWS = (
    "SELECT stream_id, stream FROM {lane}.journeys WHERE kind = %(kind)s AND definition = %(definition)s"
    " AND starts_with(stream, %(owner)s) AND stream_id > %(after)s ORDER BY stream_id LIMIT %(limit)s"
)


class Estimate(NamedTuple):
    """Counts of customers. `any`: who would get in by one entry or another. Intervals are of all records, 95 %."""

    records: int
    looked_at: int
    forgotten: int
    any: dict[str, int]
    entries: list[dict[str, Any]]


async def estimate(
    definition: Definition,
    lanes: "list[tuple[LaneStore, Lane]]",
    *,
    organization: str,
    record: str,
    sample: int = 0,
    advance: Callable[..., None] = lambda _done, _note, **_more: None,
) -> Estimate:
    """Judge every record of the organization, or `sample` of them. `record` is the id of the record's document.

    `advance` is told how many were looked at, what to say of it, and `total`. A sample is the records that come
    first by the hash of their address, which has nothing to do with what they hold.
    """
    audience = Audience(definition)
    wanted = {"kind": RECORD.name, "definition": record, "owner": Owner(organization, CUSTOMER, "").text}
    total = sum(_count(store, wanted) for store, _ in lanes)
    last = _last_of_sample([store for store, _ in lanes], wanted, sample) if 0 < sample < total else None
    hits, failed = [0] * len(audience.entries), [0] * len(audience.entries)
    looked_at = forgotten = anyhow = 0
    now_ms = time.time_ns() // 1_000_000
    for store, lane in lanes:
        for page in _pages(store, wanted, last):
            streams = [parse_stream(text) for text in page]
            for capture in await lane.committed_captures(streams):
                seen = shown(capture.state)
                looked_at += 1
                if not seen:
                    forgotten += 1
                    continue
                verdicts = audience.judge(capture.frame.stream.owner, seen, now_ms)
                anyhow += any(verdict.enters for verdict in verdicts)
                for n, verdict in enumerate(verdicts):
                    hits[n] += verdict.enters
                    failed[n] += verdict.failed
            advance(looked_at, f"{anyhow:,} would enter", total=min(sample or total, total))
    entries = [
        {
            "entry": entry.pointer,
            "on": entry.on,
            **_counted(hits[n], looked_at, total),
            "failed": failed[n],
            "not_judged": list(entry.not_judged),
        }
        for n, entry in enumerate(audience.entries)
    ]
    return Estimate(total, looked_at, forgotten, _counted(anyhow, looked_at, total), entries)


def _counted(hits: int, looked_at: int, total: int) -> dict[str, int]:
    low, high = interval(hits, looked_at, total)
    most_likely = hits if looked_at >= total else round(hits / looked_at * total) if looked_at else 0
    return {"customers": min(max(most_likely, low), high), "at_least": low, "at_most": high}


def _count(store: LaneStore, wanted: dict[str, Any]) -> int:
    with store.database.transaction() as cursor:
        row = cursor.execute(store.statement(_COUNT), wanted).fetchone()
    return int(row["records"]) if row else 0


def _last_of_sample(stores: list[LaneStore], wanted: dict[str, Any], sample: int) -> UUID:
    """The id up to which records belong to the sample."""
    ids = (row["stream_id"] for store in stores for row in _rows(store, wanted, UUID(int=0), sample))
    return nsmallest(sample, ids)[-1]  # type: ignore[no-any-return]


def _pages(store: LaneStore, wanted: dict[str, Any], last: UUID | None) -> Iterator[list[str]]:
    after = UUID(int=0)
    while rows := _rows(store, wanted, after, _PAGE):
        after = rows[-1]["stream_id"]
        page = [row["stream"] for row in rows if last is None or row["stream_id"] <= last]
        if page:
            yield page
        if len(page) < len(rows):
            return


def _rows(store: LaneStore, wanted: dict[str, Any], after: UUID, limit: int) -> list[Any]:
    with store.database.transaction() as cursor:
        return cursor.execute(store.statement(_ROWS), {**wanted, "after": after, "limit": limit}).fetchall()
