"""`orchestrator import`: history as backfill, decided by its own clock, without effects."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.options import DATA_DIR, TABLE, Data, Output, examples

if TYPE_CHECKING:
    from orchestrator.importing import Mapped

_PROGRESS_EVERY = 50


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "import", epilog=examples("orchestrator import otto-sessions.jsonl --map examples/otto.toml")
    )(import_)


def import_(
    file: Annotated[
        Path, typer.Argument(help="JSON lines, plain or .gz.", exists=True, dir_okay=False, readable=True)
    ],
    map_: Annotated[
        Path, typer.Option("--map", help="TOML: which field is the customer, the time, the type, the id.")
    ],
    data: Data = DATA_DIR,
    output: Output = TABLE,
) -> None:
    """Feed past events from a file. Their time is their own, no effect is performed, and a second import changes nothing."""
    from orchestrator.cli import output as out
    from orchestrator.cli.connection import connected
    from orchestrator.importing import load_mapping

    mapping = load_mapping(map_)
    with connected(data) as settings:
        found = asyncio.run(_feed(settings, file, mapping))
    out.rows(
        ("outcome", "duplicate", "events"),
        found,
        output,
        title=f"{file.name}",
        empty="the file holds no events",
    )


async def _feed(settings: Any, file: Path, mapping: "Mapped") -> list[dict[str, Any]]:
    from orchestrator.cli import output as out
    from orchestrator.cli.connection import with_databases
    from orchestrator.feeding import Feeder
    from orchestrator.importing import messages

    await with_databases(settings, lambda _settings, databases: _check(databases, mapping))
    with out.progress(f"importing {file.name}", file.stat().st_size, size=True) as advance:
        async with Feeder(settings) as feeder:
            for number, item in enumerate(messages(file, mapping, settings.default_organization)):
                await feeder.send(item.message)
                if number % _PROGRESS_EVERY == 0:
                    advance(item.read_bytes, f"{feeder.answered:,} of {feeder.sent:,} decided")
            await feeder.drain()
            advance(file.stat().st_size, f"{feeder.answered:,} decided")
    return [
        {"outcome": outcome, "duplicate": duplicate, "events": count}
        for (outcome, duplicate), count in sorted(feeder.outcomes.items())
    ]


async def _check(databases: Any, mapping: "Mapped") -> None:
    """Say before the first event, not in a thousand dead letters, that nothing listens to a type."""
    from orchestrator.cli.queries import NotFound, definition_of, published
    from orchestrator.installation import lanes_of

    lanes_of(databases.main)
    found = {
        f"{row['kind']}:{row['id']}": definition_of(row["kind"], row["id"], row["version"], row["document"])
        for row in published(databases)
    }
    if mapping.definition and mapping.definition not in found:
        raise NotFound(f"{mapping.definition} is not published: orchestrator definitions publish FILE")
    listening = [found[mapping.definition]] if mapping.definition else list(found.values())
    for event_type in mapping.type.values.values():
        if not any(event_type in definition.listens for definition in listening):
            raise NotFound(
                f"no published definition lists {event_type}: publish one that does, such as"
                " `orchestrator definitions publish examples/lifecycle/shop.yaml`"
            )
