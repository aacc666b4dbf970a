"""What a waitlist's part of an experience's document says: schema, checks, and the struct its events keep."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import Struct

from orchestrator.core.decider import Problem
from orchestrator.core.durations import duration_ms
from orchestrator.distributions.reading import (
    INSTANT,
    SPAN,
    check_span,
    check_times,
    count,
    instant_or_zero,
)

PEOPLE_MAX: Final = 10_000_000


class WaitlistConfig(Struct, frozen=True, omit_defaults=True):
    """A waitlist's rules. Zero means none; times are ms."""

    offer_ms: int  # how long an offer stands
    capacity: int = 0  # how many may wait or hold an offer
    opens_ms: int = 0
    closes_ms: int = 0


SCHEMA: Final[Mapping[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Waitlist",
    "description": "Who waits for places that may come: offered in order, each for a while, then to the next.",
    "type": "object",
    "properties": {
        "mechanism": {"const": "waitlist"},
        "opens_at": INSTANT,
        "closes_at": INSTANT,
        "capacity": count(1, PEOPLE_MAX, "how many may wait at once"),
        "offer": {
            "type": "object",
            "properties": {"valid": {**SPAN, "description": "how long an offer stands, such as 30m"}},
            "required": ["valid"],
            "additionalProperties": False,
        },
    },
    "required": ["offer"],
    "additionalProperties": False,
}


def check(document: Mapping[str, Any]) -> Iterator[Problem]:
    """What the schema can't say."""
    yield from check_times(document)
    yield from check_span(document, "offer", "valid")


def compile_config(document: Mapping[str, Any]) -> WaitlistConfig:
    """The config of a checked document."""
    return WaitlistConfig(
        offer_ms=duration_ms(document["offer"]["valid"]),
        capacity=document.get("capacity", 0),
        opens_ms=instant_or_zero(document, "opens_at"),
        closes_ms=instant_or_zero(document, "closes_at"),
    )
