"""What a draw's part of an experience's document says: schema, checks, and the struct its events keep."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import Struct

from orchestrator.core.decider import Problem
from orchestrator.core.durations import duration_ms
from orchestrator.distributions.fairness.entries import WEIGHT_MAX
from orchestrator.distributions.fairness.receipts import Terms
from orchestrator.distributions.fairness.seeds import BeaconRound
from orchestrator.distributions.reading import (
    INSTANT,
    SPAN,
    WHOLE_MAX,
    Fields,
    check_span,
    check_times,
    count,
    instant_ms,
    instant_or_zero,
)

WINNERS_MAX: Final = 1_000_000
SOURCE_CHARS_MAX: Final = 200
VALID_MS: Final = 86_400_000
TERMS_FIELDS: Final = ("winners", "reserves", "weight_max")
CONFIGURE: Final = (*TERMS_FIELDS, "opens_at", "closes_at", "claim_within", "valid")


class DrawConfig(Struct, frozen=True, omit_defaults=True):
    """A draw's rules. Zero means none for instants and for the claim window; times are ms."""

    winners: int
    reserves: int  # how many of the ranked rest wait for a place that nobody claims
    weight_max: int = 1
    opens_ms: int = 0
    closes_ms: int = 0
    claim_ms: int = 0  # how long a winner has to claim; 0: winners are admitted at once
    valid_ms: int = VALID_MS  # how long a grant can be used
    beacon: BeaconRound | None = None

    def terms(self, draw: str, commitment: str, beacon: BeaconRound | None) -> Terms:
        """What the organizer is bound to from the commitment on."""
        return Terms(draw, commitment, beacon, self.winners, self.reserves, self.weight_max)


SCHEMA: Final[Mapping[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Draw",
    "description": "Chance decides, by weight, and anyone can repeat it.",
    "type": "object",
    "properties": {
        "mechanism": {"const": "draw"},
        "opens_at": INSTANT,
        "closes_at": INSTANT,
        "winners": count(1, WINNERS_MAX, "how many win"),
        "reserves": count(0, WINNERS_MAX, "how many wait for unclaimed places; as many as win, if unsaid"),
        "weight_max": count(1, WEIGHT_MAX, "the most that an entry may weigh; 1: all weigh the same"),
        "claim_within": {**SPAN, "description": "how long a winner has to claim; without it none has to"},
        "admission": {
            "type": "object",
            "properties": {"valid": SPAN},
            "required": ["valid"],
            "additionalProperties": False,
        },
        "beacon": {
            "type": "object",
            "description": "the public randomness of a round that is published after the close",
            "properties": {
                "source": {"type": "string", "minLength": 1, "maxLength": SOURCE_CHARS_MAX},
                "round": count(0, WHOLE_MAX, "the round's number"),
                "at": {**INSTANT, "description": "when the round will be published"},
            },
            "required": ["source", "round", "at"],
            "additionalProperties": False,
        },
    },
    "required": ["winners"],
    "additionalProperties": False,
}


def check(document: Mapping[str, Any]) -> Iterator[Problem]:
    """What the schema can't say."""
    yield from check_times(document)
    yield from check_span(document, "claim_within")
    yield from check_span(document, "admission", "valid")
    beacon = document.get("beacon")
    if beacon is None:
        said = "without a public beacon, who knows the secret can foresee the draw: it is not operator-proof"
        yield Problem("", said, "name a round in `beacon`, here or in the command `commit`", "warning")
        return
    try:
        early = instant_ms(beacon["at"]) <= instant_or_zero(document, "closes_at")
    except ValueError as error:
        yield Problem("/beacon/at", str(error), "write an instant with its offset")
    else:
        if early:
            said = "the round is published before the entries close: its value could be known"
            yield Problem("/beacon/at", said, "name a round that is published after closes_at")


def compile_config(document: Mapping[str, Any]) -> DrawConfig:
    """The config of a checked document."""
    beacon, claim = document.get("beacon"), document.get("claim_within")
    return DrawConfig(
        winners=document["winners"],
        reserves=document.get("reserves", document["winners"]),
        weight_max=document.get("weight_max", 1),
        opens_ms=instant_or_zero(document, "opens_at"),
        closes_ms=instant_or_zero(document, "closes_at"),
        claim_ms=duration_ms(claim) if claim else 0,
        valid_ms=duration_ms(document["admission"]["valid"]) if "admission" in document else VALID_MS,
        beacon=BeaconRound(beacon["source"], beacon["round"], instant_ms(beacon["at"])) if beacon else None,
    )


def changed(config: DrawConfig, fields: Fields) -> DrawConfig:
    """The config after the command `configure`. Raises Malformed, naming the field."""
    return DrawConfig(
        winners=fields.whole("winners", least=1, most=WINNERS_MAX, default=config.winners),
        reserves=fields.whole("reserves", least=0, most=WINNERS_MAX, default=config.reserves),
        weight_max=fields.whole("weight_max", least=1, most=WEIGHT_MAX, default=config.weight_max),
        opens_ms=fields.instant_ms("opens_at") if "opens_at" in fields else config.opens_ms,
        closes_ms=fields.instant_ms("closes_at") if "closes_at" in fields else config.closes_ms,
        claim_ms=fields.span_ms("claim_within") if "claim_within" in fields else config.claim_ms,
        valid_ms=fields.span_ms("valid") if "valid" in fields else config.valid_ms,
        beacon=config.beacon,
    )
