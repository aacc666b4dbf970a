"""The JSON Schema (2020-12) of campaign documents."""

from collections.abc import Mapping
from typing import Any, Final

from orchestrator.messages.schema import CHANNELS, ID

VARIABLES_MAX: Final = 64
_TEMPLATE: Final = {
    "type": "string",
    "pattern": ID,
    "description": "the id of a published template of the channel",
}
_VERSION: Final = {"type": "integer", "minimum": 1, "description": "of the template; without it, the newest"}
_INSTANT: Final = {
    "type": "string",
    "minLength": 10,
    "maxLength": 40,
    "description": "an instant with its zone, such as 2026-03-01T08:00:00+01:00",
}

SCHEMA: Final[Mapping[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Campaign",
    "description": "One message to many customers, sent by the action trigger_campaign.",
    "type": "object",
    "properties": {
        "kind": {"const": "campaign"},
        "id": {
            "type": "string",
            "pattern": ID,
            "description": "the campaign's id: small letters, digits, dashes and underscores",
        },
        "name": {"type": "string", "maxLength": 200},
        "description": {"type": "string", "maxLength": 4_000},
        "channel": {"enum": list(CHANNELS), "description": "unless the action names another one"},
        "template": _TEMPLATE,
        "version": _VERSION,
        "alternatives": {
            "type": "object",
            "propertyNames": {"enum": list(CHANNELS)},
            "additionalProperties": {
                "type": "object",
                "properties": {"template": _TEMPLATE, "version": _VERSION},
                "required": ["template"],
                "additionalProperties": False,
            },
            "description": "templates for the other channels an action may name",
        },
        "variables": {
            "type": "object",
            "maxProperties": VARIABLES_MAX,
            "description": "values for the templates; an action's own come on top",
        },
        "active": {
            "type": "object",
            "properties": {"from": _INSTANT, "until": _INSTANT},
            "additionalProperties": False,
            "description": "when it may be sent; outside, the action fails",
        },
    },
    "required": ["kind", "id", "channel", "template"],
    "additionalProperties": False,
}
