"""What an appointment's part of an experience's document says: slots, windows, schema, checks, and what events keep."""

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
    instant_ms,
    instant_or_zero,
)

SLOTS_MAX: Final = 500
PEOPLE_MAX: Final = 1_000_000
ID_CHARS_MAX: Final = 64
HOLD_MS: Final = 600_000


class Slot(Struct, frozen=True):
    """A time to come at, and for how many. Times are ms."""

    id: str
    starts_ms: int
    ends_ms: int
    capacity: int


class AppointmentConfig(Struct, frozen=True, omit_defaults=True):
    """The rules of appointments. Zero means none for instants; spans are ms."""

    slots: tuple[Slot, ...]
    hold_ms: int = HOLD_MS
    opens_ms: int = 0
    closes_ms: int = 0
    booking_closes_ms: int = 0  # before a slot starts
    cancel_until_ms: int = 0  # before a slot starts
    early_ms: int = 0  # how long before its start a visit may begin
    late_ms: int = 0  # how long after its end
    again: bool = False  # whether somebody who came may book again


SCHEMA: Final[Mapping[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Appointments",
    "description": "Slots with so many places each: held for a while, booked, cancelled in time, used at the visit.",
    "type": "object",
    "properties": {
        "mechanism": {"const": "appointment"},
        "opens_at": INSTANT,
        "closes_at": INSTANT,
        "slots": {
            "type": "array",
            "minItems": 1,
            "maxItems": SLOTS_MAX,
            "items": {
                "type": "object",
                "properties": {
                    "id": {"type": "string", "minLength": 1, "maxLength": ID_CHARS_MAX},
                    "starts_at": INSTANT,
                    "ends_at": INSTANT,
                    "capacity": count(1, PEOPLE_MAX, "how many may come"),
                },
                "required": ["id", "starts_at", "ends_at", "capacity"],
                "additionalProperties": False,
            },
        },
        "hold": {
            **SPAN,
            "description": "how long a place is held for who hasn't booked yet; 10m unless said",
        },
        "booking_closes": {
            **SPAN,
            "description": "how long before its start a slot can't be booked any more",
        },
        "cancel_until": {
            **SPAN,
            "description": "how long before its start a booking can't be cancelled any more",
        },
        "visit": {
            "type": "object",
            "description": "how long before a slot's start and after its end the grant can be used",
            "properties": {"early": SPAN, "late": SPAN},
            "additionalProperties": False,
        },
        "again": {"type": "boolean", "description": "whether somebody who came may book again"},
    },
    "required": ["slots"],
    "additionalProperties": False,
}
_SPANS: Final = (("hold",), ("booking_closes",), ("cancel_until",), ("visit", "early"), ("visit", "late"))


def check(document: Mapping[str, Any]) -> Iterator[Problem]:
    """What the schema can't say."""
    yield from check_times(document)
    for path in _SPANS:
        yield from check_span(document, *path)
    seen: set[str] = set()
    for index, slot in enumerate(document["slots"]):
        place = f"/slots/{index}"
        if slot["id"] in seen:
            yield Problem(f"{place}/id", f"slot {slot['id']!r} is there twice", "give each slot its own id")
        seen.add(slot["id"])
        read: dict[str, int] = {}
        for name in ("starts_at", "ends_at"):
            try:
                read[name] = instant_ms(slot[name])
            except ValueError as error:
                yield Problem(f"{place}/{name}", str(error), "write an instant with its offset")
        if len(read) == 2 and read["ends_at"] <= read["starts_at"]:
            yield Problem(f"{place}/ends_at", "it ends before it starts", "write a later instant")


def compile_config(document: Mapping[str, Any]) -> AppointmentConfig:
    """The config of a checked document."""

    def span_ms(part: Mapping[str, Any], name: str, default_ms: int = 0) -> int:
        return duration_ms(part[name]) if name in part else default_ms

    visit = document.get("visit", {})
    return AppointmentConfig(
        slots=tuple(
            Slot(s["id"], instant_ms(s["starts_at"]), instant_ms(s["ends_at"]), s["capacity"])
            for s in document["slots"]
        ),
        hold_ms=span_ms(document, "hold", HOLD_MS),
        opens_ms=instant_or_zero(document, "opens_at"),
        closes_ms=instant_or_zero(document, "closes_at"),
        booking_closes_ms=span_ms(document, "booking_closes"),
        cancel_until_ms=span_ms(document, "cancel_until"),
        early_ms=span_ms(visit, "early"),
        late_ms=span_ms(visit, "late"),
        again=document.get("again", False),
    )
