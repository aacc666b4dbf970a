"""The sample clients: how each is built in a copy of its own, and called."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

SAMPLES = Path(__file__).resolve().parents[2] / "examples/clients"
BUILD_WITHIN_S = 300


@dataclass(frozen=True)
class Toolchain:
    """A language's tools, the oldest version that will do, and what to type."""

    needs: tuple[tuple[str, str, tuple[int, ...]], ...]  # program, argument that prints its version, oldest
    build: tuple[tuple[str, ...], ...]
    call: Callable[[Path], list[str]]


TOOLCHAINS = {
    "python": Toolchain((), (), lambda folder: [sys.executable, str(folder / "publish.py")]),
    "node": Toolchain(
        (("node", "--version", (20,)), ("npm", "--version", (9,))),
        (("npm", "ci", "--no-audit", "--no-fund", "--prefer-offline"),),
        lambda folder: ["node", str(folder / "publish.js")],
    ),
    "go": Toolchain(
        (("go", "version", (1, 26)),),
        (("go", "build", "-o", "client", "."),),
        lambda folder: [str(folder / "client")],
    ),
    "java": Toolchain(
        (("javac", "-version", (17,)), ("mvn", "--version", (3, 6))),
        (("mvn", "--quiet", "--batch-mode", "--no-transfer-progress", "package"),),
        lambda folder: ["java", "-jar", str(folder / "target/client.jar")],
    ),
}


def require(language: str) -> None:
    """Skip the test, saying what to install, when a tool is missing or too old."""
    for program, argument, oldest in TOOLCHAINS[language].needs:
        wanted = f"{program} {'.'.join(map(str, oldest))} or newer"
        if shutil.which(program) is None:
            pytest.skip(
                f"NOT TESTED: the {language} client needs {wanted}, and {program} isn't installed here"
            )
        shown = subprocess.run([program, argument], capture_output=True, text=True, check=False, timeout=60)
        plain = re.sub(r"\x1b\[[0-9;]*m", "", shown.stdout + shown.stderr)
        version = re.search(r"(\d+(?:\.\d+)*)", plain)
        found = tuple(map(int, version[1].split("."))) if version else ()
        if found < oldest:
            pytest.skip(
                f"NOT TESTED: the {language} client needs {wanted}; here is {'.'.join(map(str, found))}"
            )


def build(language: str, folder: Path) -> list[str]:
    """Build a copy of the sample in `folder`; the command line that calls it."""
    ignored = shutil.ignore_patterns("node_modules", "target", "client", "__pycache__")
    shutil.copytree(SAMPLES / language, folder, ignore=ignored)
    for command in TOOLCHAINS[language].build:
        built = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=BUILD_WITHIN_S
        )
        assert built.returncode == 0, f"{' '.join(command)}:\n{built.stdout[-4000:]}{built.stderr[-4000:]}"
    return TOOLCHAINS[language].call(folder)
