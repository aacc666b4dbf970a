"""`orchestrator flows estimate`: how many customers a flow would let in, before it is published."""

from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.cli.options import DATA_DIR, JSON, TABLE, Data, Organization, Output

EXAMPLES = (
    "orchestrator flows estimate examples/flow/welcome.yaml",
    "orchestrator flows estimate examples/flow/welcome.yaml --sample 5000 -o json",
)


def estimate(
    file: Annotated[
        Path, typer.Argument(help="A flow's document.", exists=True, dir_okay=False, readable=True)
    ],
    sample: Annotated[
        int, typer.Option("--sample", help="Look at so many records only, and tell an interval.", min=0)
    ] = 0,
    organization: Organization = "",
    data: Data = DATA_DIR,
    output: Output = TABLE,
) -> None:
    """Count the customers whose record satisfies each entry, and say what a record can't tell. Nothing is published."""
    from orchestrator import definitions
    from orchestrator.cli import connection, queries
    from orchestrator.cli import output as out
    from orchestrator.estimating import estimate as estimated

    document = definitions.load(file.read_bytes())
    if document["kind"] != "flow":
        raise typer.BadParameter(f"{file} is of kind {document['kind']!r}: only flows have entries")
    flow = definitions.build("flow", document["id"], 1, document)

    async def work(settings: Any, databases: Any) -> dict[str, Any]:
        installation = queries.Installation(settings, databases)
        lanes = [(store, await installation.open(store.lane)) for store in installation.stores()]
        with out.progress("looking at records", sample or None) as advance:
            found = await estimated(
                flow,
                lanes,
                organization=organization or settings.default_organization,
                record=settings.customer_record,
                sample=sample,
                advance=advance,
            )
        return {"flow": document["id"], **found._asdict()}

    found = connection.run(data, work)
    if output is JSON:
        out.document(found)
        return
    out.facts({name: found[name] for name in ("flow", "records", "looked_at", "forgotten")})
    rows = [{"entry": "any of them", "on": "", **found["any"], "failed": 0, "not_judged": []}]
    columns = ("entry", "on", "customers", "at_least", "at_most", "failed", "not_judged")
    out.rows(columns, [*found["entries"], *rows], output)
