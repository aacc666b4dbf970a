"""`orchestrator replay`: rebuild everything from the log and compare it with what is live."""

from typing import Annotated, Any

import typer

from orchestrator.cli.options import DATA_DIR, JSON, TABLE, Data, Output, examples


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=examples("orchestrator replay --verify", "orchestrator replay --verify --lane 3 -o json"))(replay)


def replay(
    verify: Annotated[bool, typer.Option("--verify", help="Compare streams, timers and read models with the live ones.")] = False,
    lane: Annotated[list[int] | None, typer.Option("--lane", help="Only this lane; may be given several times.", min=0)] = None,
    data: Data = DATA_DIR,
    output: Output = TABLE,
) -> None:
    """Rebuild every stream from the log; no effect is performed. Ends with 1 if --verify finds a difference."""
    import asyncio

    import msgspec

    from orchestrator.cli import output as out
    from orchestrator.cli.connection import connected
    from orchestrator.replay import replay as rebuild

    with connected(data) as settings, out.progress("replaying", None) as advance:
        report = asyncio.run(rebuild(settings, verify=verify, lanes=lane or None, progress=advance))
    found: dict[str, Any] = msgspec.to_builtins(report)
    if output is JSON:
        out.document(found)
    else:
        out.facts(found)
    if not report.ok:
        raise typer.Exit(1)
