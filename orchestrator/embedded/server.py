"""One local server's life under the guard: started until it answers, stopped in order, killed on demand."""

import asyncio
import contextlib
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Protocol

import psutil

from orchestrator.embedded.errors import EmbeddedError
from orchestrator.embedded.layout import Memory
from orchestrator.embedded.ports import HOST, is_free
from orchestrator.embedded.process import POLL_S, runs

TRIES = 3
KILL_WAIT_S = 10.0


class Spec(Protocol):
    """What the guard must know of a server to run it."""

    name: str
    title: str
    death_signal: signal.Signals
    stop_signals: tuple[tuple[signal.Signals, float], ...]
    ready_within_s: float

    @property
    def port_names(self) -> tuple[str, ...]: ...
    async def prepare(self) -> None: ...
    def spawn(self) -> subprocess.Popen[bytes]: ...
    async def is_ready(self) -> bool: ...
    async def finish(self) -> None: ...
    def is_ours(self, argv: list[str]) -> bool: ...
    def what_it_said(self) -> str: ...


class Server:
    """A server and its process, if it runs. Its methods are serialized: a stop waits for a start to end."""

    def __init__(self, spec: Spec, memory: Memory, save: Callable[[], None]) -> None:
        self.spec = spec
        self.wanted = True
        """False after a stop or kill on demand: then it stays down until it is started again."""
        self._memory = memory
        self._save = save
        self._process: subprocess.Popen[bytes] | None = None
        self._turn = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """The server's process id, or None while it is down."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    async def boot(self) -> float:
        """Start it for the first time, on its remembered ports or, where taken, on new ones.

        Returns the seconds it took.
        """
        started_s = time.monotonic()
        for attempt in range(1, TRIES + 1):
            for name in self.spec.port_names:
                self._memory.port(name)
            self._save()
            try:
                await self.start()
            except EmbeddedError:
                # Between the choice of a port and its use another program may have taken it.
                if attempt == TRIES or not self._taken_ports():
                    raise
            else:
                break
        self._save()
        return time.monotonic() - started_s

    async def start(self) -> None:
        """Start it on the ports it has, and return when it answers; nothing to do if it runs.

        Raises:
            EmbeddedError: a port is taken, or the server ended or kept silent; the message has its last words.
        """
        async with self._turn:
            self.wanted = True
            if self.pid is not None:
                return
            if taken := self._taken_ports():
                raise EmbeddedError(
                    f"{self.spec.title} can't start: {HOST}:{taken[0]} is taken by another program: stop it"
                )
            await self.spec.prepare()
            try:
                self._process = self.spec.spawn()
            except (OSError, subprocess.SubprocessError) as error:
                raise EmbeddedError(f"{self.spec.title} can't be run: {error}") from error
            try:
                await self._until_ready(self._process)
                await self.spec.finish()
            except BaseException:
                await self._end()
                raise

    async def stop(self) -> None:
        """Stop it in order; if it doesn't end within its time, by force."""
        async with self._turn:
            self.wanted = False
            await self._end()

    async def kill(self) -> None:
        """End it at once and without warning (SIGKILL), its children too."""
        async with self._turn:
            self.wanted = False
            await self._kill()

    async def _until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline_s = time.monotonic() + self.spec.ready_within_s
        while not await self.spec.is_ready():
            if process.poll() is not None:
                raise EmbeddedError(
                    f"{self.spec.title} ended during its start (exit {process.returncode}): {self.spec.what_it_said()}"
                )
            if time.monotonic() > deadline_s:
                raise EmbeddedError(
                    f"{self.spec.title} didn't answer within {self.spec.ready_within_s:.0f} s: {self.spec.what_it_said()}"
                )
            await asyncio.sleep(POLL_S)

    async def _end(self) -> None:
        if self.pid is None or self._process is None:
            return
        for number, patience_s in self.spec.stop_signals:
            self._process.send_signal(signal.SIGCONT)  # a stopped process would never see the request
            self._process.send_signal(number)
            if await self._ended_within(patience_s):
                return
        await self._kill()

    async def _kill(self) -> None:
        if self.pid is None or self._process is None:
            return
        try:
            children = psutil.Process(self._process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            children = []
        self._process.kill()
        for child in children:
            with contextlib.suppress(
                psutil.NoSuchProcess
            ):  # psutil compares start times: never hits a stranger
                child.kill()
        if not await self._ended_within(KILL_WAIT_S):
            raise EmbeddedError(
                f"{self.spec.title} (process {self._process.pid}) can't be killed: the disk may hang"
            )
        deadline_s = time.monotonic() + KILL_WAIT_S
        while any(map(runs, children)) and time.monotonic() < deadline_s:  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)

    async def _ended_within(self, patience_s: float) -> bool:
        deadline_s = time.monotonic() + patience_s
        while self.pid is not None:
            if time.monotonic() > deadline_s:
                return False
            await asyncio.sleep(POLL_S)
        return True

    def _taken_ports(self) -> list[int]:
        ports = [self._memory.ports[name] for name in self.spec.port_names]
        return [port for port in ports if not is_free(port)]
