"""The way to a guard: finding the one that runs, or starting one, and talking to it."""

import contextlib
import fcntl
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator.embedded.errors import EmbeddedError, InUseError, from_os_error
from orchestrator.embedded.layout import Layout
from orchestrator.embedded.logs import LogMark, open_log
from orchestrator.embedded.ports import HOST

EXIT_BUSY = 75
POLL_S = 0.02
JOIN_WITHIN_S = 120.0
BOOT_WITHIN_S = 420.0
ANSWER_WITHIN_S = 240.0
END_WITHIN_S = 90.0
MAX_LINE_BYTES = 1_000_000


class Connection:
    """One client's connection to the guard; usable from several threads, one request at a time."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lines = sock.makefile("rb")
        self._turn = threading.Lock()

    def greet(self, token: str, *, exclusive: bool) -> None:
        self._send({"token": token, "pid": os.getpid(), "exclusive": exclusive})

    def await_ready(self, progress: Callable[[str], None]) -> dict[str, Any] | None:
        """The servers' state once they answer; None if the guard ended before it said anything of use.

        Raises:
            EmbeddedError: the guard says that a server can't be started, or that the folder is in use.
        """
        deadline_s = time.monotonic() + BOOT_WITHIN_S
        while (message := self._receive(deadline_s - time.monotonic())) is not None:
            match message["event"]:
                case "progress":
                    progress(message["text"])
                case "failed":
                    raise EmbeddedError(message["error"])
                case "refused":
                    raise InUseError(message["error"])
                case _:
                    return dict(message["state"])
        return None

    def ask(self, operation: str, server: str = "") -> dict[str, Any]:
        """Have the guard do something.

        Raises:
            EmbeddedError: it couldn't, or the guard is gone.
        """
        with self._turn:
            answer = None
            with contextlib.suppress(OSError):
                self._send({"op": operation, "server": server})
                deadline_s = time.monotonic() + ANSWER_WITHIN_S
                while (
                    answer := self._receive(deadline_s - time.monotonic())
                ) is not None and "event" in answer:
                    pass  # what the guard told about somebody else's start meanwhile
        if answer is None:
            raise EmbeddedError(
                "the guard of the local servers is gone, and the servers with it: start them again"
            )
        if "error" in answer:
            raise EmbeddedError(answer["error"])
        return answer

    def leave(self) -> bool:
        """Say goodbye; if nobody else uses the servers, return True when they have stopped."""
        ended = True
        with self._turn, contextlib.suppress(OSError, EmbeddedError):
            self._send({"op": "leave"})
            deadline_s = time.monotonic() + END_WITHIN_S
            while ended and (message := self._receive(deadline_s - time.monotonic())) is not None:
                ended = message.get("last", True)
        self.close()
        return ended

    def close(self) -> None:
        self._lines.close()
        self._sock.close()

    def _send(self, message: dict[str, Any]) -> None:
        self._sock.sendall(json.dumps(message).encode() + b"\n")

    def _receive(self, timeout_s: float) -> dict[str, Any] | None:
        self._sock.settimeout(max(timeout_s, 0.1))
        try:
            line = self._lines.readline(MAX_LINE_BYTES)
        except TimeoutError as error:
            raise EmbeddedError(
                f"the guard of the local servers didn't answer within {timeout_s:.0f} s: end its process"
            ) from error
        except OSError:
            return None
        return dict(json.loads(line)) if line.endswith(b"\n") else None


def connect(layout: Layout, *, exclusive: bool) -> Connection | None:
    """A greeted connection to the guard that holds the data folder; None if there is none (yet)."""
    if lock_is_free(layout):
        return None  # what the guard file says is of a dead guard
    try:
        where = json.loads(layout.guard_file.read_text(encoding="utf-8"))
        sock = socket.create_connection((HOST, where["port"]), timeout=5)
    except PermissionError as error:
        raise from_os_error(error, "looking for the guard of another user", layout.guard_file) from error
    except (OSError, ValueError):
        return None
    connection = Connection(sock)
    try:
        connection.greet(where["token"], exclusive=exclusive)
    except OSError:
        connection.close()
        return None
    return connection


def lock_is_free(layout: Layout) -> bool:
    """Whether no guard holds the data folder now."""
    try:
        with layout.lock_file.open("ab") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise from_os_error(error, "looking at the lock", layout.lock_file) from error
    return True


class GuardProcess:
    """A guard started by this process; it goes on without it if others use the servers."""

    def __init__(self, layout: Layout, options: dict[str, Any]) -> None:
        log_file = layout.logs / "guard.log"
        self._mark = LogMark(log_file)
        package_root = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, (package_root, os.environ.get("PYTHONPATH"))))
        with open_log(log_file) as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "orchestrator.embedded.guard"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd="/",
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,  # Ctrl-C reaches us alone, and we leave in order
            )
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self._process.stdin as pipe:
            pipe.write(json.dumps(options).encode())

    def has_ended(self) -> bool:
        """Whether the guard is gone.

        Raises:
            EmbeddedError: it ended in error; being second to another guard is none.
        """
        code = self._process.poll()
        if code not in {None, 0, EXIT_BUSY}:
            raise EmbeddedError(
                f"the guard of the local servers failed (exit {code}): {self._mark.last_words(2)}"
            )
        return code is not None

    def wait(self, timeout_s: float) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
