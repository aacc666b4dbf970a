"""Links and picture of a mail: what is changed, and that nothing else is."""

import re
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.actions.delivery_settings import LinkSettings
from consumers.actions.references import OPEN, read_click, read_reference
from consumers.actions.tracking import LINKS_MAX, tracked
from tests.callbacks.stand import MAIL, PUBLIC
from tests.providers.stage import new_key

KEYS = new_key()
BOTH = LinkSettings(base_url=PUBLIC, keys=KEYS, track_opens=True, track_clicks=True)
CLICKS = LinkSettings(base_url=PUBLIC, keys=KEYS, track_clicks=True)
KEEP = f"{PUBLIC}/u/token"


def leads_to(html: str) -> list[str]:
    """Where the links of a mail lead through us, in order."""
    tokens = re.findall(rf'href="{re.escape(PUBLIC)}/c/([A-Za-z0-9_-]+)"', html)
    return [read_click(token, KEYS)[1] for token in tokens]


def test_links_lead_through_us() -> None:
    """Web links in either kind of quotes are changed, character references read, the text around them kept."""
    html = (
        '<p>Ünder\n<a class="x" href="https://example.com/a?b=1&amp;c=2">one</a>'
        "<A HREF='http://example.com/ü' data-href=\"keep\">two</A></p>"
    )
    changed = tracked(html, MAIL, CLICKS)
    assert leads_to(changed) == ["https://example.com/a?b=1&c=2", "http://example.com/ü"]
    assert re.sub(r'href="https://links[^"]*"', "H", changed) == (
        '<p>Ünder\n<a class="x" H>one</a><A H data-href="keep">two</A></p>'
    )
    assert {read_click(t, KEYS)[0] for t in re.findall(r"/c/([\w-]+)", changed)} == {MAIL}


@pytest.mark.parametrize(
    "html",
    [
        f'<a href="{KEEP}">no more mails</a>',
        '<a href="mailto:help@example.com">help</a>',
        '<a href="tel:+491511234">call</a>',
        '<a href="#top">top</a>',
        '<a href="javascript:x">x</a>',
        '<a name="x">x</a>',
        "<a href=https://example.com/unquoted>x</a>",
        '<!-- <a href="https://example.com/">comment</a> -->',
        '<style>a[href="https://example.com/"] {}</style>',
        '<img src="https://example.com/x.png"><link href="https://example.com/x.css">',
        f'<a href="https://example.com/{"x" * 3_000}">long</a>',
        "plain < text & nothing",
        "",
    ],
)
def test_everything_else_stays(html: str) -> None:
    """What is no web link of the mail is left letter by letter, the link to unsubscribe first of all."""
    assert tracked(html, MAIL, CLICKS, keep=KEEP) == html


def test_nothing_is_tracked_unasked() -> None:
    """Without the settings a mail goes out as it was written."""
    html = '<body><a href="https://example.com/">x</a></body>'
    for links in (LinkSettings(), LinkSettings(keys=KEYS), LinkSettings(base_url=PUBLIC, keys=KEYS)):
        assert tracked(html, MAIL, links) == html


@pytest.mark.parametrize(
    ("html", "before", "after"),
    [("<body>x</body></html>", "<body>x", "</body></html>"), ("<p>x</p>", "<p>x</p>", "")],
)
def test_a_picture_at_the_end(html: str, before: str, after: str) -> None:
    """One picture, at the end of the body, whose address names the mail to us alone."""
    links = LinkSettings(base_url=f"{PUBLIC}/", keys=KEYS, track_opens=True)
    changed = tracked(html, MAIL, links)
    assert changed.startswith(f'{before}<img src="{PUBLIC}/o/')
    assert changed.endswith(f">{after}")
    (token,) = re.findall(r"/o/([\w-]+)\.gif", changed)
    assert read_reference(token, OPEN, KEYS) == MAIL
    assert 'alt=""' in changed


def test_a_mail_of_many_links() -> None:
    """The number of links that lead through us is bounded; those after it lead straight on."""
    html = "".join(f'<a href="https://example.com/{n}">x</a>' for n in range(LINKS_MAX + 5))
    changed = tracked(html, MAIL, CLICKS)
    assert len(leads_to(changed)) == LINKS_MAX
    assert f'href="https://example.com/{LINKS_MAX}"' in changed


PIECES = st.lists(
    st.one_of(
        st.text(alphabet="<>ab=\"'/! -\n&;ü", max_size=12),
        st.sampled_from(
            ['<a href="https://example.com/x">', "</a>", "<!--", "-->", "<script>", "<br/>", "&amp;", "<a"]
        ),
    ),
    max_size=12,
).map("".join)


@given(PIECES)
def test_broken_html_is_never_made_worse(html: str) -> None:
    """Whatever a template holds, taking our addresses back out gives what was there, and nothing is raised."""
    changed = tracked(html, MAIL, CLICKS)

    def back(match: re.Match[str]) -> str:
        return f'href="{read_click(match[1], KEYS)[1]}"'

    restored = re.sub(rf'href="{re.escape(PUBLIC)}/c/([A-Za-z0-9_-]+)"', back, changed)
    assert unescape(restored) == unescape(html)


@given(PIECES)
def test_a_tracked_mail_stays_so(html: str) -> None:
    """Links that lead through us already aren't led through us twice."""
    once = tracked(html, MAIL, CLICKS)
    assert tracked(once, MAIL, CLICKS) == once


def test_both_at_once() -> None:
    """Links and picture together, as an installation that wants both has them."""
    changed = tracked('<body><a href="https://example.com/">x</a></body>', MAIL, BOTH)
    assert leads_to(changed) == ["https://example.com/"]
    assert changed.count("<img") == 1
