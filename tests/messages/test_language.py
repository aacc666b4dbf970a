"""The language of templates: what is in it, what is left out, and that it always says the same."""

import os
import time

import pytest

from orchestrator.messages import RenderFailed, TemplateSyntax
from orchestrator.messages.liquid_filters import FILTERS
from orchestrator.messages.sources import mistakes, parsed
from tests.messages.writing import sms


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("{{ 1250 | number }}", "1,250"),
        ("{{ 1234567.891 | number: 2 }}", "1,234,567.89"),
        ("{{ 1234567.891 | number: 2, '.', ',' }}", "1.234.567,89"),
        ("{{ -1250 | number: 0 }}", "-1,250"),
        ("{{ '2026-03-29T01:30:00Z' | date: '%d.%m.%Y %H:%M' }}", "29.03.2026 01:30"),
        ("{{ '2026-03-29T01:30:00Z' | date: '%H:%M', 'Europe/Berlin' }}", "03:30"),
        ("{{ 1774747800000 | date: '%Y-%m-%d %H:%M' }}", "2026-03-29 01:30"),
        ("{{ '2026-12-24' | date: '%A, %d %B' }}", "Thursday, 24 December"),
        ("{% for x in list reversed %}{{ x }}{% unless forloop.last %}, {% endunless %}{% endfor %}", "2, 1"),
        ("{{ true }} {{ 3 }} {{ 2.5 }} {{ list }}", "true 3 2.5 12"),
        (
            "{% assign n = 3 | times: 4 %}{{ n }}{% comment %}no{% endcomment %}{% raw %}{{ x }}{% endraw %}",
            "12{{ x }}",
        ),
    ],
)
def test_what_templates_say(source: str, shown: str) -> None:
    """The documented filters and tags give the documented texts."""
    assert sms(source, list=[1, 2]) == shown


@pytest.mark.parametrize("moment", ["now", "today"])
def test_there_is_no_present(moment: str) -> None:
    """A message can't depend on when it is rendered: retries and test-sends say the same."""
    with pytest.raises(RenderFailed):
        sms(f"{{{{ '{moment}' | date: '%Y' }}}}")
    with pytest.raises(RenderFailed):
        sms("{{ '10:30' | date: '%Y' }}")


def test_the_machines_zone_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A number of milliseconds is shown in UTC wherever the runner stands."""
    shown = []
    try:
        for zone in ("UTC", "Pacific/Auckland"):
            monkeypatch.setenv("TZ", zone)
            time.tzset()
            shown.append(sms("{{ 0 | date: '%d %H:%M' }}"))
    finally:
        monkeypatch.delenv("TZ")
        os.environ.pop("TZ", None)
        time.tzset()
    assert shown == ["01 00:00", "01 00:00"]


@pytest.mark.parametrize(
    "tag", ["include 'x'", "render 'x'", "tablerow i in a", "increment a", "extends 'x'", "block a"]
)
def test_templates_read_no_other_files(tag: str) -> None:
    """Tags that read files or keep state are unknown."""
    (mistake,) = mistakes(f"a\n{{% {tag} %}}")
    assert f"unknown tag {tag.split(maxsplit=1)[0]}" in str(mistake)
    assert (mistake.line, mistake.column) == (2, 4)


@pytest.mark.parametrize("name", ["safe", "escapejs", "base64_decode", "money", "t"])
def test_filters_that_are_left_out(name: str) -> None:
    """Filters that would lift the escaping, or that nobody promised, are unknown."""
    assert name not in FILTERS
    (mistake,) = mistakes(f"{{{{ x | {name} }}}}")
    assert f"unknown filter {name}" in str(mistake)
    with pytest.raises(TemplateSyntax):
        parsed(f"{{{{ x | {name} }}}}", html=True)


def test_all_unknown_names_are_listed() -> None:
    """A template with several unknown filters or tags is told about all of them, each with its place."""
    found = [(m.line, m.column, str(m)) for m in mistakes("{{ x | money }}\n  {{ y | upcas }}")]
    assert [(line, column) for line, column, _ in found] == [(1, 8), (2, 10)]
    assert "did you mean upcase?" in found[1][2]
    assert len(mistakes("{% foo %}{% bar %}")) == 2


@pytest.mark.parametrize(
    ("source", "line", "column"),
    [
        ("a\n {{ x ", 2, 2),
        ("a\n b {{ x | }}", 2, 4),
        ("{% if %}", 1, 4),
        ("x {% endif %}", 1, 6),
        ("{% if x %}", None, None),
        ("{{ x | upcase: }} {{ a..b }}", 1, 23),
    ],
)
def test_broken_syntax_has_its_place(source: str, line: int | None, column: int | None) -> None:
    """A mistake of syntax is placed by line and column, as far as anybody can say."""
    (mistake,) = mistakes(source)
    assert (mistake.line, mistake.column) == (line, column)


def test_what_a_template_reads() -> None:
    """The variables from outside are known without rendering; names the template makes itself aren't among them."""
    source = "{% assign a = cart.total %}{{ a }}{% for i in cart.items %}{{ i.name }}{% endfor %}{{ customer['name'] }}"
    assert parsed(source).reads == ("cart.items", "cart.total", "customer.name")


def test_importing_messages_is_quick() -> None:
    """The language's library is imported with the first template, not with the program."""
    import subprocess
    import sys

    code = "import sys, orchestrator.messages; sys.exit(any(m.split('.')[0] in ('liquid', 'mjml') for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
