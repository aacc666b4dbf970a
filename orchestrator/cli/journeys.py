"""`orchestrator journeys`: where customers stand, how they came there, and why."""

from typing import Annotated, Any

import typer

from orchestrator.cli.options import DATA_DIR, JSON, TABLE, Data, Organization, Output, examples, noun

app = noun("Customers' journeys: where they stand, how they came there, and why.")
Name = Annotated[
    str, typer.Argument(help="A customer's id, or the address organization/c/customer/kind:definition.")
]
Definition = Annotated[
    str, typer.Option("--definition", "-d", help="kind:id, or the id of a lifecycle definition.")
]
_LIST = (
    "SELECT stream, kind || ':' || definition AS definition, definition_version, label AS state, version, updated_ms"
    " FROM {lane}.journeys WHERE (%(kind)s = '' OR (kind = %(kind)s AND definition = %(definition)s))"
    " AND (%(state)s = '' OR label = %(state)s OR starts_with(label, %(state)s || '.'))"
    " AND (%(owner)s = '' OR starts_with(stream, %(owner)s || '/')) ORDER BY updated_ms DESC, stream LIMIT %(limit)s"
)


@app.command(
    "list",
    epilog=examples(
        "orchestrator journeys list --state CHECKOUT",
        "orchestrator journeys list --customer cus-1 -o json",
    ),
)
def list_(
    definition: Definition = "",
    state: Annotated[
        str, typer.Option("--state", "-s", help="A state; CHECKOUT finds CHECKOUT.PAYMENT too.")
    ] = "",
    customer: Annotated[str, typer.Option("--customer", "-c", help="A customer's id.")] = "",
    organization: Organization = "",
    limit: Annotated[
        int, typer.Option(help="Most journeys shown, last changed first.", min=1, max=100_000)
    ] = 20,
    data: Data = DATA_DIR,
    output: Output = TABLE,
) -> None:
    """Journeys as last saved: a busy one is up to some seconds behind; `show` reads the log itself."""
    from orchestrator.cli import connection, queries
    from orchestrator.cli import output as out
    from orchestrator.core import addresses

    async def work(settings: Any, databases: Any) -> list[dict[str, Any]]:
        installation = queries.Installation(settings, databases)
        lanes = None
        owner = ""
        if customer:
            owner = addresses.customer(organization or settings.default_organization, customer).text
            lanes = [addresses.lane_of(owner, installation.lanes)]
        kind, _, name = queries.full_address(definition).partition(":") if definition else ("", "", "")
        wanted = {"kind": kind, "definition": name, "state": state, "owner": owner, "limit": limit}
        rows = installation.rows(_LIST, wanted, lanes=lanes)
        return sorted(rows, key=lambda row: (-row["updated_ms"], row["stream"]))[:limit]

    columns = ("stream", "state", "version", "definition_version", "updated_ms")
    out.rows(columns, connection.run(data, work), output, empty="no journey fits")


@app.command(
    epilog=examples(
        "orchestrator journeys show cus-1", "orchestrator journeys show acme/c/cus-1/lifecycle:shop"
    )
)
def show(
    name: Name,
    definition: Definition = "",
    organization: Organization = "",
    data: Data = DATA_DIR,
    output: Output = TABLE,
) -> None:
    """The state as the log has it now, without personal data."""
    from orchestrator.cli import connection, queries
    from orchestrator.cli import output as out

    async def work(settings: Any, databases: Any) -> dict[str, Any]:
        installation = queries.Installation(settings, databases)
        stream = queries.journey_stream(settings, installation, name, definition, organization)
        lane = await installation.open(installation.lane_of(stream))
        (capture,) = await lane.committed_captures([stream])
        if not capture.version:
            raise queries.NotFound(f"no journey {stream.text}: see `orchestrator journeys list`")
        kind, there = capture.frame.kind, capture.state is not None
        return {
            "stream": stream.text,
            "lane": lane.number,
            "state": kind.label(capture.state) if there else "",
            "version": capture.version,
            "definition_version": capture.definition_version,
            "commands_decided": len(capture.frame.keys),
            "timers": {
                timer: {"due_ms": kind.deadline_ms(capture.state, timer), "armed_at_version": armed.armed_at}
                for timer, armed in capture.timers.items()
            },
            "view": kind.view(capture.state) if there else None,
        }

    found = connection.run(data, work)
    if output is JSON:
        out.document(found)
        return
    timers = {name: out.instant(timer["due_ms"] or 0) for name, timer in found["timers"].items()}
    view = {
        k: out.instant(v) if k.endswith("At") and isinstance(v, int) else v
        for k, v in (found["view"] or {}).items()
    }
    out.facts({**{k: v for k, v in found.items() if k not in {"timers", "view"}}, "timers": timers, **view})


@app.command(
    epilog=examples(
        "orchestrator journeys timeline cus-1", "orchestrator journeys timeline cus-1 --last 20 -o json"
    )
)
def timeline(
    name: Name,
    definition: Definition = "",
    organization: Organization = "",
    last: Annotated[int | None, typer.Option(help="Only the last events.", min=1)] = None,
    data: Data = DATA_DIR,
    output: Output = TABLE,
) -> None:
    """Every event of a journey, oldest first: when, by which command, and what changed."""
    from orchestrator.cli import output as out
    from orchestrator.cli.receipts import told

    found = [told(recorded) for recorded in _read(name, definition, organization, data)[0]]
    columns = ("version", "at_ms", "event", "command", "source", "command_id", "summary")
    out.rows(columns, found[-last:] if last else found, output)


@app.command(
    epilog=examples("orchestrator journeys why cus-1", "orchestrator journeys why cus-1 --decision 3")
)
def why(
    name: Name,
    definition: Definition = "",
    organization: Organization = "",
    decision: Annotated[
        int | None, typer.Option("--decision", "-n", help="The n-th decision, counted from 1; else the last.")
    ] = None,
    data: Data = DATA_DIR,
    output: Output = TABLE,
) -> None:
    """The receipt of a decision: which rule or transition of which definition, what it read, and who asked."""
    from orchestrator.cli import output as out
    from orchestrator.cli.queries import NotFound
    from orchestrator.cli.receipts import decisions, receipt

    events, documents = _read(name, definition, organization, data)
    made = decisions(events)
    number = len(made) if decision is None else decision
    if not 1 <= number <= len(made):
        raise NotFound(f"this journey has {len(made)} decisions: --decision takes 1 to {len(made)}")
    found = receipt(made[number - 1], number, len(made), events, documents.get)
    if output is JSON:
        out.document(found)
        return
    because = found.pop("because")
    out.facts({k: v for k, v in found.items() if v not in (None, "", {}, [])})
    for reason in because:
        title = reason.pop("event")
        out.console().print()
        out.facts({k: v for k, v in reason.items() if v not in (None, "", {}, [], ())}, title=title)


def _read(
    name: str, definition: str, organization: str, data: Any
) -> tuple[list[Any], dict[int, dict[str, Any]]]:
    """A journey's events, and its definition's documents by version."""
    from orchestrator.cli import connection, queries

    async def work(settings: Any, databases: Any) -> tuple[list[Any], dict[int, dict[str, Any]]]:
        installation = queries.Installation(settings, databases)
        stream = queries.journey_stream(settings, installation, name, definition, organization)
        events = await installation.events(stream)
        return events, queries.documents(databases, stream.kind, stream.definition)

    return connection.run(data, work)
