"""What a queue's part of an experience's document says: schema, checks, and the struct its events keep."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

from msgspec import Struct

from orchestrator.core.decider import Problem
from orchestrator.core.durations import duration_ms
from orchestrator.distributions.fairness.seeds import SECRET_BYTES, commitment
from orchestrator.distributions.reading import (
    INSTANT,
    SPAN,
    check_span,
    check_times,
    count,
    instant_ms,
    instant_or_zero,
)

RATE_MAX: Final = 600_000  # a minute
PEOPLE_MAX: Final = 10_000_000
Slot = Literal["until_redeemed", "until_expired"]
_HEX32: Final = {"type": "string", "pattern": f"^[0-9a-f]{{{2 * SECRET_BYTES}}}$"}


class QueueConfig(Struct, frozen=True, omit_defaults=True):
    """A queue's rules. Zero means none for limits and instants; times are ms. `secret` never reaches an event."""

    valid_ms: int  # how long a grant can be used
    slot: Slot = "until_redeemed"  # how long one who was admitted counts as inside
    opens_ms: int = 0
    closes_ms: int = 0
    rate_per_minute: int = 0
    concurrent: int = 0
    capacity: int = 0
    pre_queue: bool = False
    pre_queue_opens_ms: int = 0
    commitment: str = ""  # hex, of the secret that shuffles the pre-queue
    secret: str = ""  # hex; only on its way from the document
    presence_timeout_ms: int = 0
    grace_ms: int = 0
    again: bool = False  # whether somebody who used a grant may come again


SCHEMA: Final[Mapping[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Queue",
    "description": "A line: first come, first served, at a rate and with so many inside at once.",
    "type": "object",
    "properties": {
        "mechanism": {"const": "queue"},
        "opens_at": INSTANT,
        "closes_at": INSTANT,
        "rate_per_minute": count(1, RATE_MAX, "admissions a minute, spread evenly"),
        "concurrent": count(1, PEOPLE_MAX, "how many may be inside at once"),
        "capacity": count(1, PEOPLE_MAX, "how many may wait or be inside at once"),
        "admission": {
            "type": "object",
            "properties": {
                "valid": SPAN,
                "slot": {
                    "enum": ["until_redeemed", "until_expired"],
                    "description": "when a place inside is free again: at redemption, or at the grant's end",
                },
                "again": {"type": "boolean", "description": "whether who used a grant may enter again"},
            },
            "required": ["valid"],
            "additionalProperties": False,
        },
        "pre_queue": {
            "type": "object",
            "description": "who enters before the opening is shuffled at the opening",
            "properties": {
                "opens_at": INSTANT,
                "secret": _HEX32 | {"description": "32 random bytes in hex; revealed at the opening"},
                "commitment": _HEX32 | {"description": "its hash, where the operator keeps the secret"},
            },
            "oneOf": [{"required": ["secret"]}, {"required": ["commitment"]}],
            "additionalProperties": False,
        },
        "presence": {
            "type": "object",
            "properties": {"timeout": SPAN, "grace": SPAN},
            "required": ["timeout", "grace"],
            "additionalProperties": False,
        },
    },
    "required": ["admission"],
    "additionalProperties": False,
}


def check(document: Mapping[str, Any]) -> Iterator[Problem]:
    """What the schema can't say."""
    yield from check_times(document)
    for path in (("admission", "valid"), ("presence", "timeout"), ("presence", "grace")):
        yield from check_span(document, *path)
    pre_queue = document.get("pre_queue")
    if pre_queue is None:
        return
    if "opens_at" not in document:
        yield Problem("/pre_queue", "there is no opening to wait for", "give the queue an opens_at")
    if "opens_at" in pre_queue:
        try:
            late = instant_ms(pre_queue["opens_at"]) >= instant_or_zero(document, "opens_at") > 0
        except ValueError as error:
            yield Problem("/pre_queue/opens_at", str(error), "write an instant with its offset")
        else:
            if late:
                message = "it opens when the queue does, or later"
                yield Problem("/pre_queue/opens_at", message, "write an earlier instant")


def compile_config(document: Mapping[str, Any]) -> QueueConfig:
    """The config of a checked document."""
    admission, pre_queue = document["admission"], document.get("pre_queue", {})
    presence = document.get("presence")
    secret = pre_queue.get("secret", "")
    return QueueConfig(
        valid_ms=duration_ms(admission["valid"]),
        slot=admission.get("slot", "until_redeemed"),
        opens_ms=instant_or_zero(document, "opens_at"),
        closes_ms=instant_or_zero(document, "closes_at"),
        rate_per_minute=document.get("rate_per_minute", 0),
        concurrent=document.get("concurrent", 0),
        capacity=document.get("capacity", 0),
        pre_queue="pre_queue" in document,
        pre_queue_opens_ms=instant_or_zero(pre_queue, "opens_at"),
        commitment=commitment(bytes.fromhex(secret)).hex() if secret else pre_queue.get("commitment", ""),
        secret=secret,
        presence_timeout_ms=duration_ms(presence["timeout"]) if presence else 0,
        grace_ms=duration_ms(presence["grace"]) if presence else 0,
        again=admission.get("again", False),
    )
