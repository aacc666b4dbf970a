"""A worker as its own process, to be killed, frozen and woken: `python -m tests.support.worker_process`.

The process runs `Worker` with the tests' own journey kind and settings from the environment.
`JOURNEY_TEST_PLANT` names a bug of `tests.support.plants` to break it with, so that tests can be seen to fail.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from orchestrator import embedded, lifeline
from orchestrator.core.errors import ConfigurationError

PLANT = "JOURNEY_TEST_PLANT"
EXIT_CONFIGURATION = 78
SESSION_TIMEOUT_MS = 6_000
END_WITHIN_S = 30.0
_POLL_S = 0.05
_PROBE_TIMEOUT_S = 3.0


class WorkerProcess:
    """One worker; `log_path` collects the lines of all its lives. Leaving the `with` block kills it."""

    def __init__(
        self,
        environment: dict[str, str],
        log_path: Path,
        program: Sequence[str] = ("tests.support.worker_process",),
    ) -> None:
        self.log_path = log_path
        self._program = program
        # A test run that is killed leaves no worker behind: it holds the other end of their standard input.
        self._environment = {**_clean(os.environ), lifeline.VARIABLE: "1", **environment}
        self._process: subprocess.Popen[bytes] | None = None
        self._log_from = 0

    def start(self) -> Self:
        """Begin a life; returns at once."""
        assert self._process is None or self._process.poll() is not None, "this worker runs already"
        self._log_from = self.log_path.stat().st_size if self.log_path.exists() else 0
        with self.log_path.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *self._program],
                cwd=Path(__file__).parents[2],
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return self

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL: no goodbye to the group, nothing flushed."""
        self._signal(signal.SIGKILL)
        self.wait()

    def freeze(self) -> None:
        """SIGSTOP: to everybody else it looks dead, to itself nothing happens."""
        self._signal(signal.SIGSTOP)

    def wake(self) -> None:
        self._signal(signal.SIGCONT)

    def terminate(self) -> int:
        """SIGTERM, and its exit code."""
        self._signal(signal.SIGTERM)
        return self.wait()

    def wait(self, timeout_s: float = END_WITHIN_S) -> int:
        assert self._process is not None
        code = self._process.wait(timeout_s)
        if self._process.stdin is not None:
            self._process.stdin.close()
        return code

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def close(self) -> None:
        """End it, in whatever state it is."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                self.wake()
                self.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def log(self) -> str:
        """What this life has written."""
        with self.log_path.open("rb") as file:
            file.seek(self._log_from)
            return file.read().decode(errors="replace")

    def readiness(self) -> tuple[int, dict[str, Any]]:
        """Status and body of /readyz; (0, {}) while nobody answers."""
        answer = self._get("/readyz")
        return (answer[0], json.loads(answer[1])) if answer else (0, {})

    def lanes(self) -> set[int]:
        """The lanes it owns and moves."""
        _, body = self.readiness()
        lanes: dict[str, dict[str, str]] = body.get("lanes", {})
        return {int(number) for number, lane in lanes.items() if lane["state"] == "ready"}

    def metric(self, line_start: str) -> float | None:
        """The value of the first sample whose line starts so; None while there is none."""
        answer = self._get("/metrics")
        for line in answer[1].decode().splitlines() if answer else ():
            if line.startswith(line_start):
                return float(line.rsplit(" ", 1)[1])
        return None

    def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Until /readyz says ok. Raises AssertionError with its last answer and log."""
        deadline_s = time.monotonic() + timeout_s
        answer: tuple[int, dict[str, Any]] = (0, {})
        while time.monotonic() < deadline_s:
            assert self.running, f"the worker ended with {self.wait()}:\n{self.log()[-4000:]}"
            answer = self.readiness()
            if answer[0] == 200:
                return
            time.sleep(_POLL_S)
        raise AssertionError(f"not ready in {timeout_s} s: {answer}\n{self.log()[-4000:]}")

    def _get(self, path: str) -> tuple[int, bytes] | None:
        port = self._port()
        if port is None:
            return None
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=_PROBE_TIMEOUT_S) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read()
        except OSError:
            return None

    def _port(self) -> int | None:
        for line in self.log().splitlines():
            if '"probes listening"' in line:
                return int(json.loads(line)["port"])
        return None


def environment_of(servers: embedded.Servers, *, topic_prefix: str = "", **more: str) -> dict[str, str]:
    """Settings of a test's worker against these servers; `more` are whole variable names."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": servers.bootstrap,
        "DATABASE_URL": servers.dsn,
        "ORCHESTRATOR_TOPIC_PREFIX": topic_prefix,
        "ORCHESTRATOR_SESSION_TIMEOUT_MS": str(SESSION_TIMEOUT_MS),
        "ORCHESTRATOR_HEARTBEAT_INTERVAL_MS": "1000",
        "ORCHESTRATOR_METRICS_PORT": "0",
        **more,
    }


def _clean(environment: os._Environ[str]) -> dict[str, str]:
    """The caller's environment without settings of its own."""
    ours = ("ORCHESTRATOR_", "KAFKA_", "DATABASE_", "POSTGRES_", "PG")
    return {k: v for k, v in environment.items() if not k.startswith(ours) or k == "ORCHESTRATOR_CACHE_DIR"}


def main() -> int:
    """The worker's exit code."""
    from orchestrator import logs, settings
    from orchestrator.app import Worker
    from tests.support import plants
    from tests.support.toy import TOY

    lifeline.hold()
    plants.plant(os.environ.get(PLANT, ""))
    code = 0
    try:
        found = settings.load()
        logs.configure(found.log_level, "json")
        asyncio.run(Worker(found, kinds=(TOY,)).run())
    except* ConfigurationError as problems:
        error: BaseException = problems
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        sys.stderr.write(f"error: {error}\n")
        code = EXIT_CONFIGURATION
    return code


if __name__ == "__main__":
    sys.exit(main())
