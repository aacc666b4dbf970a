"""Variables are data: they can't become markup, Liquid or headers."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.messages import RenderFailed
from orchestrator.messages.liquid_filters import FILTERS
from tests.messages.writing import email, html, sms

EVIL = '<script>alert("x")</script>&\''
ARGUMENTS = {
    "append": "x", "prepend": "x", "remove": "'l'", "remove_first": "'l'", "remove_last": "'l'", "replace": "'l', x",
    "replace_first": "'l', x", "replace_last": "'l', x", "slice": "0, 40", "split": "'l'", "truncate": "30",
    "truncatewords": "2", "default": "x", "concat": "y", "join": "x", "map": "'a'", "where": "'a', x", "reject": "'a', 1",
    "find": "'a', x", "date": "'%Y'", "number": "", "at_least": "1", "at_most": "1", "plus": "1", "minus": "1",
    "times": "1", "divided_by": "1", "modulo": "2", "sum": "",
}  # fmt: skip
LISTS = {"compact", "concat", "find", "first", "join", "last", "map", "reject", "reverse", "sort", "sort_natural", "uniq",
         "where"}  # fmt: skip


@pytest.mark.parametrize("name", sorted(FILTERS))
def test_no_filter_lets_markup_through(name: str) -> None:
    """Whatever a filter makes of a variable, the HTML part holds no tag that the template didn't have."""
    source = f"{{{{ {'list' if name in LISTS else 'x'} | {name}{': ' + a if (a := ARGUMENTS.get(name)) else ''} }}}}"
    if name in {"map", "where", "find", "reject"}:
        source = source.replace("list", "rows")
        source = source.replace(" }}", " | map: 'a' }}") if name in {"where", "reject"} else source
        source = source.replace("{{ rows | find: 'a', x }}", "{% assign f = rows | find: 'a', x %}{{ f.a }}")
    try:
        found = html(f"<p>{source}</p>", x=EVIL, y=[EVIL], list=[EVIL, EVIL], rows=[{"a": EVIL}])
    except RenderFailed:
        assert name in {"date", "number", "sum"}, "the filter takes no text"
        return
    inner = found.strip().removeprefix("<p>").removesuffix("</p>").replace("<br />", "")
    assert not re.search(r"[<>\"']", inner), inner


@given(st.text(max_size=50))
def test_any_text_is_escaped_in_html(value: str) -> None:
    """No text a customer may have for a name ends the attribute or element it stands in."""
    found = html('<a title="{{ x }}">{{ x }}</a>', x=value)
    assert re.fullmatch(r'<a title="[^"<>]*">[^<>]*</a>', found, re.DOTALL)


@given(st.text(max_size=30))
def test_plain_texts_are_left_alone(value: str) -> None:
    """Where there is no markup there is nothing to escape: the plain part says what the variable says.

    Line ends become one kind, as in any mail.
    """
    lines = value.replace("\r\n", "\n").replace("\r", "\n")
    assert email({"x": value}, text="[{{ x }}]").text == f"[{lines}]"


def test_html_is_escaped_once() -> None:
    """A captured or joined piece isn't escaped again when it is written."""
    assert html("{% capture a %}{{ x }}{% endcapture %}{{ a }}", x="<") == "&lt;"
    assert html("{{ x | escape }}", x="<") == "&lt;"
    assert html("{{ list }}", list=["<", "a"]) == "&lt;a"
    assert html("{{ list | join: '<br>' }}", list=["<", "a"]) == "&lt;<br>a"


def test_variables_are_never_read_as_liquid() -> None:
    """A customer called `{{ secret }}` is called just that."""
    assert (
        sms("Hello {{ name }}", name="{{ secret }}{% include 'x' %}", secret="s")
        == "Hello {{ secret }}{% include 'x' %}"
    )


@pytest.mark.parametrize(
    "value", ["a\r\nBcc: x@example.com", "a\nb", "a\rb", "a\x00b", "a\x0bb", "a\u2028b", "a\x85b"]
)
def test_a_subject_has_one_line(value: str) -> None:
    """No variable can end the subject and begin a header."""
    with pytest.raises(RenderFailed) as caught:
        email({"name": value}, subject="Hello {{ name }}!", text="x")
    assert caught.value.reason == "line_break"


def test_a_subjects_ends_are_stripped() -> None:
    """The line end that YAML leaves after a folded text isn't a second line."""
    assert email(subject="Hello\n", text="x").subject == "Hello"
