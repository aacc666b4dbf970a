"""Campaigns: published documents that say which template goes out by which channel, and when; effects look them up."""

from orchestrator.messages.campaign.check import Published, check, check_templates
from orchestrator.messages.campaign.kind import CampaignKind
from orchestrator.messages.campaign.model import Campaign, Part, compile_document, execution

CAMPAIGN = CampaignKind()

__all__ = [
    "CAMPAIGN",
    "Campaign",
    "CampaignKind",
    "Part",
    "Published",
    "check",
    "check_templates",
    "compile_document",
    "execution",
]
