"""A supervised process for tests: `python -m tests.cli.child FILE stay|ignore|exit [CODE]` adds its pid to FILE."""

import os
import signal
import sys
import threading
from pathlib import Path

from orchestrator import lifeline


def main(path: str, behaviour: str, code: str = "0") -> int:
    lifeline.hold()
    if behaviour == "ignore":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with Path(path).open("a", encoding="ascii") as file:
        file.write(f"{os.getpid()}\n")
    if behaviour == "exit":
        return int(code)
    threading.Event().wait()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
