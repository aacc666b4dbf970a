"""Servers left behind by a guard that was killed: found by their exact command line, and stopped."""

import contextlib
import time
from collections.abc import Iterable

import psutil

from orchestrator.embedded.errors import EmbeddedError
from orchestrator.embedded.process import POLL_S, runs
from orchestrator.embedded.server import Spec

PATIENCE_S = 15.0


def stop_orphans(specs: Iterable[Spec]) -> list[str]:
    """Stop every process that is one of these servers of this data folder; returns the titles of those stopped.

    Call it with the guard's lock held: then no live guard owns such a process. A process is recognised by its whole
    command line, which names files of this data folder, never by a remembered process id: that may be a stranger's.

    Raises:
        EmbeddedError: such a process belongs to another user, or won't end.
    """
    known = tuple(specs)
    found: list[tuple[Spec, psutil.Process]] = []
    for process in psutil.process_iter(["cmdline"]):
        argv = process.info["cmdline"] or []
        found += [(spec, process) for spec in known if spec.is_ours(argv)]
    for spec, process in found:
        _end(spec, process)
    return [spec.title for spec, _ in found]


def _end(spec: Spec, process: psutil.Process) -> None:
    try:
        children = process.children(recursive=True)
        process.resume()
        process.send_signal(spec.stop_signals[0][0])
        if not _ended_within(PATIENCE_S, process):
            process.kill()
        for child in filter(runs, children):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        if not _ended_within(PATIENCE_S, process):
            raise EmbeddedError(
                f"{spec.title} left by an earlier run (process {process.pid}) won't end: kill it"
            )
    except psutil.NoSuchProcess:
        return
    except psutil.AccessDenied as error:
        raise EmbeddedError(
            f"{spec.title} left by an earlier run (process {process.pid}) belongs to another user: "
            "start as that user, or end that process"
        ) from error


def _ended_within(patience_s: float, process: psutil.Process) -> bool:
    deadline_s = time.monotonic() + patience_s
    while runs(process):
        if time.monotonic() > deadline_s:
            return False
        time.sleep(POLL_S)
    return True
