"""What an auction's part of an experience's document says: schema, checks, and the struct its events keep.

Amounts are whole numbers of the currency's smallest unit.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

from msgspec import Struct

from orchestrator.core.decider import Problem
from orchestrator.core.durations import duration_ms
from orchestrator.distributions.reading import (
    INSTANT,
    SPAN,
    WHOLE_MAX,
    check_span,
    check_times,
    count,
    instant_or_zero,
)

QUANTITY_MAX: Final = 1_000
"""Units of one auction: its winners are granted by one decision."""
EXTENSIONS_MAX: Final = 1_000
Style = Literal["english", "dutch"]


class AuctionConfig(Struct, frozen=True, omit_defaults=True):
    """An auction's rules. Zero means none for instants, reserve and extensions; times are ms."""

    style: Style
    start: int  # English: the lowest first bid; Dutch: the first price
    payment_ms: int
    quantity: int = 1
    reserve: int = 0  # English: what a winning bid has to reach; Dutch: the lowest price
    increment: int = 1  # English
    drop: int = 0  # Dutch: by so much ...
    drop_every_ms: int = 0  # ... so often
    opens_ms: int = 0
    closes_ms: int = 0
    extend_within_ms: int = 0  # a bid so shortly before the close ...
    extend_by_ms: int = 0  # ... puts it off to so long after the bid ...
    extensions: int = 0  # ... so many times at most

    def price_at(self, opened_ms: int, at_ms: int) -> int:
        """The price of a Dutch auction."""
        drops = max(0, at_ms - opened_ms) // self.drop_every_ms
        return max(self.reserve, self.start - drops * self.drop)


def _amount(minimum: int, description: str) -> dict[str, Any]:
    return count(minimum, WHOLE_MAX, description + ", in the smallest unit of the currency")


SCHEMA: Final[Mapping[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Auction",
    "description": "English: the highest bids win. Dutch: the price falls until somebody takes it.",
    "type": "object",
    "properties": {
        "mechanism": {"const": "auction"},
        "style": {"enum": ["english", "dutch"]},
        "opens_at": INSTANT,
        "closes_at": INSTANT,
        "quantity": count(1, QUANTITY_MAX, "units; one for each winner"),
        "start": _amount(1, "the lowest first bid, or the first price of a Dutch auction"),
        "reserve": _amount(0, "what a bid has to reach to win, or the lowest price of a Dutch auction"),
        "increment": _amount(1, "how much a bid has to be above the one it beats"),
        "drop": {
            "type": "object",
            "properties": {"by": _amount(1, "how much the price falls"), "every": SPAN},
            "required": ["by", "every"],
            "additionalProperties": False,
        },
        "extend": {
            "type": "object",
            "description": "a bid shortly before the close puts it off",
            "properties": {
                "within": SPAN,
                "by": SPAN,
                "limit": count(1, EXTENSIONS_MAX, "how many times"),
            },
            "required": ["within", "by", "limit"],
            "additionalProperties": False,
        },
        "payment": dict(SPAN) | {"description": "how long a winner has to pay, such as 30m"},
    },
    "required": ["style", "start", "payment"],
    "allOf": [
        {
            "if": {"properties": {"style": {"const": "english"}}},
            "then": {"required": ["increment", "closes_at"], "properties": {"drop": False}},
            "else": {
                "required": ["drop", "reserve"],
                "properties": {"increment": False, "extend": False},
            },
        }
    ],
    "additionalProperties": False,
}


def check(document: Mapping[str, Any]) -> Iterator[Problem]:
    """What the schema can't say."""
    yield from check_times(document)
    for path in (("payment",), ("drop", "every"), ("extend", "within"), ("extend", "by")):
        yield from check_span(document, *path)
    if document["style"] == "dutch" and document["reserve"] > document["start"]:
        message = f"the lowest price is {document['reserve']}, above the first one of {document['start']}"
        yield Problem("/reserve", message, "write the start or less")


def compile_config(document: Mapping[str, Any]) -> AuctionConfig:
    """The config of a checked document."""
    drop, extend = document.get("drop"), document.get("extend")
    return AuctionConfig(
        style=document["style"],
        start=document["start"],
        payment_ms=duration_ms(document["payment"]),
        quantity=document.get("quantity", 1),
        reserve=document.get("reserve", 0),
        increment=document.get("increment", 1),
        drop=drop["by"] if drop else 0,
        drop_every_ms=duration_ms(drop["every"]) if drop else 0,
        opens_ms=instant_or_zero(document, "opens_at"),
        closes_ms=instant_or_zero(document, "closes_at"),
        extend_within_ms=duration_ms(extend["within"]) if extend else 0,
        extend_by_ms=duration_ms(extend["by"]) if extend else 0,
        extensions=extend["limit"] if extend else 0,
    )
