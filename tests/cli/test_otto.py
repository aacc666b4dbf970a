from typing import Any

import pytest

from tests.cli import otto
from tests.cli.calling import ROOT
from tests.cli.conftest import Shop

MAP = ROOT / "examples/otto.toml"
pytestmark = pytest.mark.xdist_group("cli-shop")  # one installation for all
MOVED = "lifecycle.moved.v1"


def test_real_sessions_end_as_the_raw_file_says_and_importing_twice_changes_nothing(
    shop: Shop, until
) -> None:
    """States and counters of imported history equal those computed from the file; a second import is duplicates only."""
    path = otto.sessions_file()
    wanted = otto.expected(path)
    assert shop.ask("import", path, "--map", MAP) == [
        {"outcome": "applied", "duplicate": False, "events": otto.total(wanted)}
    ]
    until(lambda: len(journeys(shop, "state")) == len(wanted))
    until(lambda: set(journeys(shop, "state").values()) == {"CHURNED"})  # years have passed since
    before = journeys(shop, "version")
    for customer, one in wanted.items():
        timeline = events(shop, customer)
        assert before[address(customer)] == timeline[-1]["version"]
        shown = shop.ask("journeys", "show", address(customer))["view"]
        counted = {name: shown[name] for name in ("views", "carts", "orders", "returns", "lastEventAt")}
        assert counted == {
            "views": one.views, "carts": one.carts, "orders": one.orders, "returns": one.returns, "lastEventAt": one.last_ms,
        }  # fmt: skip
        assert ["ONBOARDING", *moves(timeline)] == [*one.states, "CHURNED"]
        requested = [e for e in timeline if e["event"] == "journey.effect_requested.v1"]
        assert len(requested) == one.states.count("ACTIVE_SUBSCRIBER")
        assert all(event["data"]["suppressed"] for event in requested)

    assert shop.ask("import", path, "--map", MAP) == [
        {"outcome": "applied", "duplicate": True, "events": otto.total(wanted)}
    ]
    assert journeys(shop, "version") == before
    assert shop.ask("journeys", "show", address("session-0"))["version"] == before[address("session-0")]


def test_history_nobody_listens_to_is_refused_before_it_is_published(shop: Shop, tmp_path) -> None:
    """A mapping to an event type that no definition lists is told at once, with the cure."""
    mapping = tmp_path / "map.toml"
    mapping.write_text(MAP.read_text().replace("PRODUCT_VIEWED", "NEVER_HEARD_OF"))
    ended = shop.call("import", MAP, "--map", mapping)
    assert ended.code == 1
    assert "NEVER_HEARD_OF" in ended.err
    assert "orchestrator definitions publish" in ended.err


def test_a_bad_line_ends_the_import_and_is_named(shop: Shop, tmp_path) -> None:
    """What was read before the bad line is decided; correcting the file and importing again goes on from there."""
    path = tmp_path / "history.jsonl"
    good = '{"session": "bad-line", "events": [{"aid": 1, "ts": 1659304800025, "type": "clicks"}]}'
    path.write_text(f"{good}\n{{\n")
    ended = shop.call("import", path, "--map", MAP)
    assert ended.code == 1
    assert "line 2" in ended.err
    path.write_text(f"{good}\n")
    (row,) = shop.ask("import", path, "--map", MAP)
    assert row["events"] == 1


def address(customer: str) -> str:
    return f"otto/c/{customer}/lifecycle:shop"


def journeys(shop: Shop, column: str) -> dict[str, Any]:
    """A column of every imported journey."""
    rows = shop.ask("journeys", "list", "--limit", "1000", "-d", "shop")
    return {
        row["stream"]: row[column]
        for row in rows
        if row["stream"].startswith("otto/c/session-") and "bad" not in row["stream"]
    }


def events(shop: Shop, customer: str) -> list[Any]:
    found: list[Any] = shop.ask("journeys", "timeline", address(customer))
    return found


def moves(timeline: list[Any]) -> list[str]:
    return [event["data"]["to_state"] for event in timeline if event["event"] == MOVED]
