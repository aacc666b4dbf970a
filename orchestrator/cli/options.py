"""Options that several commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    """How a command answers on standard output."""

    TABLE = "table"
    JSON = "json"


class Role(StrEnum):
    """What a worker process does."""

    ALL = "all"
    LANES = "lanes"
    EFFECTS = "effects"


Output = Annotated[
    Format, typer.Option("--output", "-o", help="A table for people, or JSON and nothing else.")
]
Data = Annotated[
    Path,
    typer.Option(
        "--data",
        envvar="ORCHESTRATOR_DATA_DIR",
        help="Folder of the embedded servers, unless KAFKA_BOOTSTRAP_SERVERS and DATABASE_URL name yours.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
Organization = Annotated[
    str, typer.Option("--organization", help="Of the customer; else ORCHESTRATOR_DEFAULT_ORGANIZATION.")
]
DATA_DIR = Path(".data")
TABLE = Format.TABLE
JSON = Format.JSON


def noun(help_text: str) -> typer.Typer:
    """A group of commands around one noun."""
    return typer.Typer(help=help_text, no_args_is_help=True, rich_markup_mode="rich")


def examples(*lines: str) -> str:
    """The last part of a command's help; each line is one command."""
    return "[bold]Examples[/bold]\n\n" + "\n\n".join(f"  [dim]$[/dim] {line}" for line in lines)
