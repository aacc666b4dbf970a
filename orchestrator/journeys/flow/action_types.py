"""What is known of the parameters of action types: their JSON types, and which of them are needed.

Types that aren't here may be used; workers outside may perform them.
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

_TEXT: Final = (str,)
_OBJECT: Final = (dict,)
_ANY: Final = (str, int, float, bool, dict, list, type(None))
_SCALAR: Final = (str, int, float, bool, type(None))
_NAMES: Final[Mapping[type, str]] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "an object",
    list: "a list",
    type(None): "null",
}


class ActionType(Struct, frozen=True):
    """Parameters by name and the JSON types they may have; `closed`: there are no others."""

    params: Mapping[str, tuple[type, ...]]
    needed: tuple[str, ...] = ()
    closed: bool = False


_MESSAGE: Final[dict[str, tuple[type, ...]]] = {"template": _TEXT, "version": (int,), "variables": _OBJECT}
CHANNELS: Final[Mapping[str, str]] = {"send_email": "email", "send_sms": "sms", "send_push": "push"}
"""Message actions go to the customer's address of a channel unless they say `to`."""
BY_CHANNEL: Final = ("trigger_campaign",)
"""Actions that choose the channel themselves get all addresses of the customer unless they say `to`."""
HTML: Final = "html"
"""The parameter of messages whose values must be escaped: they come as `variables`, never filled in by the flow."""
_DATA_ONLY: Final = (
    "webhook",
    "publish",
    "log",
    "award_points",
    "update_profile",
    "start_journey",
    "lookup_profile",
    "verify_id_token",
    "siteverify",
)
KNOWN: Final[Mapping[str, ActionType]] = {
    "webhook": ActionType(
        {"url": _TEXT, "method": _TEXT, "headers": _OBJECT, "body": _ANY, "secret": _TEXT},
        ("url",),
        closed=True,
    ),
    "publish": ActionType(
        {"topic": _TEXT, "key": _SCALAR, "value": _ANY, "headers": _OBJECT}, ("topic",), closed=True
    ),
    "log": ActionType({"message": _ANY, "level": _TEXT, "fields": _OBJECT}, ("message",), closed=True),
    "send_email": ActionType(
        _MESSAGE
        | dict.fromkeys(("to", "subject", "html", "text", "from", "reply_to"), _TEXT)
        | {"list_unsubscribe": (bool,)},
        closed=True,
    ),
    "send_sms": ActionType(_MESSAGE | {"to": _TEXT, "message": _TEXT}, closed=True),
    "send_push": ActionType(
        _MESSAGE | {"to": (list,), "title": _TEXT, "body": _TEXT, "data": _OBJECT}, closed=True
    ),
    "award_points": ActionType(
        {"points": (int, float), "reason": _TEXT, "reference": _TEXT, "ledger": _TEXT},
        ("points", "reason"),
        closed=True,
    ),
    "trigger_campaign": ActionType(
        {"campaign_id": (str, int), "channel": _TEXT, "variables": _OBJECT, "to": _OBJECT},
        ("campaign_id",),
        closed=True,
    ),
    "update_profile": ActionType({"attributes": _OBJECT, "record": _TEXT}, ("attributes",), closed=True),
    "lookup_profile": ActionType(
        {"url": _TEXT, "secret": _TEXT, "attributes": (list,), "record": _TEXT}, ("url",), closed=True
    ),
    "verify_id_token": ActionType(
        dict.fromkeys(("provider", "token", "subject"), _TEXT), ("provider", "token"), closed=True
    ),
    "siteverify": ActionType(
        dict.fromkeys(("provider", "token", "remote_ip"), _TEXT), ("provider", "token"), closed=True
    ),
    "start_journey": ActionType(
        {"journey": _TEXT, "kind": _TEXT, "context": _OBJECT}, ("journey",), closed=True
    ),
}


def reads_liquid(type: str, param: str) -> bool:
    """Whether what performs the action may read a text of this parameter as a template."""
    return type not in _DATA_ONLY and param not in {"variables", "to"}


def fits(value: Any, types: tuple[type, ...]) -> bool:
    """Whether a constant has one of the JSON types."""
    if isinstance(value, bool):
        return bool in types
    if isinstance(value, int) and float in types:
        return True
    return isinstance(value, types)


def named(types: tuple[type, ...]) -> str:
    """The JSON types in words."""
    return " or ".join(_NAMES[one] for one in types)
