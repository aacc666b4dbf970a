"""The three contenders as processes of their own, so that CPU and memory are theirs alone."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

_READY_TIMEOUT_S = 90.0


class Usage(NamedTuple):
    """Of all processes of a contender."""

    cpu_s: float
    peak_mb: float


class Command(NamedTuple):
    """One process of a contender."""

    argv: Sequence[str]
    environment: Mapping[str, str]
    port: int = 0  # of its probes


class Contender:
    """Processes that share the lanes; each is ready by a line on stdout, or by /readyz where it has a port."""

    def __init__(self, name: str, commands: Sequence[Command], log: Path) -> None:
        self.name = name
        self._commands, self._log = commands, log
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start and wait until all consume."""
        with self._log.open("ab") as errors:
            self._processes = [
                subprocess.Popen(
                    c.argv, env={**os.environ, **c.environment}, stdout=subprocess.PIPE, stderr=errors
                )
                for c in self._commands
            ]
        for command, process in zip(self._commands, self._processes, strict=True):
            if command.port:
                self._await_probe(command.port, process)
            elif process.stdout is None or process.stdout.readline() != b"ready\n":
                raise RuntimeError(f"{self.name} did not start: see {self._log}")

    def _await_probe(self, port: int, process: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while time.monotonic() < deadline and process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                time.sleep(0.2)
        raise RuntimeError(f"{self.name} is not ready: see {self._log}")

    def hold(self) -> None:
        """Stand still while a burst is published: nobody consumes meanwhile."""
        self._signal(signal.SIGSTOP)

    def go(self) -> None:
        self._signal(signal.SIGCONT)

    def usage(self) -> Usage:
        """CPU seconds so far, and the sum of the highest resident memories."""
        cpu_s = peak_mb = 0.0
        for process in self._processes:
            times = psutil.Process(process.pid).cpu_times()
            cpu_s += times.user + times.system
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
            peak_mb += next(int(ln.split()[1]) for ln in status.splitlines() if ln.startswith("VmHWM")) / 1024
        return Usage(cpu_s, peak_mb)

    def resident_mb(self) -> float:
        """Memory now, of all processes."""
        return sum(psutil.Process(process.pid).memory_info().rss for process in self._processes) / (1 << 20)

    def stop(self) -> None:
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
            if process.stdout is not None:
                process.stdout.close()
        self._processes = []

    def _signal(self, number: int) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(number)


def engine(environment: Mapping[str, str], log: Path, ports: Sequence[int]) -> Contender:
    """Contender a: this engine's workers, publisher and snapshots on."""
    argv = [sys.executable, "-m", "orchestrator.worker_process", "lanes"]
    commands = [
        Command(argv, {**environment, "ORCHESTRATOR_METRICS_PORT": str(port), "LOG_LEVEL": "WARNING"}, port)
        for port in ports
    ]
    return Contender("engine", commands, log)


def bare(environment: Mapping[str, str], log: Path, output: str, processes: int) -> Contender:
    """Contender b; `output`: small or full."""
    argv = [sys.executable, "-m", "bench.bare"]
    shares = [{"BENCH_OUTPUT": output, "BENCH_SHARE": f"{n}/{processes}"} for n in range(processes)]
    return Contender(
        f"bare pipeline, {output} output", [Command(argv, {**environment, **s}) for s in shares], log
    )


def plain(environment: Mapping[str, str], log: Path) -> Contender:
    """Contender c; one process: its commands are one transaction each, and one thread writes them."""
    return Contender("plain application", [Command([sys.executable, "-m", "bench.plain"], environment)], log)
