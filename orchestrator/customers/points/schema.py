"""The JSON Schema (2020-12) of ledger documents, and what it can't say."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from orchestrator.core.decider import Problem
from orchestrator.core.durations import PATTERN, duration_ms
from orchestrator.customers.points.model import POINTS_MAX


def _points(minimum: int, description: str) -> dict[str, Any]:
    return {"type": "integer", "minimum": minimum, "maximum": POINTS_MAX, "description": description}


SCHEMA: Final[Mapping[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Points ledger",
    "description": "An account of points for each customer.",
    "type": "object",
    "properties": {
        "kind": {"const": "points"},
        "id": {
            "type": "string",
            "pattern": r"^[a-z0-9][a-z0-9-]{0,63}$",
            "description": "the definition's id: small letters, digits and dashes",
        },
        "name": {"type": "string", "maxLength": 200},
        "description": {"type": "string", "maxLength": 4_000},
        "currency": {
            "type": "string",
            "pattern": r"^[A-Za-z][A-Za-z0-9 _-]{0,31}$",
            "description": "what the points are called, such as points, miles or stars",
        },
        "record": {
            "type": "string",
            "pattern": r"^[a-z0-9][a-z0-9-]{0,63}$",
            "description": "the customer record that is told each new balance, such as profile",
        },
        "limits": {
            "type": "object",
            "properties": {
                "award": _points(1, "the most points of one award"),
                "balance": _points(1, "the highest balance that an award may lead to"),
                "overdraft": _points(0, "how far below zero a redemption or reversal may lead"),
            },
            "additionalProperties": False,
        },
        "expiry": {
            "type": "object",
            "properties": {
                "after": {
                    "type": "string",
                    "pattern": PATTERN,
                    "description": "a span of time such as 12h, 90d or 52w",
                }
            },
            "required": ["after"],
            "additionalProperties": False,
        },
    },
    "required": ["kind", "id", "currency"],
    "additionalProperties": False,
}


def check(document: Mapping[str, Any]) -> Iterator[Problem]:
    """Every problem of a document that fits the schema."""
    limits = document.get("limits", {})
    award, balance = limits.get("award"), limits.get("balance")
    if award is not None and balance is not None and award > balance:
        message = f"one award may be {award}, more than the highest balance of {balance}"
        yield Problem("/limits/award", message, f"write {balance} or less", "warning")
    if "expiry" in document:
        try:
            duration_ms(document["expiry"]["after"])
        except ValueError as error:
            yield Problem("/expiry/after", str(error), "write a span of up to 3650d")
