"""Runs the program many times without loading its libraries anew: each request is a fork of a process that has them.

`python -m tests.cli.forking` reads requests (JSON lines) from standard input and answers each on standard output.
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

LOADED = (
    "orchestrator.cli.program",
    "orchestrator.cli.queries",
    "orchestrator.cli.checks",
    "orchestrator.feeding",
)


class Forking:
    """The process behind; ends with its standard input."""

    def __init__(self, cwd: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.cli.forking"],
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def serve() -> None:
    for name in LOADED:
        importlib.import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        with tempfile.TemporaryDirectory() as folder:
            files = {name: Path(folder, name) for name in ("in", "out", "err")}
            files["in"].write_text(request["stdin"], encoding="utf-8")
            pid = os.fork()
            if pid == 0:
                child(request, files)
            _, status = os.waitpid(pid, 0)
            out, err = (files[name].read_text(encoding="utf-8") for name in ("out", "err"))
            answer = {"code": os.waitstatus_to_exitcode(status), "out": out, "err": err}
        print(json.dumps(answer), flush=True)


def child(request: dict[str, Any], files: dict[str, Path]) -> None:
    """Become one run of the program."""
    code = 99
    try:
        for number, (name, mode) in enumerate(
            (("in", os.O_RDONLY), ("out", os.O_WRONLY), ("err", os.O_WRONLY))
        ):
            os.dup2(os.open(files[name], mode | os.O_CREAT, 0o600), number)
        sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, mode) for number, mode in enumerate("rww"))
        os.environ.clear()
        os.environ.update(request["env"])
        os.chdir(request["cwd"])
        from orchestrator.cli import run

        code = run(request["arguments"])
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


if __name__ == "__main__":
    serve()
