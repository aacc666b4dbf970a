"""The JSON Schema (2020-12) of record documents."""

from collections.abc import Mapping
from typing import Any, Final

from orchestrator.core.durations import PATTERN as DURATION
from orchestrator.customers.contact import CHANNEL, CLASS

NAME: Final = r"^[A-Za-z_][A-Za-z0-9_-]{0,63}$"
EVENT_TYPE: Final = r"^[^\s*]{1,128}$"
PATH: Final = r"^payload(\.[A-Za-z0-9_-]{1,64}){1,8}$"
PLATFORMS: Final = ("fcm", "apns", "web")
TYPES: Final = ("string", "integer", "number", "boolean", "array", "object")
MAX_LENGTH: Final = 16_384
LIMIT_MAX: Final = 100


def _map(names: str, values: Any, most: int, description: str) -> dict[str, Any]:
    return {
        "type": "object",
        "propertyNames": {"pattern": names},
        "additionalProperties": values,
        "maxProperties": most,
        "description": description,
    }


_ATTRIBUTE = {
    "type": "object",
    "properties": {
        "type": {"enum": list(TYPES)},
        "pii": {"type": "boolean", "description": "personal: stored encrypted, shown to nobody"},
        "max_length": {"type": "integer", "minimum": 1, "maximum": MAX_LENGTH},
        "description": {"type": "string", "maxLength": 400},
    },
    "required": ["type", "pii"],
    "additionalProperties": False,
}
_CHANNEL = {
    "type": "object",
    "properties": {
        "address": {"type": "string", "pattern": NAME, "description": "the attribute that holds the address"},
        "tokens": {
            "type": "array",
            "items": {"enum": list(PLATFORMS)},
            "minItems": 1,
            "uniqueItems": True,
            "description": "platforms whose device tokens are the addresses",
        },
    },
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": False,
}
_CAP = {
    "type": "object",
    "properties": {
        "channel": {
            "type": "string",
            "pattern": CHANNEL,
            "description": "a channel, or any for all of them together",
        },
        "per": {"type": "string", "pattern": DURATION, "description": "a span of time such as 24h, 7d or 4w"},
        "limit": {
            "type": "integer",
            "minimum": 1,
            "maximum": LIMIT_MAX,
            "description": "contacts in any such span",
        },
    },
    "required": ["channel", "per", "limit"],
    "additionalProperties": False,
}
_CLASS = {
    "type": "object",
    "properties": {
        "exempt": {"type": "boolean", "description": "no cap stops or counts these messages"},
        "consent": {
            "type": "boolean",
            "description": "whether the customer has to have agreed; true where left out",
        },
    },
    "additionalProperties": False,
}

SCHEMA: Final[Mapping[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Customer record",
    "description": "What may be known about each customer, and how each can be reached.",
    "type": "object",
    "properties": {
        "kind": {"const": "customer"},
        "id": {
            "type": "string",
            "pattern": r"^[a-z0-9][a-z0-9-]{0,63}$",
            "description": "the definition's id: small letters, digits and dashes",
        },
        "name": {"type": "string", "maxLength": 200},
        "description": {"type": "string", "maxLength": 4_000},
        "attributes": {**_map(NAME, _ATTRIBUTE, 200, "what may be known"), "minProperties": 1},
        "unknown": {
            "enum": ["refuse", "keep"],
            "description": "attributes that aren't declared: refused (the default), or kept encrypted",
        },
        "zone": {"type": "string", "pattern": NAME, "description": "the attribute that holds the time zone"},
        "channels": _map(CHANNEL, _CHANNEL, 20, "ways to reach a customer"),
        "caps": {
            "type": "array",
            "items": _CAP,
            "maxItems": 20,
            "description": "how often a customer is reached",
        },
        "classes": _map(CLASS, _CLASS, 20, "classes of messages that caps or consent treat in their own way"),
        "events": _map(
            EVENT_TYPE,
            {
                **_map(
                    NAME,
                    {"type": "string", "pattern": PATH, "description": "a path such as payload.email"},
                    50,
                    "attributes and where the event holds them",
                ),
                "minProperties": 1,
            },
            100,
            "raw event types that tell attributes",
        ),
    },
    "required": ["kind", "id", "attributes"],
    "additionalProperties": False,
}
