"""Everything a JSON Schema can't say about a template document; all of it at once, each with its place."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from orchestrator.core.decider import Problem
from orchestrator.messages.addresses import is_address
from orchestrator.messages.compile import compile_document, sources
from orchestrator.messages.errors import MissingVariable, MjmlInvalid, RenderFailed
from orchestrator.messages.render import UNSUBSCRIBE_URL, render
from orchestrator.messages.schema import CHANNELS
from orchestrator.messages.sources import mistakes

SAMPLE_URL: Final = "https://example.com/unsubscribe"
_RESERVED_DATA = re.compile(r"from|message_type|aps|(?:google|gcm)(?:\..*)?")


def check(document: Mapping[str, Any]) -> list[Problem]:
    """Every problem of a document that fits the schema. The sample is rendered once the rest has no error."""
    channel = document["channel"]
    fields = document[channel]
    problems = [*_parts(document, channel, fields), *_fixed(channel, fields), *_liquid(channel, fields)]
    if any(problem.severity == "error" for problem in problems):
        return problems
    return [*problems, *_sample(document)]


def _parts(document: Mapping[str, Any], channel: str, fields: Mapping[str, Any]) -> Iterator[Problem]:
    for other in CHANNELS:
        if other != channel and other in document:
            yield Problem(
                f"/{other}", f"the template's channel is {channel}", "remove it, or change `channel`"
            )
    if channel == "email" and not {"html", "mjml", "text"} & set(fields):
        yield Problem(
            "/email", "the mail has a subject and nothing else", "add `html:` or `mjml:`, and `text:`"
        )


def _fixed(channel: str, fields: Mapping[str, Any]) -> Iterator[Problem]:
    for name in ("from", "reply_to"):
        if name in fields and not is_address(fields[name]):
            yield Problem(
                f"/{channel}/{name}", f"{fields[name][:100]!r} is no address", "write Shop <news@example.com>"
            )
    if channel == "email" and "html" in fields and "mjml" in fields:
        yield Problem(
            "/email/mjml", "there is html too, and it is the one that is sent", "remove one", "warning"
        )
    if channel == "email" and "text" not in fields and {"html", "mjml"} & set(fields):
        message = "a mail without a plain part looks like spam to some filters"
        yield Problem("/email", message, "add `text:`", "warning")
    for name in fields.get("data", {}):
        if _RESERVED_DATA.fullmatch(name):
            yield Problem(f"/push/data/{name}", f"{name} is reserved by a push service", "rename it")


def _liquid(channel: str, fields: Mapping[str, Any]) -> Iterator[Problem]:
    try:
        for _, place, source in sources(channel, fields):
            for mistake in mistakes(source):
                where = "" if mistake.line is None else f"line {mistake.line}, column {mistake.column}: "
                yield Problem(f"/{channel}{place}", f"{where}{mistake}"[:500], "correct the Liquid there")
    except MjmlInvalid as invalid:
        yield Problem("/email/mjml", str(invalid), "correct the MJML")


def _sample(document: Mapping[str, Any]) -> Iterator[Problem]:
    compiled = compile_document(document)
    sample = document.get("sample")
    if sample is None and compiled.reads:
        message = f"there is no sample, and the template reads {', '.join(compiled.reads[:10])}"
        yield Problem("/sample", message, "add `sample:` with these variables")
        return
    try:
        render(compiled, {UNSUBSCRIBE_URL: SAMPLE_URL, **(sample or {})})
    except MissingVariable as missing:
        yield Problem("/sample", str(missing), f"add {missing.path}, or give the template a `default`")
    except RenderFailed as failed:
        yield Problem("/sample", str(failed), "correct the template or the sample")
