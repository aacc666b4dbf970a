"""The JSON Schema (2020-12) of lifecycle documents. Editors complete by it; `validation` lists its violations."""

from collections.abc import Mapping
from typing import Any, Final

from orchestrator.core.durations import PATTERN as DURATION

STATE_NAME: Final = r"^[A-Za-z][A-Za-z0-9_-]{0,63}$"
STATE_PATH: Final = r"^[A-Za-z][A-Za-z0-9_-]{0,63}(\.[A-Za-z][A-Za-z0-9_-]{0,63}){0,7}$"
EVENT_TYPE: Final = r"^[^\s*]{1,128}$"
ACTION_NAME: Final = r"^[a-z][a-z0-9_]{0,63}$"
VARIABLE: Final = r"^[A-Za-z_][A-Za-z0-9_-]{0,63}$"
PATH: Final = r"^[A-Za-z_][A-Za-z0-9_-]{0,63}(\.[A-Za-z0-9_-]{1,64}){0,7}$"
ID: Final = r"^[a-z0-9][a-z0-9-]{0,63}$"


def _object(properties: Mapping[str, Any], *required: str, **more: Any) -> dict[str, Any]:
    closed = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    return {**closed, "required": list(required), **more} if required else {**closed, **more}


def _map(names: str, values: Any, **more: Any) -> dict[str, Any]:
    return {"type": "object", "propertyNames": {"pattern": names}, "additionalProperties": values, **more}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/$defs/{name}"}


def _text(pattern: str, description: str) -> dict[str, Any]:
    return {"type": "string", "pattern": pattern, "description": description}


_DURATION = _text(DURATION, "a span of time such as 500ms, 45s, 15m, 12h, 30d or 2w")
_RULE = {
    "description": "a JSONLogic rule over state, stepIndex, lastEventAt, the context, event and customer"
}
_VALUE = {"description": "JSON; an object with an operator as its only key is a JSONLogic rule"}
_NAMES = {"type": "array", "items": _text(ACTION_NAME, "the name of an action"), "maxItems": 32}
_TYPES = {"type": "array", "items": _text(EVENT_TYPE, "an event type"), "maxItems": 500, "uniqueItems": True}
_SETS = _map(PATH, _VALUE, maxProperties=64)
_SEND = _object({"event": _text(EVENT_TYPE, "the event the journey sends itself")}, "event")
_ONE_OF_US = {
    "allOf": [
        {"type": ["string", "object", "array"]},
        {"if": {"type": "string"}, "then": {"pattern": STATE_PATH}},
        {"if": {"type": "object"}, "then": _ref("transition")},
        {"if": {"type": "array"}, "then": {"items": _ref("transition"), "minItems": 1, "maxItems": 64}},
    ]
}
_IN_STATES = {
    "initial": _text(STATE_NAME, "the child that is entered first"),
    "states": _map(STATE_NAME, _ref("state"), minProperties=1, maxProperties=200),
    "on": _map(
        r"^[^\s]{1,128}$", _ONE_OF_US, description="transitions by event type; `*` is any listed type"
    ),
    "after": _ref("after"),
}
_RETRY = _object(
    {
        "attempts": {"type": "integer", "minimum": 1, "maximum": 100},
        "initial": _DURATION,
        "factor": {"type": "number", "minimum": 1, "maximum": 10},
        "max": _DURATION,
        "jitter": {"type": "number", "minimum": 0, "maximum": 1},
    }
)
_EVERY_ACTION = {
    "type": {"enum": ["webhook", "publish", "log"]},
    "description": {"type": "string"},
    "retry": _RETRY,
    "timeout": _DURATION,
    "answer_within": _DURATION,
    "at_most_once": {"type": "boolean", "description": "rather no result than a second call"},
    "unknown": {"enum": ["retry", "fail"]},
    "on_success": _ref("sent"),
    "on_failure": _ref("sent"),
}


def _action(type: str, properties: Mapping[str, Any], *required: str) -> dict[str, Any]:
    return {
        "if": {"properties": {"type": {"const": type}}, "required": ["type"]},
        "then": _object({**_EVERY_ACTION, **properties}, *required),
    }


SCHEMA: Final[Mapping[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Lifecycle journey",
    "description": "A state machine for each customer, fed by what the customer does.",
    **_object(
        {
            "kind": {"const": "lifecycle"},
            "id": _text(ID, "the definition's id: small letters, digits and dashes"),
            "name": {"type": "string", "maxLength": 200},
            "description": {"type": "string", "maxLength": 4_000},
            "events": {**_TYPES, "minItems": 1, "description": "raw event types its journeys listen to"},
            "context": _map(VARIABLE, True, maxProperties=64, description="variables and their first values"),
            "pii": {"type": "array", "items": {"type": "string", "pattern": PATH}, "maxItems": 64},
            "record": _map(EVENT_TYPE, _SETS, description="values set by an event type in every state"),
            "actions": _map(ACTION_NAME, _ref("action"), maxProperties=200),
            **_IN_STATES,
            "initial": _text(STATE_PATH, "the state a journey begins in"),
        },
        "kind",
        "id",
        "events",
        "initial",
        "states",
    ),
    "$defs": {
        "state": _object(
            {
                "description": {"type": "string"},
                "terminal": {"type": "boolean"},
                "entry": _NAMES,
                "exit": _NAMES,
                "triggers": _ref("triggers"),
                **_IN_STATES,
            }
        ),
        "transition": _object(
            {
                "description": {"type": "string"},
                "target": _text(STATE_PATH, "the full name of a state, such as CHECKOUT.PAYMENT"),
                "when": _RULE,
                "set": _SETS,
                "actions": _NAMES,
            }
        ),
        "after": _object(
            {
                "delay": _DURATION,
                "target": _text(STATE_PATH, "the full name of a state"),
                "set": _SETS,
                "actions": _NAMES,
            },
            "delay",
            "target",
        ),
        "triggers": _object(
            {"id": {"type": "string", "maxLength": 128}, "events": _TYPES, "when": _RULE, "actions": _NAMES},
            "events",
        ),
        "sent": {
            "allOf": [
                {"type": ["string", "object"]},
                {"if": {"type": "string"}, "then": {"const": "ignore"}},
                {"if": {"type": "object"}, "then": _SEND},
            ]
        },
        "action": {
            "type": "object",
            "properties": {"type": _EVERY_ACTION["type"]},
            "required": ["type"],
            "allOf": [
                _action(
                    "webhook",
                    {
                        "url": _VALUE,
                        "method": {"enum": ["POST", "PATCH"]},
                        "headers": {"type": "object", "additionalProperties": _VALUE, "maxProperties": 50},
                        "body": _VALUE,
                        "secret": _text(
                            r"^[A-Za-z0-9_.-]{1,64}$", "the name of a secret in the worker's settings"
                        ),
                    },
                    "url",
                ),
                _action(
                    "publish",
                    {
                        "topic": _text(r"^[a-zA-Z0-9._-]{1,249}$", "a Kafka topic"),
                        "key": _VALUE,
                        "value": _VALUE,
                        "headers": {"type": "object", "additionalProperties": _VALUE, "maxProperties": 50},
                    },
                    "topic",
                ),
                _action(
                    "log",
                    {
                        "message": _VALUE,
                        "level": {"enum": ["debug", "info", "warning", "error"]},
                        "fields": {"type": "object", "additionalProperties": _VALUE, "maxProperties": 50},
                    },
                    "message",
                ),
            ],
        },
    },
}
