"""MJML to HTML, once, when a template is published. Needs the optional library `mjml-python`."""

import re

from orchestrator.messages.errors import MjmlInvalid

MESSAGE_CHARS_MAX = 300
_MJ_TAG = re.compile(r"<(mj-[a-z-]+)")


def html_of(source: str) -> str:
    """The HTML of an MJML source; Liquid in it stays as it is. Raises MjmlInvalid. Includes are refused."""
    try:
        from mjml import mjml2html  # noqa: PLC0415  optional, and only publishers need it
    except ImportError as error:
        raise MjmlInvalid(
            "MJML needs the library mjml-python, which isn't installed; install it, or write `html`"
        ) from error
    if "<mj-include" in source:
        raise MjmlInvalid("mj-include reads other files; write their content out")
    try:
        html = str(mjml2html(source, disable_comments=True, fonts={}))
    except ValueError as error:
        raise MjmlInvalid(str(error)[:MESSAGE_CHARS_MAX]) from error
    if (unknown := _MJ_TAG.search(html)) is not None:  # the library hands on what it doesn't know
        raise MjmlInvalid(f"{unknown.group(1)} is no MJML component, or stands where it may not")
    return html
