"""A template document compiled: which of its texts are Liquid, and which of those are HTML."""

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.messages.mjml import html_of
from orchestrator.messages.model import Compiled
from orchestrator.messages.sources import parsed


def compile_document(document: Mapping[str, Any]) -> Compiled:
    """What `render` takes. Expects a document without errors; raises TemplateSyntax or MjmlInvalid otherwise."""
    channel = document["channel"]
    fields = document[channel]
    parts = {name: parsed(source, html=name == "html") for name, _, source in sources(channel, fields)}
    return Compiled(
        id=document.get("id", ""),
        channel=channel,
        parts=parts,
        sender=fields.get("from", ""),
        reply_to=fields.get("reply_to", ""),
        list_unsubscribe=fields.get("list_unsubscribe", False),
    )


def sources(channel: str, fields: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Each Liquid source of a channel's fields: its part's name, its JSON Pointer below the channel, its text."""
    for name in {"email": ("subject", "text", "html"), "sms": ("text",)}.get(channel, ("title", "body")):
        if name in fields:
            yield name, f"/{name}", fields[name]
    if channel == "email" and "mjml" in fields and "html" not in fields:
        yield "html", "/mjml", html_of(fields["mjml"])
    for name, source in fields.get("data", {}).items():
        yield f"data/{name}", f"/data/{name}", source


def prepared(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document as it is stored when published: with the HTML of its MJML, which a later library may make otherwise.

    Raises MjmlInvalid.
    """
    email = document.get("email", {})
    if "mjml" not in email or "html" in email:
        return dict(document)
    return {**document, "email": {**email, "html": html_of(email["mjml"])}}
