"""Worker processes under the command line: their ports, their supervision, and the signals that end them."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

from orchestrator.cli.options import Role
from orchestrator.core.errors import OrchestratorError
from orchestrator.settings import Settings
from orchestrator.supervisor import Child, Supervisor

READY_WITHIN_S = 90.0
_POLL_S = 0.1


class NotReady(OrchestratorError):
    """The workers didn't get ready in time."""


def worker_children(
    settings: Settings, processes: int, role: Role, *, free_ports: bool = True
) -> tuple[list[Child], list[str]]:
    """The processes to run, and where each answers probes. `free_ports`: another port where the wanted one is taken."""
    children, addresses = [], []
    port = settings.metrics_port
    chosen: set[int] = set()
    for number in range(processes):
        if port > 0:
            wanted = port + number
            taken = (
                free_ports
                and "ORCHESTRATOR_METRICS_PORT" not in os.environ
                and not _is_free(settings, wanted)
            )
            own = _free_port(settings, chosen) if taken else wanted
        else:
            own = _free_port(settings, chosen) if port == 0 and free_ports else port
        chosen.add(own)
        environment = {"ORCHESTRATOR_METRICS_PORT": str(own)}
        name = "worker" if processes == 1 else f"worker-{number + 1}"
        children.append(Child(name, ("orchestrator.worker_process", str(role)), environment))
        if own > 0:
            addresses.append(f"http://{settings.metrics_host}:{own}")
    return children, addresses


async def supervise(
    children: Sequence[Child],
    addresses: Sequence[str],
    *,
    on_ready: Callable[[Supervisor], None] | None = None,
) -> None:
    """Run children until SIGTERM, Ctrl-C (raises KeyboardInterrupt) or a configuration error."""
    supervisor = Supervisor(children, tell=_tell)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, supervisor.stop)
    try:
        running = asyncio.create_task(supervisor.run())
        waiting = asyncio.create_task(_announce(supervisor, addresses, on_ready)) if on_ready else None
        try:
            await running
        finally:
            if waiting is not None:
                waiting.cancel()
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


@asynccontextmanager
async def supervised(children: Sequence[Child], log: Path) -> AsyncIterator[Supervisor]:
    """Children beside other work, their log lines in a file; stopped at the end."""
    with _log_file(log) as output:
        supervisor = Supervisor(children, tell=lambda text: _append(output, text), output=output)
        running = asyncio.create_task(supervisor.run())
        owner = asyncio.current_task()
        assert owner is not None
        running.add_done_callback(lambda done: _interrupt(owner, done))
        try:
            yield supervisor
        except asyncio.CancelledError:
            if running.done() and not running.cancelled() and running.exception() is not None:
                owner.uncancel()
                raise running.exception() or RuntimeError from None
            raise
        finally:
            supervisor.stop()
            await asyncio.wait((running,))


async def ready(addresses: Sequence[str], *, within_s: float = READY_WITHIN_S) -> None:
    """Wait until every worker says it is ready. Raises NotReady, naming what it waits for."""
    import aiohttp

    last = "no answer yet"
    try:
        async with asyncio.timeout(within_s), aiohttp.ClientSession() as session:
            for address in addresses:
                while True:
                    try:
                        async with session.get(f"{address}/readyz") as answer:
                            last = await answer.text()
                            if answer.status == 200:
                                break
                    except (aiohttp.ClientError, OSError):
                        pass
                    await asyncio.sleep(_POLL_S)
    except TimeoutError as error:
        raise NotReady(f"the workers aren't ready after {within_s:g} s: {last[:300]}") from error


def heed_termination() -> None:
    """SIGTERM ends this process in order, children included, with exit code 0: it is how services are stopped."""
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))


async def _announce(
    supervisor: Supervisor, addresses: Sequence[str], on_ready: Callable[[Supervisor], None]
) -> None:
    while True:
        try:
            await ready(addresses)
        except NotReady as slow:
            _tell(str(slow))
        else:
            on_ready(supervisor)
            return


def _interrupt(owner: "asyncio.Task[object]", done: "asyncio.Task[None]") -> None:
    if not done.cancelled() and done.exception() is not None:
        owner.cancel()


def _tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _append(output: IO[bytes], text: str) -> None:
    output.write(f"{text}\n".encode())
    output.flush()


@contextlib.contextmanager
def _log_file(path: Path) -> Iterator[IO[bytes]]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        yield file


def _is_free(settings: Settings, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.metrics_host, port))
        except OSError:
            return False
        return True


def _free_port(settings: Settings, avoid: set[int]) -> int:
    while True:
        with socket.socket() as probe:
            probe.bind((settings.metrics_host, 0))
            port = int(probe.getsockname()[1])
        if port not in avoid:
            return port
