import asyncio
import re
from pathlib import Path

from projections.flow_analytics import FlowAnalytics
from projections.flow_analytics.report import Total, reports
from tests.cli import calling
from tests.cli.calling import Ended, environment
from tests.flow_analytics.scenes import FLOW, Shoppers, hand_count, installation, rows
from tests.support.lanes import until

PAGE = (Path(__file__).parents[2] / "docs" / "flow-analytics.md").read_text()
DAY_MS = 86_400_000


async def call(dsn: str, *arguments: str) -> Ended:
    """The command as a person runs it."""
    named = environment(DATABASE_URL=dsn, KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")
    return await asyncio.to_thread(calling.call, "flows", "analytics", *arguments, env=named)


def total(node: str, measure: str, key: str, n: int) -> Total:
    return Total(1, node, measure, key, n)


def test_conversions_are_told_by_branch_and_holdout() -> None:
    """Each branch of a split has its runs and the share of them that converted; nobody drawn is zero, not an error."""
    [report] = reports(
        [
            total("", "entered", "manual", 100),
            total("", "goal", "bought", 30),
            total("draw", "split", "a", 60),
            total("draw", "holdout", "none", 40),
            total("draw", "split_goal", "a:bought", 24),
            total("draw", "split_goal", "none:bought", 6),
        ],
        {1: FLOW},
    )
    assert [(b.branch, b.holdout, b.runs) for b in report.splits] == [
        ("a", False, 60),
        ("b", False, 0),
        ("none", True, 40),
    ]
    assert [b.goals[0].share for b in report.splits] == [0.4, 0.0, 0.15]
    assert report.goals[0].share == 0.3
    assert [node.node for node in report.nodes] == list(FLOW["nodes"])


def test_a_version_whose_document_is_gone_is_still_told() -> None:
    """Nodes that no document names are listed by their names, without a kind."""
    [report] = reports([total("", "entered", "A", 1), total("old", "reached", "", 1)], {})
    assert [(n.node, n.kind, n.here) for n in report.nodes] == [("old", "", 1)]


async def test_the_command_tells_what_the_log_holds(database: str) -> None:
    """The numbers of `flows analytics` are those of the log, over all lanes, for all days or those since one."""
    shop = installation(database)
    try:
        harness = await shop.lane()
        follower = FlowAnalytics(harness.lane, wait_s=0)
        async with harness.following(follower):
            await Shoppers().shop(harness, 80)
            await until(lambda: follower.lag_events == 0, "counted")
        counted = await hand_count(harness)
    finally:
        shop.close()
    shown = await call(database, "shopping", "-o", "json")
    assert shown.code == 0, shown.err
    found = shown.json
    [report] = found["versions"]
    expected = sum(n for (_, _, _, measure, _), n in counted.items() if measure == "entered")
    assert (found["flow"], found["since"], report["version"], report["entered"]) == (
        "shopping",
        None,
        1,
        expected,
    )
    days = sorted({day for _, day, _, _, _ in counted})
    middle = days[len(days) // 2]
    date = rows(database, "SELECT (date '1970-01-01' + %s)::text AS date", middle)[0]["date"]
    later = (await call(database, "flow:shopping", "--since", date, "-o", "json")).json
    some = sum(n for (_, day, _, measure, _), n in counted.items() if measure == "entered" and day >= middle)
    assert later["versions"][0]["entered"] == some < expected
    table = await call(database, "shopping", "--version", "1")
    assert table.code == 0, table.err
    for words in ("Runs of shopping", "draw", "holdout", "patience", "bought", "CANCELLED"):
        assert words in table.out


async def test_what_isnt_there_is_told_with_a_cure(database: str) -> None:
    """An unknown flow, an unknown version and a flow nobody entered each say so."""
    installation(database).close()
    unknown = await call(database, "nothing")
    assert (unknown.code, "definitions list" in unknown.err) == (1, True)
    version = await call(database, "shopping", "--version", "9")
    assert (version.code, "newest is 1" in version.err) == (1, True)
    empty = await call(database, "shopping")
    assert (empty.code, "nobody has entered" in empty.out) == (0, True)


def test_the_page_names_what_there_is() -> None:
    """Each measure, field and option that the page names exists; each measure that exists is on the page."""
    source = (Path(__file__).parents[2] / "projections" / "flow_analytics" / "counting.py").read_text()
    measures = set(
        re.findall(
            r'"(entered|reached|left|ended|branch|split|holdout|split_goal|goal|failed|effect|stay)"', source
        )
    )
    names = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| ", PAGE, re.MULTILINE)
    table = {name.strip("`") for cell in names for name in cell.split(", ")}
    assert measures == table
    assert "6.25 %" in PAGE
    for option in re.findall(r"--[a-z]+", PAGE):
        assert option in {"--version", "--since", "--verify", "--rebuild", "--output"}
