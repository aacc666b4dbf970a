"""A message is whole or it isn't one: what is missing is named, and never written as nothing."""

from typing import Any

import pytest

from orchestrator.messages import MissingVariable, RenderFailed
from tests.messages.writing import email, html, push, sms

WRITES = [
    "{{ customer.first_name }}",
    "Dear {{ customer.first_name | upcase }},",
    "{{ 'Dear ' | append: customer.first_name }}",
    "{{ customer.first_name | plus: 1 }}",
    "{{ customer.first_name | size }}",
    "{% for letter in customer.first_name %}{{ letter }}{% endfor %}",
    "{% assign name = customer.first_name %}{{ name }}",
    "{% echo customer.first_name %}",
    "{% liquid\n echo customer.first_name %}",
    "{% capture name %}{{ customer.first_name }}{% endcapture %}{{ name }}",
    "{{ customer['first_name'] }}",
]


@pytest.mark.parametrize("source", WRITES)
@pytest.mark.parametrize(
    "variables",
    [{}, {"customer": {}}, {"customer": {"first_name": None}}, {"customer": None}],
    ids=["nothing", "no field", "null", "null above"],
)
def test_a_missing_variable_is_named(source: str, variables: dict[str, Any]) -> None:
    """Whatever a template does with a variable that is absent or null, no message comes of it."""
    with pytest.raises(MissingVariable) as caught:
        sms(f"Hello {source}", **variables)
    assert caught.value.path in {"customer.first_name", "customer", "name"}
    assert caught.value.reason == "missing_variable"


@pytest.mark.parametrize("variables", [{}, {"customer": {}}, {"customer": {"first_name": None}}])
def test_the_whole_path_is_named(variables: dict[str, Any]) -> None:
    """Whoever reads the failure knows which attribute to provide, in which part and line."""
    with pytest.raises(MissingVariable, match=r"^text: no customer(\.first_name)? \(line 2, column 4\)$"):
        sms("Hello\n{{ customer.first_name }}", **variables)


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("{{ customer.first_name | default: 'friend' }}", "friend"),
        ("{{ customer.first_name | default: 'friend' | upcase }}", "FRIEND"),
        ("{% if customer.first_name %}yes{% else %}no{% endif %}", "no"),
        ("{% unless customer.first_name %}no{% endunless %}", "no"),
        ("{% if customer.first_name == nil %}no{% endif %}", "no"),
        ("{% if customer.first_name != nil %}yes{% else %}no{% endif %}", "no"),
        ("{% if customer.first_name == blank %}no{% endif %}", "no"),
        ("{% if customer.first_name != blank %}yes{% else %}no{% endif %}", "no"),
        ("{% if blank == customer.first_name %}no{% endif %}", "no"),
        ("{% if customer.first_name == empty %}no{% endif %}", "no"),
        ("{% if a %}1{% elsif customer.first_name != blank %}yes{% else %}no{% endif %}", "no"),
        ("{% for i in (1..1) %}{% if customer.first_name == blank %}no{% endif %}{% endfor %}", "no"),
        ("{% if customer.first_name == 'Anna' or b == blank %}no{% endif %}", "no"),
        ("{% case customer.first_name %}{% when 'Anna' %}yes{% else %}no{% endcase %}", "no"),
    ],
)
@pytest.mark.parametrize("customer", [{}, {"first_name": None}], ids=["absent", "null"])
def test_what_may_be_missing_can_be_asked_about(source: str, shown: str, customer: dict[str, Any]) -> None:
    """`default`, `if`, `unless`, `case` and comparisons are how a template says that it can do without."""
    assert sms(source, customer=customer) == shown


def test_present_values_compare_with_blank_as_ever() -> None:
    """Mending the comparison of what is absent leaves that of what is there."""
    source = "{% if a == blank %}blank{% else %}full{% endif %}"
    assert [sms(source, a=value) for value in ("", "  ", "x", [], [1])] == [
        "blank",
        "blank",
        "full",
        "blank",
        "full",
    ]


@pytest.mark.parametrize(
    "source", ["{{ names }}", "{{ names | join: ', ' }}", "{% for n in names %}{{ n }}{% endfor %}"]
)
def test_a_list_with_a_hole_is_no_text(source: str) -> None:
    """Null inside a list isn't written as nothing, nor as somebody's word for it."""
    with pytest.raises(MissingVariable):
        sms(f"Hello {source}", names=["Anna", None])


def test_an_empty_lists_first_is_missing() -> None:
    """A filter that finds nothing gives nothing to write."""
    with pytest.raises(MissingVariable):
        sms("Hello {{ names | first }}", names=[])


@pytest.mark.parametrize("value", [{"a": 1}, [{"a": 1}]])
def test_an_object_is_no_text(value: object) -> None:
    """A template that writes an object out is mistaken: nobody is to read its braces."""
    with pytest.raises(RenderFailed) as caught:
        sms("Hello {{ customer }}", customer=value)
    assert caught.value.reason == "not_text"
    assert "customer" in str(caught.value)


@pytest.mark.parametrize("text", ["", "   \n", "{% if a %}x{% endif %}"])
def test_an_empty_message_is_none(text: str) -> None:
    """A text, subject, title or body of which nothing is left is a failure, not an empty message."""
    for write in (
        lambda: sms(text),
        lambda: email(subject=text, text="x"),
        lambda: push(title=text),
        lambda: push(body=text),
    ):
        with pytest.raises(RenderFailed) as caught:
            write()
        assert caught.value.reason == "empty_text"


def test_one_missing_part_leaves_no_message() -> None:
    """A mail whose plain part fails isn't sent with its HTML part alone."""
    with pytest.raises(MissingVariable, match=r"^text: "):
        email({"a": 1}, html="{{ a }}", text="{{ b }}")
    with pytest.raises(MissingVariable, match=r"^data/link: "):
        push(data={"link": "/offers/{{ id }}"})


def test_failures_quote_no_values() -> None:
    """What a filter failed on may be personal: a failure names the filter and the place alone."""
    with pytest.raises(RenderFailed) as caught:
        html("{{ name | date: '%Y' }}", name="canary@example.com")
    assert caught.value.reason == "template_failed"
    assert "canary" not in str(caught.value)
    assert "date" in str(caught.value)
    with pytest.raises(RenderFailed) as caught:
        html("{{ names | uniq: name }}", names=["canary", 3], name="canary")
    assert "canary" not in str(caught.value)
