"""`orchestrator bulk`: operations on many runs: how far they are, and stopping them."""

from typing import Annotated, Any

import typer

from orchestrator.cli.options import DATA_DIR, JSON, TABLE, Data, Organization, Output, examples, noun

app = noun("Operations on many runs, begun by `orchestrator flows pause`, `resume` or `cancel`.")
Id = Annotated[str, typer.Argument(metavar="ID", help="An operation's id, as `bulk list` shows it.")]
_LIST = (
    "SELECT stream, snapshot FROM {lane}.journeys WHERE kind = 'bulk' AND starts_with(stream, %(owner)s)"
    " ORDER BY updated_ms DESC LIMIT %(limit)s"
)
_PREFIX = "bulk-"


@app.command("list", epilog=examples("orchestrator bulk list", "orchestrator bulk list -o json"))
def list_(
    organization: Organization = "",
    limit: Annotated[int, typer.Option(help="Most shown, newest first.", min=1, max=10_000)] = 20,
    data: Data = DATA_DIR,
    output: Output = TABLE,
) -> None:
    """Operations as last saved: a running one is up to some seconds behind."""
    from orchestrator.cli import connection, operating, queries
    from orchestrator.cli import output as out
    from orchestrator.core.addresses import RESOURCE, Owner, parse_stream
    from orchestrator.journeys.bulk import BULK

    async def work(settings: Any, databases: Any) -> list[dict[str, Any]]:
        import orjson

        installation = queries.Installation(settings, databases)
        own = organization or settings.default_organization
        owner = Owner(own, RESOURCE, _PREFIX).text
        found = []
        for row in installation.rows(_LIST, {"owner": owner, "limit": limit}):
            state = orjson.loads(row["snapshot"])["state"]
            if state is not None:
                name = parse_stream(row["stream"]).owner.id.removeprefix(_PREFIX)
                found.append(operating.shown(own, name, BULK.load(state)))
        return sorted(found, key=lambda one: -one["begun_ms"])[:limit]

    columns = ("operation", "state", "command", "query", "told", "expected", "begun_ms", "ended_ms")
    out.rows(columns, connection.run(data, work), output, empty="no operations")


@app.command(
    epilog=examples(
        "orchestrator bulk show 20260105-9f86d081", "orchestrator bulk show 20260105-9f86d081 --follow"
    )
)
def show(
    operation: Id,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Until it is over, with a progress bar.")
    ] = False,
    organization: Organization = "",
    data: Data = DATA_DIR,
    output: Output = TABLE,
) -> None:
    """An operation as the log has it now. With --follow ends with 1 unless it is done."""
    from orchestrator.cli import connection, operating, queries

    async def work(settings: Any, databases: Any) -> dict[str, Any]:
        installation = queries.Installation(settings, databases)
        own = organization or settings.default_organization
        if follow:
            state = await operating.follow(installation, own, operation)
        else:
            _, state = await operating.look(installation, own, operation)
        return operating.shown(own, operation, state)

    found = connection.run(data, work)
    answer(found, output)
    if follow and found["state"] != "DONE":
        raise typer.Exit(1)


@app.command(epilog=examples('orchestrator bulk pause 20260105-9f86d081 --reason "too many calls"'))
def pause(
    operation: Id,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with the operation.")] = "",
    organization: Organization = "",
    data: Data = DATA_DIR,
    output: Output = TABLE,
) -> None:
    """Send nothing more for now; what was sent stays sent."""
    _tell(operation, "pause", {"reason": reason} if reason else {}, organization, data, output)


@app.command(epilog=examples("orchestrator bulk resume 20260105-9f86d081"))
def resume(
    operation: Id, organization: Organization = "", data: Data = DATA_DIR, output: Output = TABLE
) -> None:
    """Go on where a pause or a failure left off."""
    _tell(operation, "resume", {}, organization, data, output)


@app.command(epilog=examples('orchestrator bulk cancel 20260105-9f86d081 --reason "wrong query"'))
def cancel(
    operation: Id,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with the operation.")] = "",
    organization: Organization = "",
    data: Data = DATA_DIR,
    output: Output = TABLE,
) -> None:
    """End an operation; what was sent stays sent."""
    _tell(operation, "cancel", {"reason": reason} if reason else {}, organization, data, output)


def check_reason(reason: str) -> None:
    """Say before anything is sent that a reason is too long to be kept. Raises BadParameter."""
    from orchestrator.journeys.bulk.commands import REASON_CHARS_MAX

    if len(reason) > REASON_CHARS_MAX:
        raise typer.BadParameter(f"--reason may have {REASON_CHARS_MAX} characters")


def answer(found: dict[str, Any], output: Any) -> None:
    """An operation on standard output."""
    from orchestrator.cli import output as out

    if output is JSON:
        out.document(found)
    else:
        out.facts({name: value for name, value in found.items() if value not in (None, "")})


def _tell(
    operation: str, command: str, body: dict[str, Any], organization: str, data: Any, output: Any
) -> None:
    from orchestrator.cli import connection, operating, queries

    check_reason(body.get("reason", ""))

    async def work(settings: Any, databases: Any) -> dict[str, Any]:
        installation = queries.Installation(settings, databases)
        own = organization or settings.default_organization
        await operating.look(installation, own, operation)
        await operating.tell(settings, own, operation, command, body)
        _, state = await operating.look(installation, own, operation)
        return operating.shown(own, operation, state)

    answer(connection.run(data, work), output)
