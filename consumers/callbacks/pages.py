"""The pages customers reach from a message: the picture of an open, the way of a click, unsubscribing."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from aiohttp import web

from consumers.actions.delivery_settings import LinkSettings
from consumers.actions.links import InvalidToken, Subscription
from consumers.actions.outgoing import Outgoing
from consumers.actions.references import (
    OPEN,
    Reference,
    read_click,
    read_reference,
    read_unsubscribe,
)
from consumers.callbacks import unsubscribing, visits
from consumers.callbacks.commanding import commands
from consumers.callbacks.errors import Unavailable
from consumers.callbacks.metrics import CallbackMetrics
from consumers.callbacks.publishing import CommandPublisher
from consumers.callbacks.reports import Report

VISIT_TIMEOUT_S: Final = 1.5
"""A customer isn't kept waiting for a count: a visit that can't be told by then is lost, and says so in the metrics."""


class Pages:
    """Handlers; each token names its message, and was sealed by us for this very page."""

    def __init__(
        self,
        links: LinkSettings,
        record: str,
        publisher: CommandPublisher,
        metrics: CallbackMetrics,
        now_ms: Callable[[], int],
    ) -> None:
        self._keys = links.keys
        self._record = record
        self._publisher = publisher
        self._metrics = metrics
        self._now_ms = now_ms

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """What the server serves."""
        return (
            web.get("/o/{token}.gif", self.open),
            web.get("/c/{token}", self.click),
            web.get("/u/{token}", self.ask),
            web.post("/u/{token}", self.unsubscribe),
        )

    async def open(self, request: web.Request) -> web.StreamResponse:
        """The picture, always; the open is told if that is possible."""
        try:
            reference = read_reference(request.match_info["token"], OPEN, self._keys)
        except InvalidToken:
            return self._unknown("open")
        await self._visit("open", request, visits.opened(reference, self._now_ms()))
        return web.Response(body=visits.PIXEL, content_type="image/gif")

    async def click(self, request: web.Request) -> web.StreamResponse:
        """On to the address that is sealed in the token, and to no other."""
        try:
            reference, url = read_click(request.match_info["token"], self._keys)
        except InvalidToken:
            return self._unknown("click")
        await self._visit("click", request, visits.clicked(reference, url, self._now_ms()))
        return web.Response(status=302, headers={"Location": visits.location(url)})

    async def ask(self, request: web.Request) -> web.StreamResponse:
        """The page with the button. Programs that open every link change nothing here."""
        about = self._about(request)
        return self._unknown("unsubscribe") if about is None else _html(unsubscribing.question(about))

    async def unsubscribe(self, request: web.Request) -> web.StreamResponse:
        """By the button, or by a mail program's own (List-Unsubscribe=One-Click)."""
        about = self._about(request)
        if about is None:
            return self._unknown("unsubscribe")
        ending = unsubscribing.unsubscribed(about, self._record, self._now_ms())
        if not await self._told(ending):
            self._metrics.requests.labels("unsubscribe", "unavailable").inc()
            return _html(unsubscribing.later(), status=503, retry_after_s=60)
        self._metrics.requests.labels("unsubscribe", "accepted").inc()
        self._metrics.reports.labels("unsubscribe", "unsubscribed").inc()
        return _html(unsubscribing.done(about))

    def _about(self, request: web.Request) -> Reference | Subscription | None:
        try:
            return read_unsubscribe(request.match_info["token"], self._keys)
        except InvalidToken:
            return None

    async def _visit(self, label: str, request: web.Request, report: Report) -> None:
        if not visits.is_visit(request.method, request.headers):
            return
        told = False
        try:
            async with asyncio.timeout(VISIT_TIMEOUT_S):
                told = await self._told(commands(report, self._record))
        except TimeoutError:
            pass
        self._metrics.requests.labels(label, "accepted" if told else "lost").inc()
        if told:
            self._metrics.reports.labels(label, report.what.value).inc()

    async def _told(self, ending: Sequence[Outgoing]) -> bool:
        try:
            await self._publisher.publish(ending)
        except Unavailable:
            return False
        return True

    def _unknown(self, label: str) -> web.Response:
        self._metrics.requests.labels(label, "unknown").inc()
        return _html(unsubscribing.unknown(), status=404)


def _html(page: str, *, status: int = 200, retry_after_s: int = 0) -> web.Response:
    headers = {"Retry-After": str(retry_after_s)} if retry_after_s else {}
    return web.Response(text=page, content_type="text/html", charset="utf-8", status=status, headers=headers)
