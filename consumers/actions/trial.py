"""Test-sends: one template, with its sample, to one address of the author's; no journey, no Kafka."""

import time
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from consumers.actions.base import EffectRequest, Ending, Headers, Provider
from consumers.actions.delivery import DeliveryContext, opened_delivery
from consumers.actions.delivery_settings import DeliverySettings
from consumers.actions.send_email import SendEmailProvider
from consumers.actions.send_push import SendPushProvider
from consumers.actions.send_sms import SendSmsProvider
from consumers.actions.templates import FixedTemplates
from orchestrator.core.addresses import parse_stream
from orchestrator.effect_settings import EffectSettings

TIMEOUT_MS: Final = 20_000
STREAM: Final = "trial/c/author/trial:template"
_PROVIDERS: dict[str, Provider[Any]] = {
    "email": SendEmailProvider(),
    "sms": SendSmsProvider(),
    "push": SendPushProvider(),
}


async def send_trial(
    document: Mapping[str, Any],
    to: str,
    settings: DeliverySettings,
    *,
    key: str,
    variables: Mapping[str, Any] | None = None,
) -> Ending:
    """Sends a template without errors to `to`: an address, a number, or `fcm:TOKEN` / `apns:TOKEN`.

    `variables` replace the document's sample. `key` tells test-sends apart: give each a new one. Raises
    ConfigurationError for settings that can't work.
    """
    channel = document["channel"]
    provider = _PROVIDERS[channel]
    platform, _, token = to.partition(":")
    shown = document.get("sample", {}) if variables is None else variables
    params = {
        "to": [{"platform": platform, "token": token}] if channel == "push" else to,
        "template": document["id"],
        "variables": dict(shown),
    }
    request = EffectRequest(
        stream=parse_stream(STREAM),
        effect=key,
        attempt=1,
        action="trial",
        type=provider.name,
        params=params,
        timeout_ms=TIMEOUT_MS,
        idempotency_key=f"{STREAM}/{key}",
    )
    async with opened_delivery(settings, FixedTemplates(document)) as delivery:
        context = DeliveryContext(
            settings=EffectSettings(),
            internal_topics=frozenset(),
            http=delivery.http,
            produce=_never,
            now_ms=lambda: time.time_ns() // 1_000_000,
            delivery=delivery,
        )
        return await provider.perform(request, msgspec.convert(params, provider.params), context)


async def _never(topic: str, *, key: bytes | None, value: bytes, headers: Headers) -> None:  # noqa: ARG001
    raise AssertionError("message providers publish nothing")
