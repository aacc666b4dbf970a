"""Starting children that cannot outlive the guard, and running short tools."""

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from orchestrator.embedded.errors import EmbeddedError, full_disk_note

POLL_S = 0.02
KILL_WAIT_S = 5.0
_PR_SET_PDEATHSIG = 1
_PR_SET_KEEPCAPS = 8
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAP_DAC_OVERRIDE = 1
_CAPABILITY_VERSION_3 = 0x20080522
_LINUX = sys.platform == "linux"
_libc = ctypes.CDLL(None, use_errno=True)  # loaded before any fork: a forked child shouldn't open libraries


@dataclass(frozen=True, slots=True)
class RunAs:
    """The user a child runs as; `keep_reach` lets it pass folders closed to it, as its starter (root) can."""

    uid: int
    gid: int
    name: str
    keep_reach: bool = False


def spawn(
    argv: Sequence[str | Path],
    *,
    output: int,
    env: Mapping[str, str] | None = None,
    run_as: RunAs | None = None,
    death_signal: signal.Signals = signal.SIGKILL,
) -> subprocess.Popen[bytes]:
    """Start a child in its own session, with `output` (a file descriptor) for what it prints.

    On Linux the kernel sends it `death_signal` when the thread that called this ends, so call it from the
    main thread.
    """
    return subprocess.Popen(  # noqa: S603 - argv is built from our own paths
        [str(part) for part in argv],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=dict(env) if env is not None else None,
        cwd="/",
        start_new_session=True,
        preexec_fn=_preparation(os.getpid(), run_as, death_signal),  # noqa: PLW1509 - the guard has one thread
    )


async def run_tool(
    argv: Sequence[str | Path],
    *,
    doing: str,
    place: Path,
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    run_as: RunAs | None = None,
) -> str:
    """Run a short command, which works in `place`, to its end and return what it printed.

    Raises:
        EmbeddedError: it failed or took longer than `timeout_s`; the message has its last lines.
    """
    read_end, write_end = os.pipe()
    try:
        child = spawn(argv, output=write_end, env=env, run_as=run_as)
    except (OSError, subprocess.SubprocessError) as error:
        os.close(read_end)
        raise EmbeddedError(f"can't run {argv[0]} while {doing}: {error}") from error
    finally:
        os.close(write_end)
    os.set_blocking(read_end, False)
    printed = b""
    with os.fdopen(read_end, "rb", buffering=0) as pipe:
        try:
            async with asyncio.timeout(timeout_s):
                while child.poll() is None:
                    printed = (printed + (pipe.read(65_536) or b""))[-65_536:]
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise EmbeddedError(
                f"{doing} took longer than {timeout_s:.0f} s: the machine is too busy, or the disk too slow"
            ) from None
        finally:
            if child.poll() is None:
                _kill_whole(child)
        printed += pipe.read(65_536) or b""
    text = printed.decode(errors="replace")
    if child.returncode != 0:
        raise EmbeddedError(f"{doing} failed: {last_lines(text)}{full_disk_note(text, place)}")
    return text


def _kill_whole(child: subprocess.Popen[bytes]) -> None:
    """End a tool and what it started itself (initdb works through servers of its own), and see them gone."""
    child.send_signal(signal.SIGSTOP)  # else it might start another between the look and the end
    try:
        started = psutil.Process(child.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        started = []
    child.kill()
    child.wait()
    for process in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(started, timeout=KILL_WAIT_S)


def runs(process: psutil.Process) -> bool:
    """Whether a process still runs; one that ended and awaits its parent's notice doesn't."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def last_lines(text: str, count: int = 6) -> str:
    """The last lines that say something, on one line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-count:]) or "it printed nothing"


def _preparation(parent: int, run_as: RunAs | None, death_signal: signal.Signals) -> Callable[[], None]:
    def prepare() -> None:
        if run_as is not None:
            _become(run_as)
        if _LINUX:  # after the change of user, which would clear it
            _libc.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)  # the guard died in between: no signal would ever come

    return prepare


def _become(run_as: RunAs) -> None:
    if run_as.keep_reach:
        _check(_libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0))
    os.setgroups([])
    os.setgid(run_as.gid)
    os.setuid(run_as.uid)
    if run_as.keep_reach:
        # Keep one right of root, "ignore file modes", and hand it on over exec; all others are gone.
        bit = 1 << _CAP_DAC_OVERRIDE
        header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
        sets = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)
        _check(_libc.capset(header, sets))
        _check(_libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE, 0, 0))


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), "keeping the right to pass closed folders")
