"""The JSON Schema (2020-12) of experiences. Each distribution is held against the schema of its own mechanism."""

from collections.abc import Mapping
from typing import Any, Final

from orchestrator.distributions.base import Distribution
from orchestrator.distributions.reading import INSTANT, SPAN
from orchestrator.journeys.experience.stages import REQUIREMENTS

ID: Final = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
EXPERIENCE_ID: Final = r"^[a-z0-9][a-z0-9_-]{0,63}$"
_HEX: Final = {
    "type": "string",
    "pattern": "^[0-9a-f]{64}$",
    "description": "64 hex digits, made by publishing",
}
_SALT: Final = {
    "type": "string",
    "pattern": "^([0-9a-f]{2}){16,64}$",
    "description": "16 to 64 random bytes in hex",
}
_NAME: Final = {"type": "string", "minLength": 1, "maxLength": 200}
_TEXT: Final = {"type": "string", "maxLength": 4_000}
_ID: Final = {"type": "string", "pattern": ID, "description": "an id of letters, digits, '-' and '_'"}
_IDS: Final = {"type": "array", "items": _ID, "minItems": 1, "maxItems": 64, "uniqueItems": True}
_WORD: Final = {
    "type": "string",
    "pattern": r"^[\x21-\x7e]{1,256}$",
    "description": "1 to 256 characters, no spaces",
}
_RULE: Final = {"description": "a JSONLogic rule"}
_METADATA: Final = {
    "type": "object",
    "maxProperties": 32,
    "description": "shown to pages, such as a site key",
}


def _object(properties: Mapping[str, Any], *required: str) -> dict[str, Any]:
    closed = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    return {**closed, "required": list(required)} if required else closed


_GATE: Final = {
    "type": {"enum": list(REQUIREMENTS)},
    "reason": {"type": "string", "maxLength": 500, "description": "shown to the customer"},
    "metadata": _METADATA,
    "provider": {
        "type": "string",
        "pattern": ID,
        "description": "whose proof counts: an account in the settings of the effects process",
    },
}
_REQUIREMENT: Final = _object(
    {**_GATE, "required": {"type": "boolean", "description": "false: may be skipped or left out"}}, "type"
)
_SEQUENCE_GATE: Final = _object({**_GATE, "codes": _IDS}, "type")
_CODE: Final = _object(
    {
        "id": _ID,
        "hash": _HEX,
        "expires_at": INSTANT,
        "uses": {"type": "integer", "minimum": 1, "maximum": 10_000_000, "description": "over all customers"},
    },
    "id",
    "hash",
)
_CODES: Final = _object(
    {
        "salt": _SALT,
        "ignore_case": {"type": "boolean"},
        "guesses": _object(
            {"limit": {"type": "integer", "minimum": 1, "maximum": 100}, "within": SPAN}, "limit", "within"
        ),
        "codes": {"type": "array", "items": _CODE, "minItems": 1, "maxItems": 10_000},
    },
    "salt",
    "codes",
)
_SEQUENCE: Final = _object(
    {
        "id": _ID,
        "name": _NAME,
        "description": _TEXT,
        "priority": {
            "type": "integer",
            "minimum": 0,
            "maximum": 1_000_000,
            "description": "the lowest is first",
        },
        "when": _RULE,
        "gates": {"type": "array", "items": _SEQUENCE_GATE, "minItems": 1, "maxItems": len(REQUIREMENTS)},
        "distribution": _ID,
        "waitlist": _ID,
        "opens_at": INSTANT,
        "closes_at": INSTANT,
        "on_admission_expired": {"enum": ["reenter", "waitlist", "end"]},
        "attributes": {
            "type": "object",
            "maxProperties": 16,
            "description": "what entering tells the distribution: JSON with JSONLogic rules, such as a draw's weight",
        },
    },
    "id",
    "distribution",
)
_PROPERTIES: Final[Mapping[str, Any]] = {
    "kind": {"const": "experience"},
    "id": {"type": "string", "pattern": EXPERIENCE_ID, "description": "small letters, digits, '-' and '_'"},
    "name": _NAME,
    "description": _TEXT,
    "opens_at": INSTANT,
    "closes_at": INSTANT,
    "requirements": {"type": "array", "items": _REQUIREMENT, "minItems": 1, "maxItems": len(REQUIREMENTS)},
    "access_codes": _CODES,
    "sequences": {"type": "array", "items": _SEQUENCE, "minItems": 1, "maxItems": 64},
    "trusted_sources": {"type": "array", "items": _WORD, "minItems": 1, "maxItems": 64, "uniqueItems": True},
    "grants": _object({"issuer": _WORD, "audience": _WORD}, "issuer", "audience"),
    "answer_within": SPAN,
}


def schema(mechanisms: Mapping[str, Distribution]) -> dict[str, Any]:
    """The schema with the mechanisms that exist."""
    names = sorted(mechanisms)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Experience",
        "description": "Gates, sequences and distributions of one high-demand experience.",
        "type": "object",
        "properties": {
            **_PROPERTIES,
            "distributions": {
                "type": "object",
                "propertyNames": {"pattern": ID},
                "minProperties": 1,
                "maxProperties": 64,
                "additionalProperties": {
                    "type": "object",
                    "properties": {"mechanism": {"enum": names}},
                    "required": ["mechanism"],
                    "allOf": [
                        {
                            "if": {"properties": {"mechanism": {"const": name}}, "required": ["mechanism"]},
                            "then": {"$ref": f"#/$defs/{name}"},
                        }
                        for name in names
                    ],
                },
            },
        },
        "required": ["kind", "id", "name", "sequences", "distributions"],
        "additionalProperties": False,
        "$defs": {name: part(mechanisms[name]) for name in names},
    }


def part(mechanism: Distribution) -> dict[str, Any]:
    """A mechanism's schema as it stands inside an experience's: it allows the field that names the mechanism."""
    own = {name: value for name, value in mechanism.schema.items() if name not in {"$schema", "$id"}}
    properties = {"mechanism": {"const": mechanism.name}, **own.get("properties", {})}
    return {**own, "properties": properties}
