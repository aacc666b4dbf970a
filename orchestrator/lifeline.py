"""The child's side of supervision: when the pipe to the parent closes, the parent is gone and the child stops."""

import contextlib
import os
import signal
import threading

VARIABLE = "ORCHESTRATOR_LIFELINE"
"""Set to 1 by a parent that holds the other end of standard input."""
_STOP_WITHIN_S = 25.0
_EXIT_ORPHANED = 71


def hold() -> None:
    """Watch standard input from a thread, if a parent holds it."""
    if os.environ.pop(VARIABLE, "") == "1":
        threading.Thread(target=_watch, name="lifeline", daemon=True).start()


def _watch() -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(_STOP_WITHIN_S)
    os._exit(_EXIT_ORPHANED)
