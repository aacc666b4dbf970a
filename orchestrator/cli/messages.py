"""`orchestrator messages`: trying templates before customers see them."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.cli.options import DATA_DIR, TABLE, Data, Output, examples, noun

app = noun("Messages: trying templates before customers see them.")


@app.callback()
def _group() -> None:
    """A noun of its own, whose only verb so far is named all the same."""


@app.command(
    "test-send",
    epilog=examples(
        "orchestrator messages test-send examples/templates/welcome_email.yaml --to author@example.com",
        "orchestrator messages test-send new_offer --to fcm:TOKEN -o json",
        "orchestrator messages test-send welcome_email --to author@example.com --variables @values.json",
    ),
)
def try_out(
    template: Annotated[str, typer.Argument(help="A file, or the id of a published template.")],
    to: Annotated[
        str, typer.Option("--to", help="author@example.com, +4915112345678, fcm:TOKEN or apns:TOKEN.")
    ],
    variables: Annotated[
        str,
        typer.Option("--variables", help="A JSON object in place of the template's sample; @FILE reads one."),
    ] = "",
    version: Annotated[
        int | None, typer.Option(help="Of a published template; else the newest.", min=1)
    ] = None,
    data: Data = DATA_DIR,
    output: Output = TABLE,
) -> None:
    """Send one message to yourself, through the providers that are configured. Ends with 1 if it wasn't taken."""
    import os
    import secrets

    from consumers.actions.base import Done, Failed
    from consumers.actions.delivery_environment import delivery_from
    from consumers.actions.trial import send_trial
    from orchestrator.cli import output as out

    document = _document(template, version, data)
    given = _variables(variables) if variables else None
    _check_address(document["channel"], to)
    ending = asyncio.run(
        send_trial(document, to, delivery_from(os.environ), key=secrets.token_hex(8), variables=given)
    )
    about = {"template": document["id"], "channel": document["channel"]}
    match ending:
        case Done(result=result):
            told = {**about, "status": "taken over", **result}
        case Failed(error=error, detail=detail):
            told = {**about, "status": "failed", "error": error, "detail": detail}
        case _:
            told = {**about, "status": "unknown"}
    out.rows(("template", "channel", "status", "error", "detail"), [told], output)
    if told["status"] != "taken over":
        raise typer.Exit(1)


def _document(template: str, version: int | None, data: Path) -> dict[str, Any]:
    """The template of a file without errors, or a published one. Raises InvalidDocument, NotFound."""
    from orchestrator.cli.queries import NotFound

    path = Path(template)
    given = path.suffix or path.exists()
    document = _of_file(path) if given else _of_database(template, version, data)
    if document["kind"] != "template":
        raise NotFound(f"{template} is of kind {document['kind']!r}: only templates can be test-sent")
    return document


def _of_file(path: Path) -> dict[str, Any]:
    from orchestrator import definitions

    try:
        content = path.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{path} can't be read: {error.strerror}") from error
    return definitions.load(content)


def _of_database(template: str, version: int | None, data: Path) -> dict[str, Any]:
    from orchestrator.cli import connection, queries
    from orchestrator.engine import catalogue

    async def work(_settings: Any, databases: Any) -> dict[str, Any]:
        import orjson

        found = await asyncio.to_thread(catalogue.document, databases.main, "template", template, version)
        if found is None:
            raise queries.NotFound(
                f"no template {template[:64]!r} is published{f' in version {version}' if version else ''}:"
                " `orchestrator definitions list` shows them, or give a file"
            )
        document: dict[str, Any] = orjson.loads(found[1])
        return document

    return connection.run(data, work)


def _variables(text: str) -> dict[str, Any]:
    import orjson

    try:
        content = Path(text[1:]).read_bytes() if text.startswith("@") else text.encode()
        found = orjson.loads(content)
    except OSError as error:
        raise typer.BadParameter(f"--variables: {text[1:]} can't be read: {error.strerror}") from error
    except orjson.JSONDecodeError as error:
        raise typer.BadParameter(f"--variables is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise typer.BadParameter("--variables must be a JSON object")
    return found


def _check_address(channel: str, to: str) -> None:
    fits = {"email": "@" in to, "sms": to.startswith("+"), "push": to.startswith(("fcm:", "apns:"))}
    if not fits.get(channel, True):
        example = {"email": "author@example.com", "sms": "+4915112345678", "push": "fcm:TOKEN"}[channel]
        raise typer.BadParameter(f"--to: the template is for {channel}; write an address such as {example}")
