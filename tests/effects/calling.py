"""Performs one webhook or publish as a runner would, without Kafka."""

import base64
import os
import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, cast

import msgspec
from aiohttp import ClientSession

from consumers.actions.base import Context, EffectRequest, Ending, Headers, Provider
from consumers.actions.guard import AddressInfo, Lookup
from consumers.actions.http import guarded_session
from consumers.actions.webhook import WebhookProvider
from orchestrator.core.addresses import parse_stream
from orchestrator.effect_settings import EffectSettings, EffectTopics

STREAM = "acme/c/cus-1/lifecycle:shop"
LOCAL = EffectSettings(allow_http=True, allowed_networks=("127.0.0.1/32",))


def new_secret() -> str:
    """A signing secret nobody used before."""
    return "whsec_" + base64.b64encode(os.urandom(24)).decode()


def request(
    params: dict[str, Any], *, timeout_ms: int = 5_000, attempt: int = 1, kind: str = "webhook"
) -> EffectRequest:
    return EffectRequest(
        stream=parse_stream(STREAM),
        effect="3-1",
        attempt=attempt,
        action="send_welcome",
        type=kind,
        params=params,
        timeout_ms=timeout_ms,
        idempotency_key=f"{STREAM}/3-1",
    )


def answers(*turns: Sequence[AddressInfo]) -> tuple[Lookup, list[str]]:
    """A name service that gives each turn's addresses in order (the last for ever), and the names it was asked."""
    asked: list[str] = []

    async def lookup(host: str, port: int, _family: int) -> list[AddressInfo]:
        asked.append(host)
        found = turns[min(len(asked), len(turns)) - 1]
        return [
            (kind, type_, proto, name, (place[0], port, *place[2:]))
            for kind, type_, proto, name, place in found
        ]

    return lookup, asked


async def perform(
    request: EffectRequest,
    settings: EffectSettings = LOCAL,
    *,
    provider: Provider[Any] | None = None,
    lookup: Lookup | None = None,
    produced: list[tuple[str, bytes | None, bytes, Headers]] | None = None,
    session: ClientSession | None = None,
) -> Ending:
    """The ending of one call, in a guarded session of its own unless one is given."""
    provider = provider if provider is not None else cast("Provider[Any]", WebhookProvider())

    async def produce(topic: str, *, key: bytes | None, value: bytes, headers: Headers) -> None:
        assert produced is not None
        produced.append((topic, key, value, headers))

    async with nullcontext(session) if session is not None else guarded_session(settings, lookup) as http:
        context = Context(
            settings=settings,
            internal_topics=EffectTopics().internal,
            http=http,
            produce=produce,
            now_ms=lambda: time.time_ns() // 1_000_000,
        )
        return await provider.perform(request, msgspec.convert(request.params, provider.params), context)
