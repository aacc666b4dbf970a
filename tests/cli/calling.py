"""The program as a person runs it: a process of its own, with its exit code and both streams."""

import atexit
import json
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from tests.cli.forking import Forking

ROOT = Path(__file__).resolve().parents[2]
SHOP = ROOT / "examples/lifecycle/shop.yaml"
PROGRAM = (sys.executable, "-m", "orchestrator.cli")
_OURS = ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "LOG_LEVEL", "POSTGRES_ENABLE_DB_FUNCTIONS")


class Ended(NamedTuple):
    """How a run ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as one JSON document."""
        return json.loads(self.out)


def environment(**changes: str) -> dict[str, str]:
    """The environment without anything that would steer the program, and these changes."""
    kept = {n: v for n, v in os.environ.items() if n not in _OURS and not n.startswith("ORCHESTRATOR_")}
    caches = {
        n: v
        for n, v in os.environ.items()
        if n in {"ORCHESTRATOR_CACHE_DIR", "ORCHESTRATOR_MAVEN_URL", "ORCHESTRATOR_KAFKA_JARS"}
    }
    return {**kept, **caches, "COLUMNS": "200", **changes}


def call(
    *arguments: str | Path, env: dict[str, str] | None = None, stdin: str = "", cwd: Path = ROOT
) -> Ended:
    """Run the program to its end."""
    request = {
        "arguments": [str(argument) for argument in arguments],
        "env": environment() if env is None else env,
        "stdin": stdin,
        "cwd": str(cwd),
    }
    return Ended(**_forking().run(request))


@cache
def _forking() -> Forking:
    made = Forking(ROOT)
    atexit.register(made.close)
    return made


def processes_naming(text: str) -> list[str]:
    """Command lines of living processes that name this text."""
    import psutil

    found = []
    for process in psutil.process_iter(["pid", "cmdline", "environ", "status"]):
        if process.pid == os.getpid() or process.info["status"] == psutil.STATUS_ZOMBIE:
            continue
        words = [*(process.info["cmdline"] or ()), *(process.info["environ"] or {}).values()]
        if any(text in word for word in words):
            found.append(f"{process.pid} {' '.join(process.info['cmdline'] or ())[:200]}")
    return found
