"""Opens and clicks of a mail: its web links lead through us, and a picture of one pixel is asked for."""

import re
from collections.abc import Callable
from html import escape, unescape
from html.parser import HTMLParser
from typing import Final

from consumers.actions.delivery_settings import LinkSettings
from consumers.actions.references import OPEN, Reference, leads_somewhere, make_click, make_reference

LINKS_MAX: Final = 200  # of one mail; those after them lead straight to where they point
_HREF = re.compile(r"""(?<![\w-])href\s*=\s*(?:"([^"]*)"|'([^']*)')""", re.IGNORECASE)
_END = re.compile(r"</body\s*>", re.IGNORECASE)


def tracked(html: str, reference: Reference, links: LinkSettings, keep: str = "") -> str:
    """The HTML with its links and picture as the settings ask for; `keep` is a link that stays as it is.

    Links in plain text, in comments and without quotes are left alone, and so is everything that is no web address.
    """
    if not links.base_url:
        return html
    base = links.base_url.rstrip("/")
    if links.track_clicks:

        def through_us(url: str) -> str:
            if url == keep or url.startswith(f"{base}/") or not leads_somewhere(url):
                return url
            return f"{base}/c/{make_click(reference, url, links.keys)}"

        html = _Anchors(html).rewritten(through_us)
    if links.track_opens:
        pixel = (
            f'<img src="{base}/o/{make_reference(reference, OPEN, links.keys)}.gif" width="1" height="1" alt=""'
            ' style="border:0;height:1px;width:1px">'
        )
        ends = list(_END.finditer(html))
        at = ends[-1].start() if ends else len(html)
        html = html[:at] + pixel + html[at:]
    return html


class _Anchors(HTMLParser):
    """Finds the links; the text between them stays as it was, letter by letter."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=False)
        self._html = html
        self._lines = [0]
        for line in html.split("\n"):
            self._lines.append(self._lines[-1] + len(line) + 1)
        self._found: list[tuple[int, str]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        text = self.get_starttag_text()
        if tag == "a" and text and len(self._found) < LINKS_MAX:
            line, column = self.getpos()
            self._found.append((self._lines[line - 1] + column, text))

    def rewritten(self, change: Callable[[str], str]) -> str:
        """The HTML with each link's address changed."""

        def replace(match: re.Match[str]) -> str:
            quoted = match[1] if match[1] is not None else match[2]
            url = unescape(quoted).strip()
            new = change(url)
            return match[0] if new == url else f'href="{escape(new)}"'

        parts, at = [], 0
        for start, text in self._found:
            if self._html[start : start + len(text)] != text:
                continue  # a parser that lost its place changes nothing
            parts += [self._html[at:start], _HREF.sub(replace, text, count=1)]
            at = start + len(text)
        return "".join([*parts, self._html[at:]])
