"""The HTTP server of the effects process: providers' callbacks, opens, clicks and unsubscribing.

It speaks plain HTTP: put what ends TLS before it. Nothing is answered with a success before its commands are on Kafka.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog
from aiohttp import web

from consumers.actions.address_book import AddressBook
from consumers.actions.base import Produce
from consumers.actions.delivery_settings import DeliverySettings
from consumers.actions.guard import Lookup
from consumers.actions.http import guarded_session
from consumers.callbacks.adapter import Adapter, Received, Tools
from consumers.callbacks.commanding import commands
from consumers.callbacks.errors import TurnedAway
from consumers.callbacks.fetching import fetcher
from consumers.callbacks.limits import Rates, Remote
from consumers.callbacks.metrics import CallbackMetrics, process_metrics
from consumers.callbacks.pages import Pages
from consumers.callbacks.publishing import CommandPublisher
from consumers.callbacks.registry import ADAPTERS
from consumers.callbacks.settings import CallbackSettings
from consumers.effects.sender import Sender
from orchestrator.core.errors import ConfigurationError
from orchestrator.effect_settings import EffectSettings

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
STOP_TIMEOUT_S: Final = 5.0
KEEP_ALIVE_S: Final = 30.0
_log = structlog.get_logger("callbacks")


class CallbackServer:
    """One a process. `port` is the one bound, once `running`; `run` serves until cancelled."""

    def __init__(
        self,
        settings: CallbackSettings,
        delivery: DeliverySettings,
        *,
        commands_topic: str,
        addresses: AddressBook | None = None,
        sender: Sender | None = None,
        adapters: Sequence[Adapter] = ADAPTERS,
        metrics: CallbackMetrics | None = None,
        lookup: Lookup | None = None,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.port = settings.port
        self._settings = settings
        self._delivery = delivery
        self._topic = commands_topic
        self._addresses = addresses
        self._sender = sender
        self._adapters = {adapter.name: adapter for adapter in adapters}
        self._metrics = metrics or process_metrics()
        self._lookup = lookup
        self._now_ms = now_ms
        self._rates = Rates(settings.rate_per_s, settings.burst)
        self._remote = Remote(settings.trusted_proxies)
        self._busy = 0

    async def run(self) -> None:
        """Serves until cancelled, and closes the sender then. Raises ConfigurationError when the port is taken."""
        assert self._sender is not None
        try:
            async with self.running(self._sender.send_once):
                _log.info("callbacks listening", port=self.port)
                await asyncio.Event().wait()
        finally:
            await self._sender.close()

    @asynccontextmanager
    async def running(self, produce: Produce) -> AsyncIterator[None]:
        """The server, until the block ends."""
        async with guarded_session(EffectSettings(), self._lookup) as session:
            tools = Tools(self._settings, self._delivery, fetcher(session), self._addresses)
            publisher = CommandPublisher(produce, self._topic, self._metrics)
            runner = web.AppRunner(
                self._application(tools, publisher),
                access_log=None,  # its lines hold addresses and tokens
                handle_signals=False,
                keepalive_timeout=KEEP_ALIVE_S,
                shutdown_timeout=STOP_TIMEOUT_S,
            )
            await runner.setup()
            try:
                await self._listen(runner)
                self.port = runner.addresses[0][1]
                yield
            finally:
                await runner.cleanup()

    async def _listen(self, runner: web.AppRunner) -> None:
        host, port = self._settings.host, max(0, self._settings.port)
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise ConfigurationError(
                f"callbacks_port (ORCHESTRATOR_CALLBACKS_PORT): {host}:{port} can't be listened on ({error}); choose"
                " another, or correct callbacks_host"
            ) from error

    def _application(self, tools: Tools, publisher: CommandPublisher) -> web.Application:
        application = web.Application(
            client_max_size=self._settings.max_body_bytes, middlewares=[self._bounded]
        )
        application.on_response_prepare.append(_plain_headers)
        for adapter in self._adapters.values():
            if adapter.configured(tools):
                application.router.add_post(
                    f"/callbacks/{adapter.name}", self._callback(adapter, tools, publisher)
                )
        if self._delivery.links.keys:
            pages = Pages(self._delivery.links, self._settings.record, publisher, self._metrics, self._now_ms)
            application.router.add_routes(pages.routes())
        return application

    def _callback(self, adapter: Adapter, tools: Tools, publisher: CommandPublisher) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            received = Received(
                target=request.raw_path,
                query=dict(request.query),
                headers=_small(request.headers),
                body=await request.read(),
                now_ms=self._now_ms(),
            )
            try:
                heard = await adapter.read(received, tools)
                await publisher.publish(
                    [c for report in heard.reports for c in commands(report, self._settings.record)]
                )
            except TurnedAway as turned:
                self._metrics.requests.labels(adapter.name, turned.result).inc()
                _log.info("callbacks.turned_away", provider=adapter.name, result=turned.result)
                return web.Response(status=turned.status, text=turned.detail)
            for report in heard.reports:
                self._metrics.reports.labels(adapter.name, report.what.value).inc()
            if heard.unmatched:
                self._metrics.reports.labels(adapter.name, "unmatched").inc(heard.unmatched)
            self._metrics.requests.labels(adapter.name, "accepted").inc()
            if not heard.body:
                return web.Response(status=204)
            return web.Response(body=heard.body, content_type=heard.content_type)

        return handle

    @web.middleware
    async def _bounded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Few requests at a time, not too many of one address, none for ever."""
        label = self._label(request)
        forwarded_for = ",".join(request.headers.getall("X-Forwarded-For", ()))
        address = self._remote.address(request.remote, forwarded_for)
        if not self._rates.allows(address, time.monotonic()):
            self._metrics.requests.labels(label, "limited").inc()
            return web.Response(status=429, headers={"Retry-After": "1"})
        if self._busy >= self._settings.concurrency:
            self._metrics.requests.labels(label, "busy").inc()
            return web.Response(status=503, headers={"Retry-After": "1"})
        self._busy += 1
        self._metrics.in_flight.inc()
        try:
            async with asyncio.timeout(self._settings.request_timeout_s):
                return await handler(request)
        except TimeoutError:
            self._metrics.requests.labels(label, "unavailable").inc()
            return web.Response(status=503, headers={"Retry-After": "1", "Connection": "close"})
        except web.HTTPException as refusal:
            result = "malformed" if refusal.status == web.HTTPRequestEntityTooLarge.status_code else "unknown"
            self._metrics.requests.labels(label, result).inc()
            return web.Response(status=refusal.status)
        finally:
            self._busy -= 1
            self._metrics.in_flight.dec()

    def _label(self, request: web.Request) -> str:
        """Which of the few it is: names that strangers make up are no labels."""
        first, _, rest = request.path.lstrip("/").partition("/")
        if first == "callbacks" and rest in self._adapters:
            return rest
        return {"o": "open", "c": "click", "u": "unsubscribe"}.get(first, "other")


def _small(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


async def _plain_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """Nothing is kept, guessed, framed or told on."""
    response.headers.popall("Server", None)
    settled: dict[str, Any] = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Robots-Tag": "noindex",
    }
    response.headers.update(settled)
