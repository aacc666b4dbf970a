"""`orchestrator replay`: everything rebuilt from the log, to compare it with what is live or to write read models anew."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.options import DATA_DIR, JSON, TABLE, Data, Output, examples

if TYPE_CHECKING:
    from orchestrator.replay import ReplayProgress


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog=examples(
            "orchestrator replay --verify",
            "orchestrator replay --rebuild --lane 3",
            "orchestrator replay -o json",
        )
    )(replay)


def replay(
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare streams, timers and read models with the live ones.")
    ] = False,
    rebuild: Annotated[
        bool,
        typer.Option(
            "--rebuild",
            help="Write journeys, keys, timers, dead letters and counts of flows anew; no worker may decide meanwhile.",
        ),
    ] = False,
    lane: Annotated[
        list[int] | None, typer.Option("--lane", help="Only this lane; may be given several times.", min=0)
    ] = None,
    data: Data = DATA_DIR,
    output: Output = TABLE,
) -> None:
    """Rebuild every stream from the log; no effect is performed. Ends with 1 if there is a difference."""
    import asyncio

    import msgspec

    from orchestrator import replay as replaying
    from orchestrator.cli import output as out
    from orchestrator.cli.connection import connected

    if verify and rebuild:
        raise typer.BadParameter("--verify and --rebuild exclude each other: rebuild first, then verify")
    with connected(data) as settings, out.progress("replaying", None) as advance:

        def tell(now: "ReplayProgress") -> None:
            advance(now.events, now.note, total=now.events_total)

        work = replaying.replay(settings, verify=verify, rebuild=rebuild, lanes=lane or None, progress=tell)
        report = asyncio.run(work)
    found: dict[str, Any] = msgspec.to_builtins(report)
    if output is JSON:
        out.document(found)
    else:
        differences = found.pop("differences", [])
        out.facts(found)
        if differences:
            out.rows(("lane", "code", "place", "found", "cure"), differences, output)
    if not report.ok:
        raise typer.Exit(1)
