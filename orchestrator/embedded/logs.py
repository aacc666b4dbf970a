"""Log files of the local servers: each bounded to two generations, its last words quoted when a server fails."""

import re
from pathlib import Path
from typing import IO

from orchestrator.embedded.errors import from_os_error, full_disk_note

MAX_BYTES = 10_000_000
QUOTED_BYTES = 65_536
TROUBLE = re.compile(r"\b(ERROR|FATAL|PANIC|Error|Exception|[A-Z][A-Za-z]+(Exception|Error))\b")


def open_log(path: Path) -> IO[bytes]:
    """Open a log for appending; one that has grown past `MAX_BYTES` becomes `<name>.1` first."""
    try:
        if path.exists() and path.stat().st_size > MAX_BYTES:
            path.replace(path.with_name(path.name + ".1"))
        return path.open("ab")
    except OSError as error:
        raise from_os_error(error, "writing the log", path) from error


class LogMark:
    """Where a log ended when a server was started, so that only what this run wrote is quoted."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._from_byte = self._size()

    def last_words(self, count: int = 4) -> str:
        """The last lines that tell of trouble (or the last ones at all), and where the log is."""
        lines = self._lines()
        trouble = [line for line in lines if TROUBLE.search(line)] or lines
        words = " | ".join(line.strip()[:300] for line in trouble[-count:]) or "it logged nothing"
        return f"{words} (log: {self._path}){full_disk_note(chr(10).join(lines), self._path)}"

    def _lines(self) -> list[str]:
        size = self._size()
        start = self._from_byte if self._from_byte <= size else 0  # it was rolled over meanwhile
        try:
            with self._path.open("rb") as log:
                log.seek(max(start, size - QUOTED_BYTES))
                text = log.read().decode(errors="replace")
        except OSError:
            return []
        return [line for line in text.splitlines() if line.strip()]

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except OSError:
            return 0
