"""`orchestrator flows`: what is published, where its runs are, and operating on many of them."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli import flow_analytics, flow_audience
from orchestrator.cli.options import DATA_DIR, JSON, TABLE, Data, Organization, Output, Yes, examples, noun

if TYPE_CHECKING:
    from orchestrator.journeys.bulk.query import Query

app = noun("Flows: what is published, where its runs are, and operating on many of them.")
app.command(epilog=examples(*flow_analytics.EXAMPLES))(flow_analytics.analytics)
Flow = Annotated[str, typer.Argument(metavar="ID", help="A flow's id.")]
Customer = Annotated[str, typer.Option("--customer", "-c", help="Only this customer's runs.")]
Run = Annotated[str, typer.Option("--run", help="Only this run (with --customer).")]
State = Annotated[
    str, typer.Option("--state", "-s", help="Only runs that are IN_PROGRESS, WAITING or PAUSED.")
]
Node = Annotated[str, typer.Option("--node", help="Only runs at this node.")]
Version = Annotated[
    int | None, typer.Option("--version", help="Only runs of this version of the flow.", min=1)
]
After = Annotated[str, typer.Option("--started-after", help="Only runs that began then or later (RFC 3339).")]
Before = Annotated[str, typer.Option("--started-before", help="Only runs that began earlier (RFC 3339).")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept with the operation and with each run.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Count, and do nothing.")]
Detach = Annotated[
    bool, typer.Option("--detach", help="Don't wait for the end; `bulk show` tells how far it is.")
]
_LABELS = (
    "SELECT definition, split_part(label, ' ', 1) AS state, count(*) AS customers FROM {lane}.journeys"
    " WHERE kind = 'flow' AND starts_with(stream, %(owner)s) GROUP BY 1, 2"
)
_STATES = ("IN_PROGRESS", "WAITING", "PAUSED", "COMPLETED", "FAILED", "CANCELLED")


@app.command("list", epilog=examples("orchestrator flows list", "orchestrator flows list -o json"))
def list_(organization: Organization = "", data: Data = DATA_DIR, output: Output = TABLE) -> None:
    """Published flows, and how many customers' newest run is in which state, as last saved."""
    from orchestrator.cli import connection, queries
    from orchestrator.cli import output as out
    from orchestrator.core.addresses import CUSTOMER, Owner

    async def work(settings: Any, databases: Any) -> list[dict[str, Any]]:
        installation = queries.Installation(settings, databases)
        owner = Owner(organization or settings.default_organization, CUSTOMER, "").text
        counts: dict[str, dict[str, int]] = {}
        for row in installation.rows(_LABELS, {"owner": owner}):
            of_flow = counts.setdefault(row["definition"], {})
            of_flow[row["state"]] = of_flow.get(row["state"], 0) + row["customers"]
        return [
            {
                "flow": row["id"], "version": row["version"], "published_ms": row["published_ms"],
                **{state.lower(): counts.get(row["id"], {}).get(state, 0) for state in _STATES},
            }
            for row in queries.published(databases)
            if row["kind"] == "flow"
        ]  # fmt: skip

    columns = ("flow", "version", "published_ms", *(state.lower() for state in _STATES))
    out.rows(
        columns,
        connection.run(data, work),
        output,
        empty="no flow is published: orchestrator definitions publish FILE",
    )


@app.command(epilog=examples("orchestrator flows show welcome", "orchestrator flows show welcome -o json"))
def show(flow: Flow, organization: Organization = "", data: Data = DATA_DIR, output: Output = TABLE) -> None:
    """A flow's versions, its active runs by version, state and node, and how customers' last runs ended."""
    from collections import Counter

    from orchestrator.cli import connection, operating, queries
    from orchestrator.cli import output as out

    async def work(settings: Any, databases: Any) -> dict[str, Any]:
        installation = queries.Installation(settings, databases)
        name = _published(databases, flow)
        runs: Counter[tuple[int, str, str]] = Counter()
        ended: Counter[str] = Counter()
        for row in operating.rows(installation, organization, name):
            runs.update((run.version, run.state, run.node) for run in row.runs)
            ended.update(() if row.runs else (row.label,))
        newest = max(versions := sorted(queries.documents(databases, "flow", name)))
        return {
            "flow": name,
            "newest": newest,
            "versions": versions,
            "runs": [
                {"version": version, "state": state, "node": node, "runs": count}
                for (version, state, node), count in sorted(runs.items())
            ],
            "ended": [{"last_run": label, "customers": count} for label, count in sorted(ended.items())],
        }

    found = connection.run(data, work)
    if output is JSON:
        out.document(found)
        return
    out.facts({"flow": found["flow"], "newest version": str(found["newest"])})
    out.rows(("version", "state", "node", "runs"), found["runs"], output, title="active runs", empty="none")
    out.rows(
        ("last_run", "customers"),
        found["ended"],
        output,
        title="customers without an active run",
        empty="none",
    )


@app.command(
    epilog=examples(
        "orchestrator flows runs welcome", "orchestrator flows runs welcome --customer cus-1 -o json"
    )
)
def runs(
    flow: Flow,
    customer: Customer = "",
    state: State = "",
    node: Node = "",
    organization: Organization = "",
    limit: Annotated[int, typer.Option(help="Most runs shown.", min=1, max=100_000)] = 50,
    data: Data = DATA_DIR,
    output: Output = TABLE,
) -> None:
    """Active runs as last saved: a busy one is up to some seconds behind; `journeys show` reads the log itself."""
    from itertools import islice

    from orchestrator.cli import connection, operating, queries
    from orchestrator.cli import output as out
    from orchestrator.journeys.bulk.query import Query, fits

    async def work(settings: Any, databases: Any) -> list[dict[str, Any]]:
        installation = queries.Installation(settings, databases)
        name = _published(databases, flow)
        query = Query(name, customer=customer, state=state, node=node)
        hits = (
            {
                "stream": row.stream, "run": run.id, "state": run.state, "node": run.node,
                "version": run.version, "started_ms": run.started_ms,
            }
            for row in operating.rows(installation, organization, name, customer)
            for run in row.runs
            if fits(query, "cancel", run)
        )  # fmt: skip
        return list(islice(hits, limit))

    columns = ("stream", "run", "state", "node", "version", "started_ms")
    out.rows(columns, connection.run(data, work), output, empty="no active run fits")


@app.command(
    epilog=examples(
        "orchestrator flows pause welcome --dry-run",
        'orchestrator flows pause welcome --node reminder_sms --reason "provider is down"',
    )
)
def pause(
    flow: Flow,
    customer: Customer = "",
    run: Run = "",
    state: State = "",
    node: Node = "",
    version: Version = None,
    started_after: After = "",
    started_before: Before = "",
    reason: Reason = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    detach: Detach = False,
    organization: Organization = "",
    data: Data = DATA_DIR,
    output: Output = TABLE,
) -> None:
    """Let runs stand still: what is left of their waits is kept. Who enters afterwards isn't concerned."""
    chosen = _query(flow, customer, run, state, node, version, started_after, started_before)
    _operate("pause", chosen, reason, organization, data, output, dry_run=dry_run, yes=yes, detach=detach)


@app.command(
    epilog=examples("orchestrator flows resume welcome", "orchestrator flows resume welcome --yes -o json")
)
def resume(
    flow: Flow,
    customer: Customer = "",
    run: Run = "",
    node: Node = "",
    version: Version = None,
    started_after: After = "",
    started_before: Before = "",
    reason: Reason = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    detach: Detach = False,
    organization: Organization = "",
    data: Data = DATA_DIR,
    output: Output = TABLE,
) -> None:
    """Let paused runs go on."""
    chosen = _query(flow, customer, run, "", node, version, started_after, started_before)
    _operate("resume", chosen, reason, organization, data, output, dry_run=dry_run, yes=yes, detach=detach)


@app.command(
    epilog=examples(
        "orchestrator flows cancel welcome --version 2 --dry-run",
        "orchestrator flows cancel welcome --customer cus-1 --run r1 --yes",
    )
)
def cancel(
    flow: Flow,
    customer: Customer = "",
    run: Run = "",
    state: State = "",
    node: Node = "",
    version: Version = None,
    started_after: After = "",
    started_before: Before = "",
    reason: Reason = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    detach: Detach = False,
    organization: Organization = "",
    data: Data = DATA_DIR,
    output: Output = TABLE,
) -> None:
    """End runs for good, with their timers and the effects they wait for."""
    chosen = _query(flow, customer, run, state, node, version, started_after, started_before)
    _operate("cancel", chosen, reason, organization, data, output, dry_run=dry_run, yes=yes, detach=detach)


app.command("estimate", epilog=examples(*flow_audience.EXAMPLES))(flow_audience.estimate)
app.command("analytics", epilog=examples(*flow_analytics.EXAMPLES))(flow_analytics.analytics)


def _query(
    flow: str, customer: str, run: str, state: str, node: str, version: int | None, after: str, before: str
) -> "Query":
    from orchestrator.journeys.bulk.query import STATES, Query

    if run and not customer:
        raise typer.BadParameter("--run needs --customer: run ids are a customer's own")
    if state and state not in STATES:
        raise typer.BadParameter(f"--state is {', '.join(STATES)}")
    return Query(
        flow.removeprefix("flow:"),
        customer=customer,
        run=run,
        state=state,
        node=node,
        version=version or 0,
        started_after_ms=_instant("--started-after", after),
        started_before_ms=_instant("--started-before", before),
    )


def _instant(option: str, text: str) -> int:
    from datetime import UTC, datetime

    if not text:
        return 0
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{option} is a time such as 2026-01-05T08:00:00Z") from error
    return round((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


def _operate(
    command: str,
    query: "Query",
    reason: str,
    organization: str,
    data: Any,
    output: Any,
    *,
    dry_run: bool,
    yes: bool,
    detach: bool,
) -> None:
    from orchestrator.cli import bulk, connection, operating, queries
    from orchestrator.cli import output as out

    bulk.check_reason(reason)

    async def work(settings: Any, databases: Any) -> dict[str, Any] | None:
        installation = queries.Installation(settings, databases)
        own = organization or settings.default_organization
        _published(databases, query.definition)
        found = operating.preview(installation, own, command, query)
        rows = [{"state": state, "node": node, "runs": runs} for (state, node), runs in sorted(found.items())]
        if dry_run:
            out.rows(("state", "node", "runs"), rows, output, empty="no active run fits")
            return None
        if not found:
            raise queries.NotFound(f"no active run of {query.definition} fits: there is nothing to {command}")
        if not yes:
            for row in rows:
                out.say(f"{row['runs']:>9,} {row['state']} at {row['node']}")
            typer.confirm(f"{command.capitalize()} {found.total():,} runs?", abort=True, err=True)
        operation = operating.new_id()
        asked = operating.asked(command, query, reason, found.total())
        await operating.begin(settings, installation, own, operation, asked)
        out.say(f"operation {operation}; it goes on by itself: orchestrator bulk show {operation} --follow")
        if detach:
            _, state = await operating.look(installation, own, operation)
        else:
            state = await operating.follow(installation, own, operation)
        return operating.shown(own, operation, state)

    done = connection.run(data, work)
    if done is None:
        return
    bulk.answer(done, output)
    if not detach and done["state"] != "DONE":
        raise typer.Exit(1)


def _published(databases: Any, flow: str) -> str:
    """The flow's id, if it is published. Raises NotFound."""
    from orchestrator.cli import queries

    name = flow.removeprefix("flow:")
    if not queries.documents(databases, "flow", name):
        raise queries.NotFound(f"no flow {name[:64]!r} is published: `orchestrator flows list` shows them")
    return name
