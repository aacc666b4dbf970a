import re
from pathlib import Path

import duckdb

from tests.analytics.scenes import caught_up, live_through, small_sink
from tests.support.lanes import Installation

PAGE = Path(__file__).parents[2] / "docs" / "analytics.md"


async def test_documented_queries_run(installation: Installation, tmp_path: Path) -> None:
    """Every query of the documentation runs against a folder that a lane has written, and says what it promises."""
    harness = await installation.lane()
    sink = small_sink(harness, tmp_path / "analytics")
    async with harness.following(sink):
        await live_through(harness, 60, days=3)
        await caught_up(harness, sink)
    queries = re.findall(r"```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(queries) == 5
    with duckdb.connect() as connection:
        found = [
            connection.execute(q.replace("'analytics", f"'{tmp_path}/analytics")).fetchall() for q in queries
        ]
        copied = connection.execute(
            f"SELECT count(*) FROM '{tmp_path}/analytics-compact/**/*.parquet'"
        ).fetchall()
    moves, outcomes, fields, unsound, _ = found
    assert moves == []  # this lane's journeys count, they have no states
    assert [(row[0], row[4]) for row in outcomes] == [("add", "toy.negative")]
    assert outcomes[0][1] > 40
    assert len(fields) == 10
    assert unsound == []
    assert copied == [(harness.lane.position,)]


async def test_the_documented_check_finds_missing_rows(installation: Installation, tmp_path: Path) -> None:
    """The documented completeness query names the lane when a file is gone."""
    harness = await installation.lane()
    sink = small_sink(harness, tmp_path / "analytics")
    async with harness.following(sink):
        await live_through(harness, 60)
        await caught_up(harness, sink)
    min((tmp_path / "analytics").rglob("*.parquet")).unlink()
    (check,) = [
        q
        for q in re.findall(r"```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
        if "HAVING" in q
    ]
    with duckdb.connect() as connection:
        (found,) = connection.execute(check.replace("'analytics", f"'{tmp_path}/analytics")).fetchall()
    assert found[0] == 0
    assert found[1] < harness.lane.position == found[2]


def test_the_documented_columns_are_the_columns() -> None:
    """The page lists every column of the files and no other."""
    from projections.analytics.rows import Row

    table = PAGE.read_text(encoding="utf-8").partition("## Columns")[2].partition("## Asking")[0]
    documented = {
        name
        for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    }
    assert documented == set(Row._fields)
