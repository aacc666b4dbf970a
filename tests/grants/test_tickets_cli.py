import json
import time
from pathlib import Path
from typing import Any

import pytest

from orchestrator.distributions.queue import QUEUE, now_serving
from orchestrator.grants.claims import Grant
from orchestrator.grants.keystore import KeyStore
from orchestrator.grants.settings import GrantSettings
from orchestrator.grants.tickets import Ticket, TicketSettings, issue_ticket
from orchestrator.grants.tokens import issue
from tests.cli.calling import Ended, call, environment
from tests.support.room import RoomTest

SETTINGS = GrantSettings(issuer="https://grants.example.com", audience="shop.example.com")


class Pages:
    """The program with a folder of keys, and no servers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = environment(
            ORCHESTRATOR_GRANTS_KEYS_DIR=str(folder),
            ORCHESTRATOR_GRANTS_ISSUER=SETTINGS.issuer,
            ORCHESTRATOR_GRANTS_AUDIENCE=SETTINGS.audience,
            ORCHESTRATOR_DEFAULT_ORGANIZATION="acme",
        )

    def call(self, *arguments: str | Path, stdin: str = "") -> Ended:
        return call("tickets", *arguments, env=self.env, stdin=stdin)

    def ticket(self, **changes: Any) -> str:
        given = {
            "organization": "acme",
            "experience": "shoes",
            "distribution": "main",
            "subject": "c2",
            "number": 2,
        }
        keys = KeyStore(self.folder).load()
        return issue_ticket(
            Ticket(**{**given, **changes}), keys, TicketSettings.of(SETTINGS), int(time.time())
        )

    def grant(self) -> str:
        grant = Grant(
            organization="acme", experience="shoes", sequence="vip", distribution="main", mechanism="queue",
            subject="c2", jti="ab12", expires_ms=0,
        )  # fmt: skip
        return issue(grant, KeyStore(self.folder).load(), SETTINGS, int(time.time()))


@pytest.fixture
def pages(tmp_path: Path) -> Pages:
    made = Pages(tmp_path / "keys")
    assert call("keys", "generate", env=made.env).code == 0
    return made


@pytest.fixture
def serving(tmp_path: Path) -> Path:
    """The document of a queue in which three wait."""
    room = RoomTest(QUEUE, {"admission": {"valid": "10m"}})
    for name in ("c1", "c2", "c3"):
        room.ask(name, "enter")
    file = tmp_path / "serving.json"
    file.write_text(json.dumps(now_serving(room.state)))
    return file


def test_a_page_finds_its_place_with_document_ticket_and_public_keys(
    pages: Pages, serving: Path, tmp_path: Path
) -> None:
    """No server and no private key is asked; the answer tells place and moment, and never the token."""
    token, jwks = pages.ticket(), tmp_path / "jwks.json"
    jwks.write_text(call("keys", "jwks", env=pages.env).out)
    bare = Pages(tmp_path / "none")
    told = bare.call("position", "--serving", serving, "--jwks", jwks, "-o", "json", stdin=token)
    assert told.code == 0, told.err
    assert told.json == {
        "number": 2, "status": "waiting", "ahead_low": 1, "ahead_high": 1, "eta_low_ms": 0, "eta_high_ms": None,
        "as_of_ms": json.loads(serving.read_text())["as_of_ms"],
    }  # fmt: skip
    table = pages.call("position", "--serving", serving, stdin=token)
    assert table.code == 0
    assert "ahead" in table.out
    assert token not in table.out + table.err + told.out


def test_a_grant_is_no_ticket_at_the_command_line_either(pages: Pages) -> None:
    """Each noun refuses the other's token by name, with an exit code that scripts see."""
    ticket, grant = pages.ticket(), pages.grant()
    good = pages.call("validate", "-o", "json", stdin=ticket)
    assert (good.code, good.json["counts"], good.json["number"], good.json["sub"]) == (0, True, 2, "c2")
    assert pages.call("validate", stdin=ticket).code == 0
    assert pages.call("validate", "-o", "json", stdin=grant).json == {"counts": False, "reason": "type"}
    crossed = call("grants", "validate", "-o", "json", env=pages.env, stdin=ticket)
    assert (crossed.code, crossed.json) == (1, {"counts": False, "reason": "type"})
    redeemed = call("grants", "redeem", "--id", "o-1", env=pages.env, stdin=ticket)
    assert redeemed.code == 1
    assert "(type)" in redeemed.err


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--organization", "globex"), "organization"),
        (("--experience", "hats"), "experience"),
        (("--audience", "other.example.org"), "audience"),
        (("--issuer", "https://other.example.org"), "issuer"),
    ],
)
def test_a_ticket_for_something_else_ends_with_1(
    pages: Pages, serving: Path, options: tuple[str, str], reason: str
) -> None:
    """A refusal has its name in JSON and in words, and no command works with what it refused."""
    token = pages.ticket()
    ended = pages.call("validate", *options, "-o", "json", stdin=token)
    assert (ended.code, ended.json) == (1, {"counts": False, "reason": reason})
    for arguments in (("validate",), ("position", "--serving", serving)):
        ended = pages.call(*arguments, *options, stdin=token)
        assert ended.code == 1
        assert f"({reason})" in ended.err
        assert token not in ended.out + ended.err


def test_the_audience_of_grants_is_a_configuration_error(pages: Pages) -> None:
    """Tickets can't be told to be for whom grants are for."""
    ended = pages.call("validate", "--audience", SETTINGS.audience, stdin=pages.ticket())
    assert ended.code == 78
    assert f"{SETTINGS.audience}:tickets" in ended.err


def test_another_queue_s_document_places_nobody(pages: Pages, serving: Path, tmp_path: Path) -> None:
    """A ticket and a document of two queues are refused by the name of what differs; so is what is no document."""
    for change, reason in (
        ({"distribution": "other"}, "distribution"),
        ({"experience": "hats"}, "experience"),
    ):
        ended = pages.call("position", "--serving", serving, stdin=pages.ticket(**change))
        assert ended.code == 1
        assert f"({reason})" in ended.err
    broken = tmp_path / "broken.json"
    for text in ("{", "[]", "{}", '{"width": 0}', "[" * 70_000):
        broken.write_text(text)
        ended = pages.call("position", "--serving", broken, stdin=pages.ticket())
        assert ended.code == 1
        assert "now-serving" in ended.err or "no JSON" in ended.err
    assert pages.call("position", stdin=pages.ticket()).code == 2
    assert pages.call("position", "--serving", "nowhere", stdin=pages.ticket()).code == 2


def test_what_is_no_queue_has_no_document(pages: Pages) -> None:
    """An address of another kind is refused before any server is asked."""
    ended = pages.call("serving", "acme/r/shoes.main/draw:shoes:main")
    assert ended.code == 1
    assert "is no queue" in ended.err
