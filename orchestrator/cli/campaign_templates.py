"""What a campaign's document can't say of itself: whether the templates it names are published."""

from collections.abc import Iterable, Mapping
from typing import Any

from orchestrator.core.decider import Problem
from orchestrator.messages.campaign import CAMPAIGN, check_templates


def problems(
    databases: Any, document: Mapping[str, Any], beside: Iterable[Mapping[str, Any]]
) -> list[Problem]:
    """What is wrong with the templates a campaign names; those published `beside` it count. Nothing for other kinds."""
    import orjson

    from orchestrator.engine import catalogue

    if document["kind"] != CAMPAIGN.name:
        return []
    new = {one["id"]: one for one in beside if one["kind"] == "template"}

    def published(template: str, version: int | None) -> Mapping[str, Any] | None:
        if version is None and template in new:
            return new[template]
        found = catalogue.document(databases.main, "template", template, version)
        return None if found is None else orjson.loads(found[1])

    return check_templates(document, published)
