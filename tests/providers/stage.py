"""Performs one message action as a runner would, without Kafka, against servers on this machine."""

import time
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from os import urandom
from pathlib import Path
from typing import Any

import msgspec

from consumers.actions.base import EffectRequest, Ending, Headers, Provider
from consumers.actions.delivery import DeliveryContext, opened_delivery
from consumers.actions.delivery_settings import DeliverySettings
from consumers.actions.http import guarded_session
from consumers.actions.templates import FixedTemplates, Templates
from orchestrator import definitions
from orchestrator.effect_settings import EffectSettings, EffectTopics
from tests.effects.calling import request

EXAMPLES = Path(__file__).parents[2] / "examples" / "templates"
CANARY = "ada.canary"


def example(name: str) -> Mapping[str, Any]:
    """A template document of the examples."""
    return definitions.read((EXAMPLES / f"{name}.yaml").read_bytes()).value


def new_key() -> str:
    """A key for links nobody used before."""
    return b64encode(urandom(32)).decode()


@asynccontextmanager
async def stage(
    settings: DeliverySettings | None = None,
    *documents: Mapping[str, Any],
    templates: Templates | None = None,
) -> AsyncIterator[DeliveryContext]:
    """A runner's context with these accounts and templates; one session for all that happens in it."""
    effects = (
        EffectSettings()
    )  # the guard allows public addresses alone: configured hosts don't pass through it

    async def produce(topic: str, *, key: bytes | None, value: bytes, headers: Headers) -> None:
        raise AssertionError(topic)

    async with (
        guarded_session(effects) as http,
        opened_delivery(settings or DeliverySettings(), templates or FixedTemplates(*documents)) as delivery,
    ):
        yield DeliveryContext(
            settings=effects,
            internal_topics=EffectTopics().internal,
            http=http,
            produce=produce,
            now_ms=lambda: time.time_ns() // 1_000_000,
            delivery=delivery,
        )


def asked(provider: Provider[Any], params: Mapping[str, Any], **options: Any) -> EffectRequest:
    """An effect request for a provider."""
    return request(dict(params), kind=provider.name, **options)


async def perform(
    provider: Provider[Any], context: DeliveryContext, params: Mapping[str, Any], **options: Any
) -> Ending:
    """The ending of one call; params go through JSON, as they do through Kafka."""
    effect = asked(provider, msgspec.json.decode(msgspec.json.encode(params)), **options)
    return await provider.perform(effect, msgspec.convert(effect.params, provider.params), context)
