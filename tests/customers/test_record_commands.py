"""Commands to a record, and how their data is read."""

from typing import Any

import pytest

from orchestrator.core.errors import Malformed
from orchestrator.customers.record import RECORD
from orchestrator.customers.record.commands import (
    AddToken,
    Forget,
    Identify,
    RemoveToken,
    SetConsent,
    Suppress,
    Unsuppress,
)

HASH = "0" * 64


@pytest.mark.parametrize(
    ("type", "data", "command"),
    [
        ("identify", {"attributes": {"a": None}}, Identify({"a": None})),
        ("identify", {"attributes": {"a": 1}, "occurred": 5}, Identify({"a": 1}, 5)),
        ("consent", {"channel": "email", "granted": True}, SetConsent("email", granted=True)),
        (
            "consent",
            {"channel": "sms", "granted": False, "source": "shop/checkout: step 2", "occurred": 0},
            SetConsent("sms", granted=False, source="shop/checkout: step 2", occurred_ms=0),
        ),
        ("suppress", {"channel": "sms", "reason": "stop", "all": True}, Suppress("sms", "stop", all=True)),
        (
            "suppress",
            {"channel": "email", "reason": "hard_bounce", "address_hash": HASH},
            Suppress("email", "hard_bounce", HASH),
        ),
        ("suppress", {"channel": "email", "reason": "manual"}, Suppress("email", "manual")),
        ("unsuppress", {"channel": "email"}, Unsuppress("email")),
        ("unsuppress", {"channel": "email", "all": True}, Unsuppress("email", all=True)),
        ("device_token", {"platform": "fcm", "token": "t", "action": "add"}, AddToken("fcm", "t")),
        ("device_token", {"platform": "web", "token": "t", "action": "remove"}, RemoveToken("web", "t")),
        ("forget", {}, Forget()),
    ],
)
def test_commands_are_read(type: str, data: dict[str, Any], command: Any) -> None:
    """Each command's data becomes its typed form."""
    assert RECORD.parse(type, data) == command


@pytest.mark.parametrize(
    ("type", "data", "word"),
    [
        ("identify", {}, "attributes"),
        ("identify", {"attributes": {}}, "at least one"),
        ("identify", {"attributes": ["a"]}, "object"),
        ("identify", {"attributes": {"a": 1}, "occurred": "now"}, "occurred"),
        ("identify", {"attributes": {"a": 1}, "occurred": -1}, "occurred"),
        ("identify", {"attributes": {"a": 1}, "occured": 1}, "occured"),
        ("consent", {"channel": "email"}, "granted"),
        ("consent", {"channel": "email", "granted": "yes"}, "granted"),
        ("consent", {"granted": True}, "channel"),
        ("consent", {"channel": "E-Mail", "granted": True}, "channel"),
        ("consent", {"channel": "email", "granted": True, "source": "anna@example.com"}, "source"),
        ("suppress", {"channel": "email"}, "hard_bounce, complaint, stop, manual"),
        ("suppress", {"channel": "email", "reason": "bored"}, "reason"),
        ("suppress", {"channel": "email", "reason": "stop", "address_hash": "anna@example.com"}, "SHA-256"),
        ("suppress", {"channel": "email", "reason": "stop", "address_hash": HASH, "all": True}, "not both"),
        ("suppress", {"channel": "email", "reason": "stop", "all": 1}, "all"),
        ("unsuppress", {"channel": "email", "reason": "stop"}, "'reason'"),
        ("device_token", {"platform": "gcm", "token": "t", "action": "add"}, "fcm, apns, web"),
        ("device_token", {"platform": "fcm", "token": "", "action": "add"}, "token"),
        ("device_token", {"platform": "fcm", "token": "t" * 2_049, "action": "add"}, "2048"),
        ("device_token", {"platform": "fcm", "token": "t"}, "add, remove"),
        ("forget", {"why": 1}, "no fields"),
        ("destroy", {}, "identify, consent, suppress"),
    ],
)
def test_malformed_commands_name_the_field(type: str, data: dict[str, Any], word: str) -> None:
    """What doesn't have a command's shape is refused with the field's name, and never with an address."""
    with pytest.raises(Malformed, match=word) as malformed:
        RECORD.parse(type, data)
    assert "anna@" not in str(malformed.value)
    assert malformed.value.reason == ("unknown_type" if type == "destroy" else "malformed")
