"""`orchestrator flows analytics`: how customers go through a flow, version by version."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.options import DATA_DIR, JSON, TABLE, Data, Output

if TYPE_CHECKING:
    from projections.flow_analytics.report import Conversion, FlowReport, NodeReport

EXAMPLES = (
    "orchestrator flows analytics welcome",
    "orchestrator flows analytics welcome --version 2 --since 2026-01-01",
    "orchestrator flows analytics welcome -o json",
)
_DAY_S = 86_400
_KIND = "flow"


def analytics(
    flow: Annotated[str, typer.Argument(help="The id of a flow, such as welcome.")],
    version: Annotated[
        int | None,
        typer.Option("--version", help="Only this version; else all, the newest in detail.", min=1),
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            "--since", formats=["%Y-%m-%d"], help="Only runs that began on this day (UTC) or later."
        ),
    ] = None,
    data: Data = DATA_DIR,
    output: Output = TABLE,
) -> None:
    """Runs of a flow: entered, ended, on the way; node by node, branch by branch, with conversions and effects."""
    import asyncio

    from orchestrator.cli import connection, queries
    from orchestrator.cli import output as out
    from projections.flow_analytics.reading import totals
    from projections.flow_analytics.report import reports

    name = flow.removeprefix(f"{_KIND}:")
    day = int(since.replace(tzinfo=UTC).timestamp()) // _DAY_S if since else 0

    async def work(settings: Any, databases: Any) -> "list[FlowReport]":
        installation = queries.Installation(settings, databases)
        documents = queries.documents(databases, _KIND, name)
        if not documents:
            raise queries.NotFound(
                f"no flow {name!r} is published: `orchestrator definitions list` lists what is"
            )
        if version is not None and version not in documents:
            raise queries.NotFound(f"flow {name!r} has no version {version}: its newest is {max(documents)}")
        stores = installation.stores()
        counted = await asyncio.to_thread(totals, stores, name, version=version, since_day=max(0, day))
        return reports(counted, documents)

    found = connection.run(data, work)
    if output is JSON:
        shown_since = since.date().isoformat() if since else None
        out.document({"flow": name, "since": shown_since, "versions": found})
        return
    if not found:
        out.console().print(f"nobody has entered {name} in this time")
        return
    _versions(name, found)
    _details(found[0])


def _versions(name: str, found: "list[FlowReport]") -> None:
    from orchestrator.cli import output as out

    columns = ("version", "entered", "in_progress", "completed", "failed", "cancelled", "conversions")
    rows = [
        [
            one.version,
            one.entered,
            one.in_progress,
            one.completed,
            one.failed,
            one.cancelled,
            _goals(one.goals),
        ]
        for one in found
    ]
    out.table(columns, rows, title=f"Runs of {name}")


def _details(report: "FlowReport") -> None:
    from orchestrator.cli import output as out

    title = f"Version {report.version}: "
    columns = ("node", "kind", "reached", "left", "here", "dropped", "p50", "p95", "ways out")
    out.table(columns, [_node(node) for node in report.nodes], title=title + "nodes")
    if report.splits:
        rows = [
            [one.node, one.branch, "holdout" if one.holdout else "", one.runs, _goals(one.goals)]
            for one in report.splits
        ]
        out.table(("split", "branch", "", "runs", "conversions"), rows, title=title + "splits")
    effects = [[node.node, key, n] for node in report.nodes for key, n in node.effects.items()]
    if effects:
        out.table(("node", "effect", "times"), effects, title=title + "effects")
    troubles = [[node.node, key, n] for node in report.nodes for key, n in node.failures.items()]
    if troubles:
        out.table(("node", "failure", "times"), troubles, title=title + "failures")
    endings = [[one.state, one.reason, one.runs] for one in report.endings]
    if endings:
        out.table(("ended as", "because", "runs"), endings, title=title + "endings")


def _node(node: "NodeReport") -> list[Any]:
    ways = ", ".join(f"{branch} {n:,}" for branch, n in node.branches.items())
    spans = [_span(node.p50_ms), _span(node.p95_ms)]
    return [node.node, node.kind, node.reached, node.left, node.here, node.dropped, *spans, ways]


def _goals(goals: "list[Conversion]") -> str:
    return ", ".join(f"{one.goal} {one.runs:,} ({one.share:.1%})" for one in goals)


def _span(ms: int | None) -> str:
    """A time within a sixteenth: two or three digits are all it can tell."""
    if ms is None:
        return ""
    for unit, size_ms in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000)):
        if ms >= size_ms:
            return f"{ms / size_ms:.3g} {unit}"
    return f"{ms} ms"
