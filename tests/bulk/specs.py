"""Bulk operations for tests: the built-in document, and answers of the search."""

from typing import Any

from orchestrator.core.decider import Definition, EffectResult
from orchestrator.journeys.bulk import BULK
from orchestrator.journeys.bulk.commands import Begin
from orchestrator.journeys.bulk.model import BUILT_IN, stream_of
from orchestrator.journeys.bulk.query import Query
from orchestrator.journeys.bulk.state import BulkState
from tests.support.spec import Spec, Story

STREAM = stream_of("acme", "one")
BEGIN = Begin("cancel", Query("welcome", state="WAITING"), "wrong price", 5)


def spec(**document: Any) -> Spec:
    """An operation that hasn't begun, with the built-in document, perhaps changed."""
    built = {**BUILT_IN, **document}
    return Spec(Definition("bulk", "operation", 1, built, BULK.compile(built), frozenset()), BULK, STREAM)


def begun(**document: Any) -> Story:
    """An operation that looks for its first page."""
    return spec(**document).given().when(BEGIN)


def state(story: Story) -> BulkState:
    assert isinstance(story.state, BulkState)
    return story.state


def runs(*customers: str) -> list[list[str]]:
    return [[f"acme/c/{name}/flow:welcome", "r1"] for name in customers]


def page(story: Story, *customers: str, last: bool = False, lane: int = 0, **more: Any) -> EffectResult:
    """The answer to the search that is under way."""
    (effect,) = state(story).pending.values()
    found = {"runs": runs(*customers), "cursor": {"lane": lane, "after": customers[-1] if customers else ""}}
    return EffectResult(effect.effect, effect.attempt, "succeeded", {**found, "last": last, **more})


def failed(story: Story, error: str, *, retryable: bool = False) -> EffectResult:
    (effect,) = state(story).pending.values()
    return EffectResult(effect.effect, effect.attempt, "failed", error=error, retryable=retryable)
