"""The document kind `campaign`, as the registry of definitions sees it."""

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.core.decider import Problem
from orchestrator.messages.campaign.check import check
from orchestrator.messages.campaign.model import Campaign, compile_document
from orchestrator.messages.campaign.schema import SCHEMA


class CampaignKind:
    """A published document that isn't a journey: no stream, no state; effects look it up by id."""

    name = "campaign"
    schema: Mapping[str, Any] = SCHEMA

    def check(self, document: Mapping[str, Any]) -> Sequence[Problem]:
        """Every semantic problem of a document that already fits `schema`."""
        return check(document)

    def compile(self, document: Mapping[str, Any]) -> Campaign:
        """What the action reads; called once per version and process."""
        return compile_document(document)
