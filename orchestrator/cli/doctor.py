"""`orchestrator doctor`: everything looked at in turn; each line says how it is and what to do."""

import asyncio
from typing import Any

import typer

from orchestrator.cli.options import DATA_DIR, JSON, TABLE, Data, Output, examples

_STYLES = {"ok": "green", "warn": "yellow", "fail": "red bold"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=examples("orchestrator doctor", "orchestrator doctor -o json"))(doctor)


def doctor(data: Data = DATA_DIR, output: Output = TABLE) -> None:
    """Check broker, topics, database, lanes, producers, clocks and disk. Ends with 1 if something fails."""
    from orchestrator.cli import checks
    from orchestrator.cli import output as out
    from orchestrator.cli.connection import connected

    with connected(data) as settings:
        found = asyncio.run(checks.run_all(settings, data))
    if output is JSON:
        out.document([finding._asdict() for finding in found])
    else:
        _tell(found)
    if any(finding.status == "fail" for finding in found):
        raise typer.Exit(1)


def _tell(found: list[Any]) -> None:
    from rich.text import Text

    from orchestrator.cli import output as out

    width = max(len(finding.what) for finding in found)
    for finding in found:
        line = Text()
        line.append(f"{finding.status:<5}", style=_STYLES[finding.status])
        line.append(f"{finding.what:<{width}}  ", style="bold")
        line.append(out.safe(finding.message))
        if finding.cure:
            line.append(f" → {out.safe(finding.cure)}")
        out.console().print(line, soft_wrap=True)
