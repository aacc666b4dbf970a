"""What people and programs see: tables or JSON on standard output, progress and remarks on standard error."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from orchestrator.cli.options import Format

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH_ELSEWHERE = 240  # of tables that don't go to a terminal, so that grep finds whole lines


class Advance(Protocol):
    """Moves a progress bar: how much is done in all, and what to say beside it."""

    def __call__(self, done: float, note: str = "", *, total: float | None = None) -> None: ...


def console() -> "Console":
    """Standard output."""
    from rich.console import Console

    return Console(
        file=sys.stdout,
        width=None if sys.stdout.isatty() else _WIDTH_ELSEWHERE,
        highlight=False,
        markup=False,
    )


def say(text: str) -> None:
    """A remark for people, on standard error."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def json_line(value: Any) -> None:
    """One line of JSON on standard output."""
    import orjson

    sys.stdout.write(orjson.dumps(value, default=_plain).decode() + "\n")
    sys.stdout.flush()


def document(value: Any) -> None:
    """One JSON document on standard output."""
    import orjson

    sys.stdout.write(orjson.dumps(value, default=_plain, option=orjson.OPT_INDENT_2).decode() + "\n")


def rows(
    columns: Sequence[str],
    data: Sequence[Mapping[str, Any]],
    output: Format,
    *,
    title: str = "",
    empty: str = "nothing",
) -> None:
    """A list: a table of these columns, or a JSON array with every field."""
    if output is Format.JSON:
        document(data)
        return
    if not data:
        console().print(f"{title + ': ' if title else ''}{empty}")
        return
    table(columns, [[row.get(column) for column in columns] for row in data], title=title)


def table(columns: Sequence[str], data: Sequence[Sequence[Any]], *, title: str = "") -> None:
    """A table at a terminal's width; numbers to the right, times in UTC for columns that end in `_ms`."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(
        box=box.SIMPLE_HEAD, title=Text(title) if title else None, title_justify="left", title_style="bold"
    )
    for index, column in enumerate(columns):
        number = (
            bool(data)
            and all(isinstance(row[index], int | float) for row in data)
            and not column.endswith("_ms")
        )
        name = column.removesuffix("_ms").replace("_", " ")
        made.add_column(Text(name), justify="right" if number else "left", overflow="fold")
    for row in data:
        made.add_row(*(Text(cell(value, column)) for column, value in zip(columns, row, strict=True)))
    console().print(made)


def facts(pairs: Mapping[str, Any], *, title: str = "") -> None:
    """Name and value, a line each."""
    from rich.table import Table
    from rich.text import Text

    made = Table(
        box=None,
        show_header=False,
        pad_edge=False,
        title=Text(title) if title else None,
        title_justify="left",
    )
    for name, value in pairs.items():
        label = name.removesuffix("_ms").replace("_", " ")
        made.add_row(Text(label, style="bold"), Text(cell(value, name), overflow="fold"))
    console().print(made)


def cell(value: Any, column: str = "") -> str:
    """A value as text that can't steer the terminal."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and column.endswith("_ms"):
        return instant(value)
    if isinstance(value, float):
        return f"{value:,.1f}"
    if isinstance(value, int):
        return f"{value:,}" if column not in ("version", "definition_version", "lane") else str(value)
    if isinstance(value, dict | list | tuple):
        import orjson

        return safe(orjson.dumps(value, default=_plain).decode()) if value else ""
    return safe(str(value))


def instant(ms: int) -> str:
    """RFC 3339 in UTC, to the millisecond."""
    try:
        return (
            datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        )
    except (OverflowError, ValueError, OSError):
        return str(ms)


def safe(text: str) -> str:
    """Text with control characters (but newlines) and lone surrogates written as escapes."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape", "surrogatepass").decode()
        for c in text
    )


@contextmanager
def progress(title: str, total: float | None, *, size: bool = False) -> Iterator[Advance]:
    """A bar on standard error, nothing where that is no terminal. `size`: counted in bytes."""
    if not sys.stderr.isatty():
        yield _silent
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    count = DownloadColumn() if size else MofNCompleteColumn()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        count,
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(file=sys.stderr), transient=False) as bar:
        task = bar.add_task(title, total=total, note="")

        def advance(done: float, note: str = "", *, total: float | None = None) -> None:
            bar.update(task, completed=done, note=note, total=total)

        yield advance


def _silent(done: float, note: str = "", *, total: float | None = None) -> None:
    """No terminal, no bar."""


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        import base64

        return base64.b64encode(value).decode()
    if isinstance(value, frozenset | set):
        return sorted(value)
    import msgspec

    return msgspec.to_builtins(value)
