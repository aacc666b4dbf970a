"""What a timed release's part of an experience's document says: schema, checks, and the struct its events keep."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import Struct

from orchestrator.core.decider import Problem
from orchestrator.core.durations import duration_ms
from orchestrator.distributions.reading import INSTANT, SPAN, check_span, count, instant_ms, instant_or_zero

QUANTITY_MAX: Final = 10_000_000
WINDOWS_MAX: Final = 100
LIMIT_MAX: Final = 10_000


class Window(Struct, frozen=True, array_like=True):
    """Units that come into stock at a time (ms)."""

    at_ms: int
    quantity: int


class ReleaseConfig(Struct, frozen=True, omit_defaults=True):
    """A timed release's rules; windows in order of time. Zero means no closing time. Times are ms."""

    windows: tuple[Window, ...]
    hold_ms: int
    limit: int = 1  # units a customer may hold and have bought together
    closes_ms: int = 0

    def released(self, now_ms: int) -> int:
        """The windows that are due: how many."""
        return sum(window.at_ms <= now_ms for window in self.windows)

    def stock(self, windows: int) -> int:
        """The units of the first so many windows."""
        return sum(window.quantity for window in self.windows[:windows])


SCHEMA: Final[Mapping[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Timed release",
    "description": "Units that come into stock at set times; who takes some holds them during the purchase.",
    "type": "object",
    "properties": {
        "mechanism": {"const": "timed_release"},
        "windows": {
            "type": "array",
            "minItems": 1,
            "maxItems": WINDOWS_MAX,
            "items": {
                "type": "object",
                "properties": {"at": INSTANT, "quantity": count(1, QUANTITY_MAX, "units of this window")},
                "required": ["at", "quantity"],
                "additionalProperties": False,
            },
        },
        "hold": dict(SPAN) | {"description": "how long units are kept for a customer who buys, such as 10m"},
        "limit": count(1, LIMIT_MAX, "units one customer may have, held and bought together"),
        "closes_at": INSTANT,
    },
    "required": ["windows", "hold"],
    "additionalProperties": False,
}


def check(document: Mapping[str, Any]) -> Iterator[Problem]:
    """What the schema can't say."""
    yield from check_span(document, "hold")
    times: list[int] = []
    for index, window in enumerate(document["windows"]):
        pointer = f"/windows/{index}/at"
        try:
            at_ms = instant_ms(window["at"])
        except ValueError as error:
            yield Problem(pointer, str(error), "write an instant with its offset")
            continue
        if at_ms in times:
            yield Problem(pointer, "two windows at the same time", "add their quantities in one window")
        times.append(at_ms)
    if "closes_at" not in document:
        return
    try:
        closes_ms = instant_ms(document["closes_at"])
    except ValueError as error:
        yield Problem("/closes_at", str(error), "write an instant with its offset")
        return
    if times and closes_ms <= max(times):
        yield Problem("/closes_at", "it closes before its last window", "write a later instant")


def compile_config(document: Mapping[str, Any]) -> ReleaseConfig:
    """The config of a checked document."""
    return ReleaseConfig(
        windows=in_order(Window(instant_ms(one["at"]), one["quantity"]) for one in document["windows"]),
        hold_ms=duration_ms(document["hold"]),
        limit=document.get("limit", 1),
        closes_ms=instant_or_zero(document, "closes_at"),
    )


def in_order(windows: Iterator[Window]) -> tuple[Window, ...]:
    """Windows by time."""
    return tuple(sorted(windows, key=lambda window: window.at_ms))
