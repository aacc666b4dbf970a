"""`orchestrator definitions`: documents of journeys, checked and published without a deployment."""

from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.cli.options import DATA_DIR, JSON, TABLE, Data, Format, Output, examples, noun

app = noun("Documents of journeys: check them, publish them, see what is published.")
Files = Annotated[
    list[Path], typer.Argument(help="YAML or JSON documents.", exists=True, dir_okay=False, readable=True)
]
_SHOP = "examples/lifecycle/shop.yaml"


@app.command(epilog=examples(f"orchestrator definitions validate {_SHOP}"))
def validate(files: Files, output: Output = TABLE) -> None:
    """List every problem of documents, with line, place and cure. Ends with 1 if there is an error."""
    found = [problem for file in files for problem in _problems(file)]
    if output is JSON:
        from orchestrator.cli import output as out

        out.document(found)
    else:
        _tell(files, found)
    if any(problem["severity"] == "error" for problem in found):
        raise typer.Exit(1)


@app.command(
    epilog=examples(
        f"orchestrator definitions publish {_SHOP}", "orchestrator definitions publish journeys/*.yaml"
    )
)
def publish(files: Files, data: Data = DATA_DIR, output: Output = TABLE) -> None:
    """Make documents the newest version of their definitions; what is published already stays as it is."""
    import asyncio

    from orchestrator.cli import output as out
    from orchestrator.cli.connection import connected, with_databases

    problems = [problem for file in files for problem in _problems(file)]
    if any(problem["severity"] == "error" for problem in problems):
        _tell(files, problems, stderr=True)
        raise typer.Exit(1)
    documents = [(file, _document(file)) for file in files]

    async def work(_settings: Any, databases: Any) -> list[dict[str, Any]]:
        refused = [
            row for file, document in documents for row in _unpublished(databases, file, document, documents)
        ]
        if refused:
            _tell(files, refused, stderr=True)
            raise typer.Exit(1)
        return [{"file": str(file), **publish_document(databases, document)} for file, document in documents]

    with connected(data) as settings:
        done = asyncio.run(with_databases(settings, work))
    for problem in problems:
        out.say(
            f"{problem['severity']}: {problem['file']}:{problem['line'] or '?'} {problem['message']}; {problem['cure']}"
        )
    out.rows(("definition", "version", "status"), done, output)


@app.command(
    "list", epilog=examples("orchestrator definitions list", "orchestrator definitions list -o json")
)
def list_(data: Data = DATA_DIR, output: Output = TABLE) -> None:
    """The newest version of each published definition."""
    from orchestrator.cli import connection, queries
    from orchestrator.cli import output as out
    from orchestrator.installation import lanes_of

    async def work(_settings: Any, databases: Any) -> list[dict[str, Any]]:
        lanes_of(databases.main)
        return [
            {
                "definition": f"{row['kind']}:{row['id']}", "version": row["version"],
                "published_ms": row["published_ms"], "digest": row["digest"],
            }
            for row in queries.published(databases)
        ]  # fmt: skip

    columns = ("definition", "version", "published_ms")
    out.rows(
        columns,
        connection.run(data, work),
        output,
        empty="no definition is published: orchestrator definitions publish FILE",
    )


@app.command(
    epilog=examples(
        "orchestrator definitions show shop", "orchestrator definitions show lifecycle:shop --version 1"
    )
)
def show(
    name: Annotated[str, typer.Argument(help="kind:id, or the id of a lifecycle definition.")],
    version: Annotated[int | None, typer.Option(help="Else the newest.")] = None,
    data: Data = DATA_DIR,
    output: Output = TABLE,
) -> None:
    """A published document."""
    from orchestrator.cli import connection, queries
    from orchestrator.cli import output as out
    from orchestrator.engine import catalogue

    async def work(_settings: Any, databases: Any) -> dict[str, Any]:
        kind, _, definition_id = queries.full_address(name).partition(":")
        found = catalogue.document(databases.main, kind, definition_id, version)
        if found is None:
            raise queries.NotFound(
                f"{kind}:{definition_id} is not published in that version: see `orchestrator definitions list`"
            )
        import orjson

        return {
            "definition": f"{kind}:{definition_id}",
            "version": found[0],
            "document": orjson.loads(found[1]),
        }

    found = connection.run(data, work)
    if output is JSON:
        out.document(found)
        return
    import yaml

    out.say(f"{found['definition']} version {found['version']}")
    out.console().print(
        out.safe(yaml.safe_dump(found["document"], sort_keys=False, allow_unicode=True)), end=""
    )


@app.command(epilog=examples("orchestrator definitions schema > definition.schema.json"))
def schema(
    kind: Annotated[
        str | None, typer.Argument(help="One kind's schema; else one for documents of any kind.")
    ] = None,
    output: Output = Format.JSON,  # noqa: ARG001  a schema is JSON either way
) -> None:
    """The JSON Schema of documents, for editors and other tools."""
    from orchestrator import definitions
    from orchestrator.cli import output as out
    from orchestrator.cli.queries import NotFound

    try:
        out.document(definitions.export(kind))
    except KeyError as error:
        raise NotFound(f"{kind!r} is no kind of journey: leave the name out to see them all") from error


def publish_document(databases: Any, document: dict[str, Any]) -> dict[str, Any]:
    """Store a document that has no errors; what became of it."""
    import secrets

    import orjson

    from orchestrator.engine import catalogue
    from orchestrator.installation import lanes_of
    from orchestrator.journeys import EXPERIENCE
    from orchestrator.messages import TEMPLATE

    lanes_of(databases.main)
    if document["kind"] == TEMPLATE.name:
        document = TEMPLATE.prepare(document)
    if document["kind"] == EXPERIENCE.name:  # the same salt again, so that what didn't change stays as it is
        newest = catalogue.document(databases.main, EXPERIENCE.name, document["id"], None)
        kept = {} if newest is None else orjson.loads(newest[1]).get("access_codes", {})
        document = EXPERIENCE.prepare(document, kept.get("salt") or secrets.token_hex(16))
    text = orjson.dumps(document, option=orjson.OPT_SORT_KEYS).decode()
    version, new = catalogue.publish(databases.main, document["kind"], document["id"], text)
    status = "published" if new else "unchanged"
    return {"definition": f"{document['kind']}:{document['id']}", "version": version, "status": status}


def _document(file: Path) -> dict[str, Any]:
    from orchestrator import definitions

    return definitions.load(file.read_bytes())


def _problems(file: Path) -> list[dict[str, Any]]:
    from orchestrator import definitions

    report = definitions.validate(file.read_bytes())
    return [
        {
            "file": str(file), "line": report.line(problem), "severity": problem.severity, "pointer": problem.pointer,
            "message": problem.message, "cure": problem.cure,
        }
        for problem in report.problems
    ]  # fmt: skip


def _unpublished(
    databases: Any, file: Path, document: dict[str, Any], beside: list[tuple[Path, dict[str, Any]]]
) -> list[dict[str, Any]]:
    """Problems with what a document names and nobody has published."""
    from orchestrator.cli import unpublished

    return [
        {
            "file": str(file), "line": None, "severity": problem.severity, "pointer": problem.pointer,
            "message": problem.message, "cure": problem.cure,
        }
        for problem in unpublished.problems(databases, document, [one for _, one in beside])
    ]  # fmt: skip


def _tell(files: list[Path], found: list[dict[str, Any]], *, stderr: bool = False) -> None:
    """Problems as compilers write them: file, line, severity, what and what to do."""
    import sys

    from orchestrator.cli.output import safe

    stream = sys.stderr if stderr else sys.stdout
    for problem in found:
        place = f"{problem['file']}:{problem['line'] or 1}"
        stream.write(
            safe(f"{place}: {problem['severity']}: {problem['pointer'] or '/'}: {problem['message']}") + "\n"
        )
        stream.write(safe(f"    {problem['cure']}") + "\n")
    wrong = {problem["file"] for problem in found if problem["severity"] == "error"}
    for file in files:
        if str(file) not in wrong:
            stream.write(f"{file}: ok\n")
