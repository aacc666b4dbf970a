"""`orchestrator dlq`: messages that couldn't be decided, and what to do with them."""

from typing import Annotated, Any

import typer

from orchestrator.cli.options import DATA_DIR, JSON, TABLE, Data, Output, Yes, examples, noun

app = noun("Dead letters: messages that couldn't be decided.")
Ids = Annotated[list[str] | None, typer.Argument(help="Ids, as `dlq list` shows them.")]
All = Annotated[bool, typer.Option("--all", help="Every open one, or those of --reason-is.")]
ReasonIs = Annotated[str, typer.Option("--reason-is", help="With --all: only those with this reason.")]
_COLUMNS = ("id", "reason", "status", "source", "command_id", "command_type", "at_ms", "error")
_LIST = (
    "SELECT id, reason, status, topic, source, command_id, command_type, subject, at_ms, error, note, version"
    " FROM {lane}.dead_letters WHERE (%(status)s = 'all' OR status = %(status)s)"
    " AND (%(reason)s = '' OR reason = %(reason)s) AND (%(ids)s::text[] IS NULL OR id = ANY(%(ids)s::text[]))"
    " ORDER BY at_ms DESC, id LIMIT %(limit)s"
)
_MANY = 100_000
_AT_ONCE = 50


@app.command(
    "list",
    epilog=examples(
        "orchestrator dlq list", "orchestrator dlq list --reason-is unknown_definition --status all"
    ),
)
def list_(
    reason_is: Annotated[str, typer.Option("--reason-is", help="Only with this reason.")] = "",
    status: Annotated[str, typer.Option(help="open, retried, discarded, or all.")] = "open",
    limit: Annotated[int, typer.Option(help="Most shown, newest first.", min=1, max=_MANY)] = 50,
    data: Data = DATA_DIR,
    output: Output = TABLE,
) -> None:
    """Dead letters of all lanes, newest first."""
    from orchestrator.cli import connection, queries
    from orchestrator.cli import output as out

    if status not in ("open", "retried", "discarded", "all"):
        raise typer.BadParameter("--status is open, retried, discarded or all")

    async def work(settings: Any, databases: Any) -> list[dict[str, Any]]:
        return find(queries.Installation(settings, databases), status=status, reason=reason_is, limit=limit)

    out.rows(_COLUMNS, connection.run(data, work), output, empty="no dead letters")


@app.command(epilog=examples("orchestrator dlq show journeys.commands-3-17-a1b2c3d4"))
def show(
    letter: Annotated[str, typer.Argument(metavar="ID")],
    whole: Annotated[bool, typer.Option("--whole", help="All bytes, however many.")] = False,
    data: Data = DATA_DIR,
    output: Output = TABLE,
) -> None:
    """One dead letter with headers and bytes, in a form that can't steer the terminal."""
    from orchestrator.cli import connection, letters, queries
    from orchestrator.cli import output as out

    async def work(settings: Any, databases: Any) -> dict[str, Any]:
        installation = queries.Installation(settings, databases)
        (row,) = require(installation, [letter])
        lane = await installation.open(row["lane"])
        return await letters.opened(lane, row)

    found = connection.run(data, work)
    if output is JSON:
        out.document(found)
    else:
        letters.tell(found, whole=whole)


@app.command(
    epilog=examples(
        "orchestrator dlq retry journeys.commands-3-17-a1b2c3d4",
        "orchestrator dlq retry --all --reason-is unknown_definition",
    )
)
def retry(
    ids: Ids = None,
    all_: All = False,
    reason_is: ReasonIs = "",
    yes: Yes = False,
    data: Data = DATA_DIR,
    output: Output = TABLE,
) -> None:
    """Send dead letters back to be decided, after what was wrong has been put right. Their keys still decide once."""
    _settle("retry", "Send", ids, {}, every=all_, reason=reason_is, yes=yes, data=data, output=output)


@app.command(
    epilog=examples('orchestrator dlq discard journeys.commands-3-17-a1b2c3d4 --reason "test message"')
)
def discard(
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with the dead letter.")],
    ids: Ids = None,
    all_: All = False,
    reason_is: ReasonIs = "",
    yes: Yes = False,
    data: Data = DATA_DIR,
    output: Output = TABLE,
) -> None:
    """Give dead letters up. Nothing is deleted: who looks for one finds the reason."""
    if not reason.strip():
        raise typer.BadParameter("--reason must say why")
    _settle(
        "discard",
        "Discard",
        ids,
        {"reason": reason},
        every=all_,
        reason=reason_is,
        yes=yes,
        data=data,
        output=output,
    )


def find(
    installation: Any, *, status: str = "open", reason: str = "", ids: Any = None, limit: int = _MANY
) -> list[dict[str, Any]]:
    """Dead letters of all lanes, newest first."""
    rows: list[dict[str, Any]] = installation.rows(
        _LIST, {"status": status, "reason": reason, "ids": ids, "limit": limit}
    )
    return sorted(rows, key=lambda row: (-row["at_ms"], row["id"]))[:limit]


def require(installation: Any, ids: list[str]) -> list[dict[str, Any]]:
    """These dead letters. Raises NotFound naming the first that isn't there."""
    from orchestrator.cli.queries import NotFound

    found = {row["id"]: row for row in find(installation, status="all", ids=ids)}
    for letter in ids:
        if letter not in found:
            raise NotFound(f"no dead letter {letter[:200]}: `orchestrator dlq list --status all` shows them")
    return [found[letter] for letter in dict.fromkeys(ids)]


def _settle(
    request: str,
    verb: str,
    ids: list[str] | None,
    extra: dict[str, str],
    *,
    every: bool,
    reason: str,
    yes: bool,
    data: Any,
    output: Any,
) -> None:
    import asyncio

    from orchestrator.cli import connection, queries
    from orchestrator.cli import output as out
    from orchestrator.cli.asking import ask

    if every == bool(ids):
        raise typer.BadParameter("give the ids of dead letters, or --all")

    async def work(settings: Any, databases: Any) -> list[dict[str, Any]]:
        installation = queries.Installation(settings, databases)
        wanted = require(installation, ids) if ids else find(installation, reason=reason)
        if every and wanted and not yes:
            typer.confirm(f"{verb} {len(wanted)} dead letters?", abort=True, err=True)
        answers: list[dict[str, Any]] = []
        with out.progress(request, len(wanted)) as advance:
            for start in range(0, len(wanted), _AT_ONCE):
                asked = wanted[start : start + _AT_ONCE]
                told = await asyncio.gather(
                    *(ask(installation, row["lane"], request, {"id": row["id"], **extra}) for row in asked)
                )
                answers += [
                    {"id": row["id"], "lane": row["lane"], "answer": a}
                    for row, a in zip(asked, told, strict=True)
                ]
                advance(len(answers))
        return answers

    answers = connection.run(data, work)
    out.rows(("id", "answer"), answers, output, empty="no open dead letters")
    if any(answer["answer"].startswith("refused") for answer in answers):
        raise typer.Exit(1)
