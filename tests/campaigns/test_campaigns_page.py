"""What docs/messages.md says of campaigns is true."""

import re
from pathlib import Path

import msgspec

from consumers.actions.campaigns import FRESH_MS
from consumers.actions.trigger_campaign import TriggerCampaignParams
from orchestrator import definitions
from orchestrator.messages.campaign import CAMPAIGN
from tests.campaigns.documents import problems

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "messages.md").read_text()
SECTION = PAGE.split("## Campaigns")[1].split("\n## ")[0]


def test_the_campaign_on_the_page_is_valid() -> None:
    """The example fits the schema and has no problem."""
    (block,) = re.findall(r"```yaml\n(.*?)```", SECTION, re.DOTALL)
    assert problems(definitions.read(block.encode()).value) == []


def test_every_field_is_on_the_page() -> None:
    """A field of the document or a parameter of the action that somebody adds has to be explained."""
    fields = set(CAMPAIGN.schema["properties"]) - {"kind", "id", "name", "description", "active"}
    fields |= {f"active.{name}" for name in CAMPAIGN.schema["properties"]["active"]["properties"]}
    fields |= set(TriggerCampaignParams.__struct_encode_fields__) - {"at_most_once"}
    assert [field for field in sorted(fields) if f"`{field}`" not in SECTION] == []


def test_the_record_on_the_page_is_the_actions() -> None:
    """The names of the execution's record are those in the example."""
    (block,) = re.findall(r"```jsonc\n(.*?)```", SECTION, re.DOTALL)
    source = (ROOT / "consumers" / "actions" / "trigger_campaign.py").read_text()
    assert set(re.findall(r"^ {16}\"([a-z_]+)\": ", source, re.MULTILINE)) == set(msgspec.json.decode(block))


def test_every_error_word_is_on_the_page() -> None:
    """Whoever sees a word on a journey's timeline finds it."""
    source = (ROOT / "consumers" / "actions" / "trigger_campaign.py").read_text()
    words = set(re.findall(r"\b(?:Failed|refuse)\(\s*\"([a-z_]+)\"", source))
    assert len(words) > 4
    assert [word for word in sorted(words) if f"`{word}`" not in PAGE] == []
    assert FRESH_MS == 5_000
    assert "within five seconds" in SECTION
