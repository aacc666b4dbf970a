"""Connections to the mail server, kept open for a while and never more than the settings allow."""

import asyncio
import ssl
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from consumers.actions.base import Done, Ending
from consumers.actions.delivery_settings import SmtpSettings
from consumers.actions.provider_calls import MARGIN
from consumers.actions.smtp import Envelope, Progress, connected, failure, hand_over

if TYPE_CHECKING:
    from aiosmtplib import SMTP

QUIT_TIMEOUT_S = 1.0
MAILS_MAX = 100  # over one connection: servers count, and end those that go on for ever


class _Kept:
    """A connection, how many mails it took, and the timer that ends it when nobody needs it."""

    def __init__(self, client: "SMTP") -> None:
        self.client = client
        self.mails = 0
        self.ending: asyncio.TimerHandle | None = None


class SmtpPool:
    """One a runner and event loop. A connection that took a mail waits `idle_s` for the next one."""

    def __init__(self, settings: SmtpSettings, tls: ssl.SSLContext) -> None:
        self._settings = settings
        self._tls = tls
        self._slots = asyncio.Semaphore(settings.connections)
        self._idle: deque[_Kept] = deque()  # the last one used is taken first, so that the others may end
        self._goodbyes: set[asyncio.Task[None]] = set()

    @property
    def idle(self) -> int:
        """Connections that wait for a mail."""
        return len(self._idle)

    async def deliver(self, envelope: Envelope, timeout_s: float) -> Ending:
        """Done once the server has taken the mail; else the named failure. Never raises for what a server does.

        A kept connection that turns out to be gone before the mail itself is handed over is replaced, once.
        """
        progress = Progress()
        try:
            async with asyncio.timeout(timeout_s * MARGIN), self._slots:
                await self._deliver(envelope, timeout_s, progress)
        except Exception as error:  # noqa: BLE001  whatever the library raises for what a server does
            return failure(progress.step, error)
        return Done()

    async def close(self) -> None:
        """Says goodbye to all, for a bounded time."""
        while self._idle:
            self._part(self._idle.pop())
        if self._goodbyes:
            await asyncio.wait(self._goodbyes, timeout=2 * QUIT_TIMEOUT_S)

    async def _deliver(self, envelope: Envelope, timeout_s: float, progress: Progress) -> None:
        kept = self._take()
        if kept is not None:
            try:
                await self._hand_over(kept, envelope, progress, timeout_s)
            except Exception as error:
                if progress.step == "data" or not _is_gone(error):
                    raise
            else:
                return
        kept = _Kept(await connected(self._settings, self._tls, timeout_s, progress))
        await self._hand_over(kept, envelope, progress, timeout_s)

    async def _hand_over(self, kept: _Kept, envelope: Envelope, progress: Progress, timeout_s: float) -> None:
        try:
            await hand_over(kept.client, envelope, progress, timeout_s)
        except BaseException:
            kept.client.close()  # whatever it was about, the next mail begins with a clean connection
            raise
        kept.mails += 1
        self._keep(kept)

    def _take(self) -> _Kept | None:
        while self._idle:
            kept = self._idle.pop()
            if kept.ending is not None:
                kept.ending.cancel()
            if kept.client.is_connected:
                return kept
            kept.client.close()
        return None

    def _keep(self, kept: _Kept) -> None:
        if kept.mails >= MAILS_MAX or not self._settings.idle_s:
            self._part(kept)
            return
        self._idle.append(kept)
        kept.ending = asyncio.get_running_loop().call_later(self._settings.idle_s, self._end, kept)

    def _end(self, kept: _Kept) -> None:
        if kept in self._idle:
            self._idle.remove(kept)
            self._part(kept)

    def _part(self, kept: _Kept) -> None:
        if kept.ending is not None:
            kept.ending.cancel()
        task = asyncio.get_running_loop().create_task(_goodbye(kept.client), name="smtp-goodbye")
        self._goodbyes.add(task)
        task.add_done_callback(self._goodbyes.discard)


def _is_gone(error: Exception) -> bool:
    """Whether the server had given the connection up: it is closed, or 421 says so."""
    import aiosmtplib  # noqa: PLC0415  few runners send mail

    if isinstance(error, aiosmtplib.SMTPResponseException):
        return error.code == 421
    return isinstance(error, (ConnectionError, aiosmtplib.SMTPServerDisconnected))


async def _goodbye(client: "SMTP") -> None:
    try:
        with suppress(Exception):  # the mails are taken: how the goodbye goes changes nothing
            async with asyncio.timeout(QUIT_TIMEOUT_S):
                await client.quit()
    finally:
        client.close()
