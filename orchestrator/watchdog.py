"""A thread that ends the process when its event loop stands still: a hanging decider must not hold a lane for good."""

import asyncio
import faulthandler
import os
import sys
import threading
import time

EXIT_STALLED = 70
_BEAT_S = 0.5


class Watchdog:
    """`beat` runs on the loop; the thread ends the process after `timeout_s` without one."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._last_s = time.monotonic()
        self._ended = threading.Event()

    async def beat(self) -> None:
        """Until cancelled."""
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        try:
            while True:
                self._last_s = time.monotonic()
                await asyncio.sleep(_BEAT_S)
        finally:
            self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(_BEAT_S):
            if time.monotonic() - self._last_s > self._timeout_s:
                sys.stderr.write(
                    f"the event loop stood still for {self._timeout_s} s; ending so that another takes over\n"
                )
                faulthandler.dump_traceback(file=sys.stderr)
                os._exit(EXIT_STALLED)
