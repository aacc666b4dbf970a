"""`orchestrator commands`: publish a command and learn what became of it."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from orchestrator.cli.options import DATA_DIR, JSON, TABLE, Data, Output, examples, noun

app = noun("Commands to journeys.")
_WAIT_S = 30.0


@app.command(
    epilog=examples(
        'orchestrator commands publish acme/c/cus-1/lifecycle:shop event \'{"type": "PRODUCT_VIEWED"}\' --wait',
        "orchestrator commands publish --file commands.jsonl --wait -o json",
        'echo \'{"userId": "cus-1", "type": "PRODUCT_VIEWED", "idempotencyKey": "e-1"}\' | orchestrator commands publish --file - --wait',
    )
)
def publish(
    subject: Annotated[
        str, typer.Argument(help="The journey, or an owner (organization/c/customer) for a raw event.")
    ] = "",
    type_: Annotated[str, typer.Argument(metavar="TYPE", help="What is asked.")] = "",
    body: Annotated[str, typer.Argument(metavar="DATA", help="A JSON object.")] = "{}",
    id_: Annotated[str, typer.Option("--id", help="The idempotency key; else a random one, shown.")] = "",
    source: Annotated[str, typer.Option(help="Who asks; ids are unique in it.")] = "orchestrator-cli",
    time: Annotated[str, typer.Option(help="When it occurred (RFC 3339); else when the broker got it.")] = "",
    backfill: Annotated[
        bool, typer.Option("--backfill", help="History: decided by its own time, effects not performed.")
    ] = False,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            "-f",
            help="JSON lines with subject, type, id, source, data …, or flat raw events; - is stdin.",
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", "-w", help="Wait for outcomes; ends with 1 if one was dead-lettered.")
    ] = False,
    timeout_s: Annotated[
        float, typer.Option("--timeout", help="Seconds to wait without any outcome.", min=1)
    ] = _WAIT_S,
    data: Data = DATA_DIR,
    output: Output = TABLE,
) -> None:
    """Publish one command, or one a line from a file. A published command is decided once, however often it is sent."""
    from orchestrator.cli.connection import connected
    from orchestrator.cli.envelopes import from_line, one

    if (file is None) == (not subject or not type_):
        raise typer.BadParameter("give SUBJECT and TYPE, or --file")
    with _lines(file) as lines:
        if lines is None:
            given = {
                "subject": subject,
                "type": type_,
                "data": body,
                "id": id_,
                "source": source,
                "time": time,
            }
            messages = iter([one(given, backfill=backfill)])
        else:
            messages = (
                from_line(line, number, source, backfill)
                for number, line in enumerate(lines, 1)
                if line.strip()
            )
        with connected(data) as settings:
            lost = asyncio.run(
                _publish(settings, messages, wait_s=timeout_s if wait else None, output=output)
            )
    if lost:
        raise typer.Exit(1)


async def _publish(settings: Any, messages: Iterator[Any], *, wait_s: float | None, output: Any) -> int:
    """Send and report each command; returns how many were dead-lettered."""
    from orchestrator.cli import output as out
    from orchestrator.cli.envelopes import defaults
    from orchestrator.feeding import Feeder

    shown: list[dict[str, Any]] = []
    lost = 0

    def report(row: dict[str, Any]) -> None:
        nonlocal lost
        lost += row.get("outcome") == "dead_lettered"
        if output is JSON:
            out.json_line(row)
        else:
            shown.append(row)

    async with Feeder(settings, stall_s=wait_s or _WAIT_S) as feeder:
        if wait_s is not None:
            feeder.on_outcome = lambda outcome: report(defaults(outcome))
        for message in messages:
            if wait_s is None:
                assert message.command is not None
                report({"source": message.command[0], "id": message.command[1], "outcome": "published"})
                await feeder.send(message._replace(command=None))
            else:
                await feeder.send(message)
        await feeder.drain()
    if output is not JSON:
        columns = (
            ("source", "id", "outcome", "duplicate", "stream", "revision", "reason")
            if wait_s
            else ("source", "id", "outcome")
        )
        out.rows(columns, shown, output)
    return lost


@contextmanager
def _lines(file: Path | None) -> Iterator[IO[bytes] | None]:
    if file is None:
        yield None
    elif str(file) == "-":
        yield sys.stdin.buffer
    else:
        try:
            opened = file.open("rb")
        except OSError as error:
            raise typer.BadParameter(f"{file} can't be read: {error.strerror}") from error
        with opened:
            yield opened
