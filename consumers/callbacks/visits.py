"""What a customer's mail program or browser asks for: the picture of an open, the way of a click. Pure."""

from base64 import b64decode
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from consumers.actions.references import Reference
from consumers.callbacks.reports import Report, What

PIXEL: Final = b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
"""A transparent GIF of one pixel."""
_URL_SAFE: Final = "!#$%&'()*+,/:;=?@[]~-._"


def opened(reference: Reference, now_ms: int) -> Report:
    """The mail's picture was asked for: somebody, or their mail program, looked at it."""
    return Report(what=What.OPENED, reference=reference, time_ms=now_ms)


def clicked(reference: Reference, url: str, now_ms: int) -> Report:
    """A link of the message was followed."""
    return Report(what=What.CLICKED, reference=reference, time_ms=now_ms, url=url)


def is_visit(method: str, headers: Mapping[str, str]) -> bool:
    """Whether somebody asks, and not a program that looks ahead."""
    ahead = f"{headers.get('sec-purpose', '')} {headers.get('purpose', '')} {headers.get('x-moz', '')}"
    return method == "GET" and "prefetch" not in ahead.lower() and "preview" not in ahead.lower()


def location(url: str) -> str:
    """A URL as a header may hold it."""
    return quote(url, safe=_URL_SAFE)
