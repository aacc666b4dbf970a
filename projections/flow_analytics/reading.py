"""The numbers of one flow, added up over lanes and days."""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from orchestrator.engine.store import LaneStore
from projections.flow_analytics.report import Total

_READ: Final = (
    "SELECT version, node, measure, key, sum(n)::bigint AS n FROM {lane}.flow_counts"
    " WHERE definition = %(definition)s AND day >= %(day)s"
    " AND (%(version)s::bigint IS NULL OR version = %(version)s) GROUP BY 1, 2, 3, 4"
)


def totals(
    stores: Iterable[LaneStore], definition: str, *, version: int | None = None, since_day: int = 0
) -> list[Total]:
    """Counts of runs that began on `since_day` (since 1970, UTC) or later. Raises the library's PersistenceError."""
    wanted = {"definition": definition, "version": version, "day": since_day}
    found: Counter[tuple[int, str, str, str]] = Counter()
    for store in stores:
        with store.database.transaction() as cursor:
            for row in cursor.execute(store.statement(_READ), wanted).fetchall():
                found[(row["version"], row["node"], row["measure"], row["key"])] += row["n"]
    return [Total(*place, n) for place, n in sorted(found.items())]
