"""What a document can't say of itself: whether the documents it names are published."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from orchestrator.core.decider import Problem
from orchestrator.journeys import FLOW
from orchestrator.journeys.flow.references import references
from orchestrator.messages.campaign import CAMPAIGN, check_templates


def problems(
    databases: Any, document: Mapping[str, Any], beside: Iterable[Mapping[str, Any]]
) -> list[Problem]:
    """What is wrong with what a campaign or a flow names; documents published `beside` it count."""
    import orjson

    from orchestrator.engine import catalogue

    new = {(one["kind"], one["id"]): one for one in beside}

    def published(kind: str, name: str, version: int | None) -> Mapping[str, Any] | None:
        if version is None and (kind, name) in new:
            return new[(kind, name)]
        found = catalogue.document(databases.main, kind, name, version)
        return None if found is None else orjson.loads(found[1])

    match document["kind"]:
        case CAMPAIGN.name:
            return check_templates(document, lambda name, version: published("template", name, version))
        case FLOW.name:
            return list(_missing(document, published))
    return []


def _missing(document: Mapping[str, Any], published: Any) -> Iterator[Problem]:
    for named in references(document):
        if published(named.kind, named.id, named.version) is None:
            version = "" if named.version is None else f" version {named.version}"
            message = f"{named.kind} {named.id!r}{version} isn't published"
            cure = "publish its file first, or in the same command; or correct the name"
            yield Problem(named.pointer, message, cure)
