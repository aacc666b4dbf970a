from pathlib import Path
from typing import get_args

from orchestrator.grants.settings import GrantSettings
from orchestrator.grants.tickets import AUDIENCE_SUFFIX, TICKET_TYPE, TicketReason
from orchestrator.grants.validation import Reason

PAGE = (Path(__file__).parents[2] / "docs/grants.md").read_text()


def test_the_page_names_every_reason_and_every_setting() -> None:
    """Nobody meets a refusal or a variable that the documentation doesn't know."""
    variables = [f"ORCHESTRATOR_GRANTS_{name.upper()}" for name in GrantSettings.__struct_fields__]
    wanted = [
        *get_args(Reason),
        *get_args(TicketReason),
        TICKET_TYPE,
        AUDIENCE_SUFFIX,
        *variables,
        "ORCHESTRATOR_GRANTS_KEYS",
        "ORCHESTRATOR_GRANTS_KEYS_DIR",
    ]
    assert [word for word in wanted if f"`{word}`" not in PAGE] == []


def test_the_page_says_the_numbers_that_the_code_has() -> None:
    """Defaults in the documentation are those of the code."""
    settings = GrantSettings()
    assert f"| `{settings.token_lifetime_s}` | at most a day |" in PAGE
    assert f"| `{settings.clock_skew_s}` | at most 300 |" in PAGE
    assert f"| `{settings.issuer}`, `{settings.audience}` |" in PAGE
