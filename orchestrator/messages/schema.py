"""The JSON Schema (2020-12) of template documents."""

from collections.abc import Mapping
from typing import Any, Final

ID: Final = r"^[a-z0-9][a-z0-9_-]{0,63}$"
ADDRESS: Final = r"^[^\x00-\x1f\x7f]{3,320}$"
DATA_NAME: Final = r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$"
PART_CHARS_MAX: Final = 131_072
LINE_CHARS_MAX: Final = 2_000
CHANNELS: Final = ("email", "sms", "push")


def _object(properties: Mapping[str, Any], *required: str, **more: Any) -> dict[str, Any]:
    closed = {"type": "object", "properties": dict(properties), "additionalProperties": False, **more}
    return {**closed, "required": list(required)} if required else closed


def _liquid(chars_max: int, description: str) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "maxLength": chars_max, "description": description}


_ADDRESS = {"type": "string", "pattern": ADDRESS, "description": "an address: Shop <news@example.com>"}
_BY_CHANNEL = {
    "email": _object(
        {
            "subject": _liquid(LINE_CHARS_MAX, "the subject, in Liquid; one line"),
            "html": _liquid(PART_CHARS_MAX, "the HTML part, in Liquid; variables are escaped"),
            "mjml": _liquid(
                PART_CHARS_MAX, "the HTML part as MJML, in Liquid; becomes HTML when it is published"
            ),
            "text": _liquid(PART_CHARS_MAX, "the plain part, in Liquid"),
            "from": _ADDRESS,
            "reply_to": _ADDRESS,
            "list_unsubscribe": {
                "type": "boolean",
                "description": "whether the mail carries a one-click unsubscribe header",
            },
        },
        "subject",
    ),
    "sms": _object({"text": _liquid(LINE_CHARS_MAX, "the text, in Liquid")}, "text"),
    "push": _object(
        {
            "title": _liquid(LINE_CHARS_MAX, "the title, in Liquid"),
            "body": _liquid(LINE_CHARS_MAX, "the text, in Liquid"),
            "data": {
                "type": "object",
                "propertyNames": {"pattern": DATA_NAME},
                "additionalProperties": {"type": "string", "maxLength": LINE_CHARS_MAX},
                "maxProperties": 32,
                "description": "texts for the app, each in Liquid",
            },
        },
        "title",
        "body",
    ),
}

SCHEMA: Final[Mapping[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Message template",
    "description": "One message to one customer, written in Liquid.",
    **_object(
        {
            "kind": {"const": "template"},
            "id": {
                "type": "string",
                "pattern": ID,
                "description": "the template's id: small letters, digits, dashes and underscores",
            },
            "name": {"type": "string", "maxLength": 200},
            "description": {"type": "string", "maxLength": 4_000},
            "channel": {"enum": list(CHANNELS)},
            **_BY_CHANNEL,
            "sample": {
                "type": "object",
                "description": "variables for test-sends; with them the template must render",
            },
        },
        "kind",
        "id",
        "channel",
    ),
    "allOf": [
        {
            "if": {"properties": {"channel": {"const": channel}}, "required": ["channel"]},
            "then": {"required": [channel]},
        }
        for channel in CHANNELS
    ],
}
