"""What orchestration and monitoring ask a process: /healthz, /readyz, /metrics."""

from collections.abc import Callable
from typing import Any

import orjson
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

Readiness = Callable[[], dict[str, Any]]
"""Gives {"ready": bool, ...} with whatever explains it."""


class Probes:
    """A small HTTP server; `port` is the one bound (0 asked: any free one)."""

    def __init__(self, host: str, port: int, readiness: Readiness) -> None:
        self._host, self.port = host, port
        self._readiness = readiness
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/readyz", self._ready)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _health(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _ready(self, _request: web.Request) -> web.Response:
        state = self._readiness()
        return web.Response(
            body=orjson.dumps(state), content_type="application/json", status=200 if state["ready"] else 503
        )

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
