"""docs/security.md speaks of settings that exist, and of all that concern it."""

import re
from pathlib import Path

from orchestrator.settings import ENVIRONMENT

PAGE = (Path(__file__).parents[2] / "docs/security.md").read_text(encoding="utf-8")


def test_every_variable_of_the_page_is_a_setting() -> None:
    """Nobody copies a variable from the page that would be ignored."""
    named = set(re.findall(r"\b(?:ORCHESTRATOR_[A-Z_]+|KAFKA_[A-Z_]+|DATABASE_URL|LOG_LEVEL)\b", PAGE))
    assert named - set(ENVIRONMENT) == {"ORCHESTRATOR_CONFIG"}


def test_every_setting_of_a_connection_is_on_the_page() -> None:
    """A new setting of Kafka's security comes with its line."""
    concerned = [v for v in ENVIRONMENT if "KAFKA" in v or "DATABASE" in v]
    assert [v for v in concerned if f"`{v}`" not in PAGE and f"{v}=" not in PAGE] == []
