"""Tokens in links: they show nothing, can't be made up, and survive a change of keys."""

import re
from base64 import urlsafe_b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.actions.links import (
    InvalidToken,
    Subscription,
    make_token,
    read_token,
)
from consumers.actions.references import REPORT, Reference, make_reference, read_reference
from orchestrator.core.addresses import customer, parse_stream
from tests.effects.calling import STREAM
from tests.providers.stage import new_key

KEY = new_key()
ANNA = Subscription(customer("acme", "anna-4711"), "email", "welcome_email")
SEGMENT = st.text(min_size=1, max_size=20).filter(lambda text: "\x00" not in text and "@" not in text)


@given(SEGMENT, SEGMENT)
def test_a_token_says_whom_it_is_about(organization: str, identity: str) -> None:
    """Every customer there can be is found again, in a token that fits a URL's path as it is."""
    subscription = Subscription(customer(organization, identity), "email", "t")
    token = make_token(subscription, KEY)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", token)
    assert read_token(token, KEY) == subscription


def test_a_token_shows_nothing() -> None:
    """Neither the customer's id nor anything else can be read from a URL, encoded or not."""
    token = make_token(ANNA, KEY)
    raw = urlsafe_b64decode(token + "=" * (-len(token) % 4))
    for said in (b"anna", b"4711", b"acme", b"email", b"welcome"):
        assert said not in raw
        assert said.decode() not in token


def test_a_token_is_stable() -> None:
    """The same link for the same customer each time; another customer's, channel's or template's is another."""
    tokens = {
        make_token(one, KEY)
        for one in (
            ANNA,
            Subscription(customer("acme", "anna-4712"), "email", "welcome_email"),
            Subscription(customer("acme", "anna-4711"), "sms", "welcome_email"),
            Subscription(customer("acme", "anna-4711"), "email", "other"),
        )
    }
    assert len(tokens) == 4
    assert make_token(ANNA, KEY) in tokens


@given(st.integers(min_value=0), st.sampled_from("AZaz09_-"))
def test_a_changed_token_is_refused(at: int, character: str) -> None:
    """Nobody can turn a token into another customer's."""
    token = make_token(ANNA, KEY)
    at %= len(token) - 1  # the last character holds unused bits
    changed = token[:at] + character + token[at + 1 :]
    if changed != token:
        with pytest.raises(InvalidToken):
            read_token(changed, KEY)


@pytest.mark.parametrize("token", ["", "a", "äöü", "=" * 8, "A" * 5_000, "../../etc", "\x00", "AAAA"])
def test_nonsense_is_refused(token: str) -> None:
    """Whatever stands in the URL, reading it ends in one error."""
    with pytest.raises(InvalidToken):
        read_token(token, KEY)
    with pytest.raises(InvalidToken):
        read_reference(token, REPORT, KEY)


def test_keys_are_rotated() -> None:
    """While keys change, old links work; once a key is dropped, its links don't."""
    old, new = new_key(), new_key()
    token = make_token(ANNA, old)
    assert read_token(token, f"{new} {old}") == ANNA
    assert make_token(ANNA, f"{new} {old}") == make_token(ANNA, new) != token
    with pytest.raises(InvalidToken):
        read_token(token, new)


def test_purposes_are_apart() -> None:
    """A delivery report's token doesn't unsubscribe anybody, and the other way round."""
    reference = Reference(parse_stream(STREAM), "3-1", "send_welcome", "sms")
    report = make_reference(reference, REPORT, KEY)
    assert read_reference(report, REPORT, KEY) == reference
    assert "cus-1" not in report
    with pytest.raises(InvalidToken):
        read_token(report, KEY)
    with pytest.raises(InvalidToken):
        read_reference(make_token(ANNA, KEY), REPORT, KEY)
