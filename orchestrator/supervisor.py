"""Child processes kept running: started again with backoff when they die, ended with their parent, none left behind.

A child holds its parent's end of a pipe as standard input: however the parent ends, the pipe closes and the child
stops by itself (see `orchestrator.lifeline`). Children have sessions of their own, so that a Ctrl-C at the terminal
reaches the parent alone, which then stops them in order.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO, NamedTuple

from orchestrator import lifeline
from orchestrator.core.errors import ConfigurationError

EXIT_CONFIGURATION = 78
_STANDARD_ERROR = 2
_BACKOFF_FIRST_S, _BACKOFF_MOST_S = 0.5, 30.0
_STEADY_AFTER_S = 60.0  # a child that lived this long starts again with the first backoff
_STOP_WITHIN_S = 25.0  # longer than a worker takes to leave its groups

Tell = Callable[[str], None]


class Child(NamedTuple):
    """A process to keep running: `python -m` and its arguments, and what its environment has beside ours."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str] = {}


class Supervisor:
    """Runs children until told to stop. `pids` are those alive now, by name; `tell` hears of each start and end."""

    def __init__(
        self,
        children: Sequence[Child],
        *,
        tell: Tell,
        output: IO[bytes] | None = None,
        backoff_first_s: float = _BACKOFF_FIRST_S,
    ) -> None:
        self.pids: dict[str, int] = {}
        self._children = children
        self._tell = tell
        self._output = output
        self._backoff_first_s = backoff_first_s
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Make `run` end: children are asked to (SIGTERM), and killed if they don't in time."""
        self._stopping.set()

    async def run(self) -> None:
        """Until stopped, or until every child ended by itself with 0. Raises ConfigurationError when one exits with 78."""
        tasks = [asyncio.create_task(self._keep(child), name=child.name) for child in self._children]
        try:
            for done in asyncio.as_completed(tasks):
                await done
        finally:
            self._stopping.set()
            while not all(task.done() for task in tasks):  # a second Ctrl-C must not leave a child behind
                await asyncio.wait(tasks)
            for task in tasks:
                if not task.cancelled():
                    task.exception()

    async def _keep(self, child: Child) -> None:
        backoff_s = self._backoff_first_s
        while not self._stopping.is_set():
            started_s = time.monotonic()
            code = await self._once(child)
            if self._stopping.is_set() or code == 0:
                return
            if code == EXIT_CONFIGURATION:
                raise ConfigurationError(
                    f"{child.name} can't work with this configuration; its own message says why"
                )
            if time.monotonic() - started_s >= _STEADY_AFTER_S:
                backoff_s = self._backoff_first_s
            self._tell(f"{child.name} {ending(code)}; starting it again in {backoff_s:g} s")
            try:
                async with asyncio.timeout(backoff_s):
                    await self._stopping.wait()
            except TimeoutError:
                backoff_s = min(_BACKOFF_MOST_S, backoff_s * 2)

    async def _once(self, child: Child) -> int:
        """One life of a child; returns its exit code, negative for a signal."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", *child.arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=self._output or _STANDARD_ERROR,
            stderr=self._output or _STANDARD_ERROR,
            env={**os.environ, **child.environment, lifeline.VARIABLE: "1"},
            start_new_session=True,
        )
        self.pids[child.name] = process.pid
        self._tell(f"{child.name} started (pid {process.pid})")
        ended = asyncio.create_task(process.wait())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait((ended, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not ended.done():
                await _end(process, ended)
            stopping.cancel()
            self.pids.pop(child.name, None)
        return ended.result()


async def _end(process: asyncio.subprocess.Process, ended: "asyncio.Task[int]") -> None:
    """Ask, wait, kill; done when the process is gone, even if this task is cancelled meanwhile."""
    process.send_signal(signal.SIGTERM)
    deadline_s = time.monotonic() + _STOP_WITHIN_S
    cancelled: asyncio.CancelledError | None = None
    while not ended.done():
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            process.kill()
            left_s = _STOP_WITHIN_S
            deadline_s = time.monotonic() + left_s
        try:
            await asyncio.wait((ended,), timeout=left_s)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


def ending(code: int) -> str:
    """How a process ended, in words."""
    if code < 0:
        try:
            return f"was ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"was ended by signal {-code}"
    return f"ended with code {code}"
