"""What may be published as a record document."""

import copy
from typing import Any

import pytest

from orchestrator.customers.record import RECORD
from tests.customers.specs import PROFILE, problems


def changed(path: str, value: Any) -> dict[str, Any]:
    document = copy.deepcopy(PROFILE.definition.document)
    *around, last = path.split("/")
    place: Any = document
    for step in around:
        place = place[step]
    place[last] = value
    return document


@pytest.mark.parametrize(
    ("path", "value", "pointer"),
    [
        ("zone", "zone", "/zone"),
        ("zone", "orders", "/zone"),
        ("channels/email/address", "mail", "/channels/email/address"),
        ("channels/email/address", "country", "/channels/email/address"),
        ("channels/email/address", "orders", "/channels/email/address"),
        ("channels/email", {"address": "email", "tokens": ["fcm"]}, "/channels/email"),
        ("channels/push/tokens", ["gcm"], "/channels/push/tokens/0"),
        ("events/USER_CREATED/mail", "payload.mail", "/events/USER_CREATED/mail"),
        ("events/USER_CREATED/email", "email", "/events/USER_CREATED/email"),
        ("attributes/orders/max_length", 3, "/attributes/orders/max_length"),
        ("attributes/email/type", "text", "/attributes/email/type"),
        ("attributes/email", {"type": "string"}, "/attributes/email"),
        ("attributes/two words", {"type": "string", "pii": True}, "/attributes"),
        ("unknown", "drop", "/unknown"),
        ("attributes", {}, "/attributes"),
    ],
)
def test_problems_are_placed(path: str, value: Any, pointer: str) -> None:
    """What is wrong with a document is found at publishing, with its place."""
    assert pointer in problems(RECORD, changed(path, value))


def test_every_problem_is_listed() -> None:
    """One mistake doesn't hide another."""
    document = changed("zone", "zon")
    document["channels"]["sms"]["address"] = "fone"
    document["events"]["USER_CREATED"]["mail"] = "payload.mail"
    assert problems(RECORD, document) == ["/zone", "/channels/sms/address", "/events/USER_CREATED/mail"]


def test_undeclared_attributes_may_be_told_where_they_are_kept() -> None:
    """A mapping to an attribute nobody declared is good if such are kept."""
    document = changed("events/USER_CREATED/mail", "payload.mail") | {"unknown": "keep"}
    assert problems(RECORD, document) == []
