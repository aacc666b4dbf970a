"""The three contenders as processes of their own, so that CPU and memory are theirs alone."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import psutil

_READY_TIMEOUT_S = 90.0


class Usage(NamedTuple):
    """Of all processes of a contender."""

    cpu_s: float
    peak_mb: float


class Contender:
    """`command` becomes ready (a line on stdout, or /readyz), and is stopped by signal."""

    def __init__(
        self, name: str, command: list[str], environment: Mapping[str, str], log: Path, port: int = 0
    ) -> None:
        self.name = name
        self._command, self._environment, self._log, self._port = command, environment, log, port
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and wait until it consumes."""
        with self._log.open("ab") as errors:
            self._process = subprocess.Popen(
                self._command, env={**os.environ, **self._environment}, stdout=subprocess.PIPE, stderr=errors
            )
        assert self._process.stdout is not None
        if not self._port:
            if self._process.stdout.readline() != b"ready\n":
                raise RuntimeError(f"{self.name} did not start: see {self._log}")
            return
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/readyz", timeout=2) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                time.sleep(0.2)
            if self._process.poll() is not None:
                break
        raise RuntimeError(f"{self.name} is not ready: see {self._log}")

    def hold(self) -> None:
        """Stand still while a burst is published: nobody consumes meanwhile."""
        self._signal(signal.SIGSTOP)

    def go(self) -> None:
        self._signal(signal.SIGCONT)

    def usage(self) -> Usage:
        """CPU seconds so far and the highest resident memory."""
        assert self._process is not None
        process = psutil.Process(self._process.pid)
        times = process.cpu_times()
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        return Usage(times.user + times.system, peak / 1024)

    def stop(self) -> None:
        if self._process is None:
            return
        self._signal(signal.SIGCONT)
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)


def engine(environment: Mapping[str, str], log: Path, port: int) -> Contender:
    """Contender a: this engine's worker, publisher and snapshots on."""
    return Contender(
        "engine",
        [sys.executable, "-m", "orchestrator.worker_process", "lanes"],
        {**environment, "ORCHESTRATOR_METRICS_PORT": str(port), "LOG_LEVEL": "WARNING"},
        log,
        port,
    )


def bare(environment: Mapping[str, str], log: Path) -> Contender:
    return Contender("bare pipeline", [sys.executable, "-m", "bench.bare"], environment, log)


def plain(environment: Mapping[str, str], log: Path) -> Contender:
    return Contender("plain application", [sys.executable, "-m", "bench.plain"], environment, log)
