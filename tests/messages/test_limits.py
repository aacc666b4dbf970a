"""No template, and no variable, makes a message cost more than its bounds."""

import tracemalloc

import pytest

from orchestrator.messages import PushMessage, RenderFailed, TemplateSyntax
from orchestrator.messages.render import PUSH_BYTES_MAX, SMS_CHARS_MAX, SUBJECT_CHARS_MAX
from tests.messages.writing import email, html, push, sms

LONG = "x" * 60_000
BOMBS = {
    "endless loop": "{% for i in (1..1000000000) %}x{% endfor %}",
    "loop in loop": "{% for i in (1..100) %}{% for j in (1..100) %}x{% endfor %}{% endfor %}",
    "long output": "{% for i in (1..1000) %}{{ a }}{% endfor %}",
    "long capture": "{% capture c %}{% for i in (1..1000) %}{{ a }}{% endfor %}{% endcapture %}",
    "doubling": "{% assign x = 'abcdefgh' %}{% for i in (1..100) %}{% assign x = x | append: x %}{% endfor %}",
    "squaring": "{% assign x = 9 %}{% for i in (1..100) %}{% assign x = x | times: x %}{% endfor %}{{ x }}",
    "chain of appends": "{{ a" + " | append: a" * 2_000 + " }}",
    "replace of nothing": "{{ a | replace: '', a }}",
    "long join": "{% assign l = b | split: '' %}{{ l | join: a }}",
    "long number": "{{ 99999999" + " | times: 99999999" * 600 + " }}",
    "range as list": "{{ (1..99999999999) | join: ',' }}",
    "range sorted": "{{ (1..99999999999) | sort }}",
    "range reversed": "{% assign r = (1..99999999999) | reverse %}",
    "many characters": "{{ a | split: '' | join: '' }}",
    "work in a loop": "{% for i in (1..1000) %}{% assign x = a | upcase | downcase %}{% endfor %}",
}


@pytest.mark.parametrize("source", BOMBS.values(), ids=BOMBS.keys())
def test_bombs_end_at_a_limit(source: str) -> None:
    """Loops, texts, lists, numbers and chains of filters end in a named failure before they take much memory."""
    tracemalloc.start()
    try:
        with pytest.raises(RenderFailed) as caught:
            html(source, a=LONG, b="x" * 900)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.reason == "over_limit"
    assert peak_bytes < 32 * 2**20


def test_deep_nesting_is_refused() -> None:
    """Blocks and variables are nested to a bounded depth."""
    with pytest.raises(TemplateSyntax, match="nesting"):
        html("{% if a %}" * 50 + "{% endif %}" * 50)
    deep: dict[str, object] = {}
    for _ in range(100):
        deep = {"a": deep}
    with pytest.raises(RenderFailed) as caught:
        sms("{{ a }}", a=deep)
    assert caught.value.reason == "over_limit"


def test_every_channel_has_its_length() -> None:
    """A text, subject or notification longer than its channel takes is refused before anybody is called."""
    assert sms("{{ a }}", a="x" * SMS_CHARS_MAX)
    assert email({"a": "x" * SUBJECT_CHARS_MAX}, subject="{{ a }}", text="x")
    assert isinstance(push({"a": "x" * (PUSH_BYTES_MAX - 200)}, body="{{ a }}"), PushMessage)
    for write in (
        lambda: sms("{{ a }}", a="x" * (SMS_CHARS_MAX + 1)),
        lambda: email({"a": "x" * (SUBJECT_CHARS_MAX + 1)}, subject="{{ a }}", text="x"),
        lambda: push({"a": "x" * PUSH_BYTES_MAX}, body="{{ a }}"),
        lambda: push({"a": "ü" * (PUSH_BYTES_MAX // 2)}, data={"x": "{{ a }}"}),
    ):
        with pytest.raises(RenderFailed) as caught:
            write()
        assert caught.value.reason == "over_limit"


def test_a_failed_render_leaves_the_next_one_its_budget() -> None:
    """The budget is each message's own: a template is used by many customers."""
    source = "{{ a | upcase }}"
    for _ in range(30):
        assert html(source, a=LONG) == LONG.upper()
