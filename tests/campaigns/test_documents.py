"""Campaign documents: everything wrong with one is listed, with its place."""

from typing import Any

import pytest

from orchestrator.messages import TEMPLATE
from orchestrator.messages.campaign import CAMPAIGN, Part, check_templates, compile_document, execution
from tests.campaigns.documents import campaign, example, places, problems

TEXT = {"kind": "template", "id": "sale_text", "channel": "sms", "sms": {"text": "Sale!"}}


def test_the_example_is_valid() -> None:
    """The campaign that the retention flow triggers is one, and so is its mail."""
    assert problems(example("win-back")) == []
    assert TEMPLATE.check(example("win_back_email")) == []


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"id": "Big Sale"}, "/id"),
        ({"channel": "pigeon"}, "/channel"),
        ({"template": None}, ""),
        ({"version": 0}, "/version"),
        ({"variables": []}, "/variables"),
        ({"from": "2026-01-01"}, ""),
        ({"alternatives": {"fax": {"template": "x"}}}, "/alternatives"),
        ({"alternatives": {"push": {}}}, "/alternatives/push"),
        ({"alternatives": {"sms": {"template": "other"}}}, "/alternatives/sms"),
        ({"active": {"from": "soon, perhaps"}}, "/active/from"),
        ({"active": {"until": "2026-01-01T00:00:00"}}, "/active/until"),
        (
            {"active": {"from": "2026-03-01T00:00:00Z", "until": "2026-03-01T01:00:00+01:00"}},
            "/active/until",
        ),
    ],
)
def test_what_is_wrong_is_placed(changes: dict[str, Any], place: str) -> None:
    """Each mistake is named where it stands."""
    assert places(campaign(**changes)) == [place]


def test_all_problems_are_listed_at_once() -> None:
    """Whoever corrects a document sees everything that is wrong with its meaning."""
    wrong = campaign(
        alternatives={"sms": {"template": "x"}}, active={"from": "never.....", "until": "always...."}
    )
    assert places(wrong) == ["/alternatives/sms", "/active/from", "/active/until"]


def test_a_document_becomes_what_the_action_reads() -> None:
    """The channel's own template and the alternatives stand side by side; instants are ms in UTC."""
    found = CAMPAIGN.compile(
        campaign(
            version=3,
            alternatives={"push": {"template": "sale_push"}},
            variables={"percent": 20},
            active={"from": "1970-01-01T01:00:01+01:00", "until": "1970-01-02T00:00:00Z"},
        )
    )
    assert found.parts == {"sms": Part("sale_text", 3), "push": Part("sale_push")}
    assert (found.channel, found.variables) == ("sms", {"percent": 20})
    assert (found.from_ms, found.until_ms) == (1_000, 86_400_000)
    assert compile_document(campaign()).until_ms == 0


def test_templates_have_to_be_published_for_their_channel() -> None:
    """A campaign can't be published before what it sends: missing ones and those of another channel are listed."""
    published = {("sale_text", None): TEXT, ("sale_text", 1): TEXT}

    def find(template: str, version: int | None) -> dict[str, Any] | None:
        return published.get((template, version))

    assert check_templates(campaign(), find) == []
    assert check_templates(campaign(version=1), find) == []
    alternatives = {"push": {"template": "sale_text"}, "email": {"template": "lost"}}
    wrong = check_templates(campaign(version=2, alternatives=alternatives), find)
    assert [problem.pointer for problem in wrong] == [
        "/template",
        "/alternatives/push/template",
        "/alternatives/email/template",
    ]
    assert "version 2" in wrong[0].message
    assert "for sms" in wrong[1].message


def test_an_execution_has_one_id() -> None:
    """All attempts for one customer are one execution; another customer's is another."""
    assert execution("anna/e1") == execution("anna/e1") != execution("bob/e1")
