"""Everything a JSON Schema can't say about a campaign; all of it at once, each with its place."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from orchestrator.core.decider import Problem
from orchestrator.messages.campaign.model import instant_ms

Published = Callable[[str, int | None], Mapping[str, Any] | None]
"""A published template's document by id and version (None: the newest); None when there is none."""


def check(document: Mapping[str, Any]) -> list[Problem]:
    """Every problem of a document that fits the schema."""
    return [*_alternatives(document), *_active(document.get("active", {}))]


def check_templates(document: Mapping[str, Any], published: Published) -> list[Problem]:
    """What is wrong with the templates it names: they have to be published before it, for their channel."""
    named = [("", document["channel"], document)]
    named += [(f"/alternatives/{c}", c, one) for c, one in document.get("alternatives", {}).items()]
    problems = []
    for place, channel, one in named:
        template, version = one["template"], one.get("version")
        found = published(template, version)
        if found is None:
            message = (
                f"no template {template!r} is published{'' if version is None else f' in version {version}'}"
            )
            problems.append(Problem(f"{place}/template", message, "publish it first, or name another"))
        elif found["channel"] != channel:
            message = f"the template {template!r} is for {found['channel']}, not for {channel}"
            problems.append(Problem(f"{place}/template", message, "name a template of the channel"))
    return problems


def _alternatives(document: Mapping[str, Any]) -> Iterator[Problem]:
    channel = document["channel"]
    if channel in document.get("alternatives", {}):
        message = f"{channel} is the campaign's own channel, and has its template already"
        yield Problem(f"/alternatives/{channel}", message, "remove one of the two")


def _active(active: Mapping[str, str]) -> Iterator[Problem]:
    instants: dict[str, int] = {}
    for name, text in active.items():
        try:
            instants[name] = instant_ms(text)
        except (ValueError, OverflowError) as error:
            yield Problem(
                f"/active/{name}", f"{text[:40]!r} is no instant: {error}", "write 2026-03-01T08:00:00+01:00"
            )
    if len(instants) == 2 and instants["until"] <= instants["from"]:
        yield Problem("/active/until", "it ends before it begins", "write a later instant")
