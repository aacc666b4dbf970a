"""The JSON Schema (2020-12) of flow documents. Editors complete by it; `validation` lists its violations."""

from collections.abc import Mapping
from typing import Any, Final

from orchestrator.core.durations import PATTERN as DURATION
from orchestrator.customers.contact import CHANNEL, CLASS

ID: Final = r"^[a-z0-9][a-z0-9-]{0,63}$"
NODE_NAME: Final = r"^[a-z][a-z0-9_]{0,63}$"
BRANCH_NAME: Final = r"^[a-z][a-z0-9_-]{0,63}$"
EVENT_TYPE: Final = r"^[^\s*]{1,128}$"
VARIABLE: Final = r"^[A-Za-z_][A-Za-z0-9_-]{0,63}$"
PATH: Final = r"^[A-Za-z_][A-Za-z0-9_-]{0,63}(\.[A-Za-z0-9_-]{1,64}){0,7}$"
CLOCK: Final = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
KINDS: Final = ("start", "action", "condition", "split", "wait", "end")


def _object(properties: Mapping[str, Any], *required: str, **more: Any) -> dict[str, Any]:
    closed = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    return {**closed, "required": list(required), **more} if required else {**closed, **more}


def _map(names: str, values: Any, **more: Any) -> dict[str, Any]:
    return {"type": "object", "propertyNames": {"pattern": names}, "additionalProperties": values, **more}


def _list(items: Any, minimum: int = 1, maximum: int = 32) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": minimum, "maxItems": maximum}


def _text(pattern: str, description: str) -> dict[str, Any]:
    return {"type": "string", "pattern": pattern, "description": description}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/$defs/{name}"}


_TEXT = {"type": "string", "maxLength": 4_000}
_DURATION = _text(DURATION, "a span of time such as 500ms, 45s, 15m, 12h, 30d or 2w")
_EVENT = _text(EVENT_TYPE, "an event type")
_INSTANT = {"type": "string", "maxLength": 64, "description": "an instant such as 2026-12-24T08:00:00Z"}
_SEGMENT = {"type": "string", "minLength": 1, "maxLength": 128}
_RULE = {"description": "a JSONLogic rule"}
_VALUE = {"description": "JSON; an object with an operator as its only key is a JSONLogic rule"}
_NODE = _text(NODE_NAME, "the id of a node")
_BRANCH = _text(BRANCH_NAME, "the name of a branch: small letters, digits, '_' and '-'")
_ZONE = {"type": "string", "maxLength": 64, "description": "a time zone such as Europe/Berlin"}
_RETRY = _object(
    {
        "attempts": {"type": "integer", "minimum": 1, "maximum": 100},
        "initial": _DURATION,
        "factor": {"type": "number", "minimum": 1, "maximum": 10},
        "max": _DURATION,
        "jitter": {"type": "number", "minimum": 0, "maximum": 1},
    }
)
_ACTION = {
    "type": _text(r"^[a-z][a-z0-9_]{0,63}$", "what does it: send_email, webhook, publish, log …"),
    "params": {"type": "object", "maxProperties": 64, "additionalProperties": _VALUE},
    "retry": _RETRY,
    "timeout": _DURATION,
    "answer_within": _DURATION,
    "unknown": {"enum": ["retry", "fail", "skip", "ask"]},
    "at_most_once": {"type": "boolean", "description": "rather no result than a second call"},
}
_EVERY_NODE = {
    "kind": {"enum": list(KINDS)},
    "description": _TEXT,
    "position": _object({"x": {"type": "number"}, "y": {"type": "number"}}, "x", "y"),
    "max_visits": {"type": "integer", "minimum": 1, "maximum": 1_000},
}
_QUIET_OR_TRUE = {
    "allOf": [
        {"type": ["boolean", "object"]},
        {"if": {"type": "object"}, "then": _ref("quiet_hours")},
    ]
}


def _node(kind: str, properties: Mapping[str, Any], *required: str) -> dict[str, Any]:
    return {
        "if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]},
        "then": _object({**_EVERY_NODE, **properties}, "kind", *required),
    }


_NODES = [
    _node("start", {}),
    _node(
        "action",
        {
            "action": _text(r"^[a-z][a-z0-9_]{0,63}$", "the name of an action"),
            **_ACTION,
            "wait": {"type": "boolean", "description": "whether the run waits for the action's end"},
            "consent": {
                "type": "string",
                "maxLength": 64,
                "description": "the channel that has to be allowed",
            },
            "contact": _text(
                CHANNEL, "the channel by which it reaches the customer: allowed, and counted by caps"
            ),
            "class": _text(CLASS, "the class of the message, as the customer record's document names it"),
            "over_cap": {"enum": ["skip", "hold"], "description": "what becomes of it when a cap is used up"},
            "hold_for": _DURATION,
            "quiet_hours": _QUIET_OR_TRUE,
            "zone": _ZONE,
        },
    ),
    _node(
        "condition",
        {"branches": _list(_object({"id": _BRANCH, "when": _RULE, "description": _TEXT}, "id", "when"))},
        "branches",
    ),
    _node(
        "split",
        {
            "branches": _list(
                _object(
                    {
                        "id": _BRANCH,
                        "weight": {"type": "number", "minimum": 0, "maximum": 100},
                        "holdout": {"type": "boolean"},
                        "description": _TEXT,
                    },
                    "id",
                    "weight",
                ),
                minimum=2,
            ),
            "salt": {"type": "string", "maxLength": 64},
        },
        "branches",
    ),
    _node(
        "wait",
        {
            "for": _DURATION,
            "until": _VALUE,
            "local": _object(
                {
                    "at": _text(CLOCK, "a time of day such as 09:00"),
                    "weekdays": {
                        **_list({"enum": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]}, 1, 7),
                        "uniqueItems": True,
                    },
                },
                "at",
            ),
            "event": _object({"type": _EVENT, "match": _RULE}, "type"),
            "timeout": _DURATION,
            "quiet_hours": _QUIET_OR_TRUE,
            "zone": _ZONE,
        },
    ),
    _node("end", {"result": {"type": "string", "maxLength": 64}}),
]
_REENTRY = {
    "allOf": [
        {"type": ["string", "object"]},
        {"if": {"type": "string"}, "then": {"enum": ["once", "always"]}},
        {
            "if": {"type": "object"},
            "then": _object({"after": _DURATION, "key": _VALUE}, minProperties=1, maxProperties=1),
        },
    ]
}

SCHEMA: Final[Mapping[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Flow journey",
    "description": "A graph of nodes that each customer's runs walk through.",
    **_object(
        {
            "kind": {"const": "flow"},
            "id": _text(ID, "the definition's id: small letters, digits and dashes"),
            "name": {"type": "string", "maxLength": 200},
            "description": _TEXT,
            "events": {**_list(_EVENT, 0, 500), "uniqueItems": True},
            "context": _map(VARIABLE, True, maxProperties=64, description="variables and their first values"),
            "pii": _list(_text(PATH, "a path whose values are personal"), 0, 64),
            "zone": _ZONE,
            "quiet_hours": _ref("quiet_hours"),
            "entry": _list(_ref("entry")),
            "reentry": _REENTRY,
            "runs_at_once": {"type": "integer", "minimum": 1, "maximum": 20},
            "start_at": _INSTANT,
            "stop_at": _INSTANT,
            "exit": _list(_ref("exit"), 0),
            "goals": _list(_ref("goal"), 0),
            "record": _map(EVENT_TYPE, _map(PATH, _VALUE, maxProperties=64), maxProperties=100),
            "actions": _map(r"^[a-z][a-z0-9_]{0,63}$", _ref("action"), maxProperties=200),
            "nodes": _map(NODE_NAME, _ref("node"), minProperties=1, maxProperties=200),
            "edges": _list(_ref("edge"), 0, 1_000),
        },
        "kind",
        "id",
        "nodes",
        "edges",
    ),
    "$defs": {
        "quiet_hours": _object(
            {"from": _text(CLOCK, "a time of day"), "to": _text(CLOCK, "a time of day")}, "from", "to"
        ),
        "entry": _object(
            {
                "id": {"type": "string", "maxLength": 64},
                "event": _EVENT,
                "segment": _SEGMENT,
                "manual": {"const": True},
                "when": _RULE,
            }
        ),
        "exit": _object(
            {
                "id": {"type": "string", "maxLength": 64},
                "event": _EVENT,
                "segment_left": _SEGMENT,
                "when": _RULE,
                "reason": {"type": "string", "pattern": BRANCH_NAME},
            }
        ),
        "goal": _object(
            {
                "id": _text(BRANCH_NAME, "the goal's name"),
                "event": _EVENT,
                "when": _RULE,
                "within": _DURATION,
                "ends": {"type": "boolean", "description": "whether reaching it completes the run"},
            },
            "id",
            "event",
        ),
        "action": _object({**_ACTION, "description": _TEXT}, "type"),
        "edge": _object({"from": _NODE, "to": _NODE, "branch": _BRANCH}, "from", "to"),
        "node": {
            "type": "object",
            "properties": {"kind": _EVERY_NODE["kind"]},
            "required": ["kind"],
            "allOf": _NODES,
        },
    },
}
