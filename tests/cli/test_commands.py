import json
import secrets
from typing import Any

import pytest

from tests.cli.calling import SHOP
from tests.cli.conftest import Shop

pytestmark = pytest.mark.xdist_group("cli-shop")  # one installation for all


def event(customer: str, type_: str, key: str, **payload: object) -> str:
    return json.dumps({"userId": customer, "type": type_, "idempotencyKey": key, "payload": payload})


def command(customer: str, name: str, key: str, data: object, definition: str = "shop") -> str:
    subject = f"default/c/{customer}/lifecycle:{definition}"
    return json.dumps({"subject": subject, "type": name, "id": key, "source": "tests", "data": data})


def test_init_again_changes_nothing(shop: Shop) -> None:
    """Making what exists already is harmless and says so."""
    assert shop.ask("init") == {"lanes": 3, "topics_made": []}


def test_init_with_another_number_of_lanes_is_refused(shop: Shop) -> None:
    """Lanes are fixed at birth: another number is a configuration error that names the cure."""
    from tests.cli.calling import call

    ended = call("init", env={**shop.env, "ORCHESTRATOR_LANES": "5"})
    assert ended.code == 78
    assert "ORCHESTRATOR_LANES=3" in ended.err


def test_a_document_published_again_stays_as_it_is(shop: Shop) -> None:
    """Publishing answers with a version, and the same document doesn't make another."""
    assert [row["status"] for row in shop.ask("definitions", "publish", SHOP)] == ["unchanged"]
    listed = {row["definition"]: row["version"] for row in shop.ask("definitions", "list")}
    assert listed["lifecycle:shop"] == 1
    assert shop.ask("definitions", "show", "shop")["document"]["id"] == "shop"
    assert shop.call("definitions", "show", "shop", "--version", "99").code == 1


def test_a_broken_document_is_not_published(shop: Shop, tmp_path) -> None:
    """A document with an error stops the publishing of all that were given with it."""
    good, broken = tmp_path / "good.yaml", tmp_path / "broken.yaml"
    good.write_text(SHOP.read_text().replace("id: shop", "id: never"))
    broken.write_text("kind: lifecycle\n")
    ended = shop.call("definitions", "publish", good, broken)
    assert ended.code == 1
    assert "broken.yaml" in ended.err
    assert "lifecycle:never" not in {row["definition"] for row in shop.ask("definitions", "list")}


def test_a_command_published_twice_is_decided_once(shop: Shop, customer: str) -> None:
    """The outcome comes back each time, the second time as a duplicate; the same id with another body is refused."""
    subject = f"default/c/{customer}/lifecycle:shop"
    data = '{"type": "PRODUCT_VIEWED"}'
    publish = ("commands", "publish", subject, "event", data, "--id", f"once-{customer}", "--wait")
    first, again = shop.ask(*publish), shop.ask(*publish)
    assert (first["outcome"], first["duplicate"], first["stream"]) == ("applied", False, subject)
    assert (again["outcome"], again["duplicate"], again["revision"]) == ("applied", True, first["revision"])
    other = shop.ask(*publish[:4], '{"type": "EMAIL_OPENED"}', *publish[5:])
    assert (other["outcome"], other["reason"]) == ("rejected", "idempotency_conflict")


def test_lines_are_commands_or_raw_events(shop: Shop, customer: str) -> None:
    """A stream of JSON lines may mix both shapes, and a refused line is named by its number."""
    lines = [
        event(customer, "PRODUCT_VIEWED", f"{customer}-1"),
        command(customer, "set_context", f"{customer}-2", {"context": {"views": 7}}),
    ]
    outcomes = [outcome for line in lines for outcome in shop.publish(line)]
    assert [(o["id"], o["outcome"]) for o in outcomes] == [
        (f"{customer}-1", "applied"),
        (f"{customer}-2", "applied"),
    ]
    ended = shop.call("commands", "publish", "--file", "-", stdin=f"{lines[0]}\nnonsense")
    assert ended.code == 1
    assert "line 2" in ended.err


def test_publishing_without_waiting_says_the_key(shop: Shop, customer: str) -> None:
    """The random id of a command is told, so that it can be repeated."""
    subject = f"default/c/{customer}/lifecycle:shop"
    answer = shop.ask("commands", "publish", subject, "event", '{"type": "EMAIL_OPENED"}')
    assert answer["outcome"] == "published"
    assert len(answer["id"]) >= 16


def test_a_journey_is_listed_shown_and_explained(shop: Shop, customer: str) -> None:
    """List, state, timeline and receipt tell the same story of one customer."""
    keys = [f"{customer}-{n}" for n in range(3)]
    for key, name in zip(keys, ("PRODUCT_VIEWED", "ITEM_ADDED_TO_CART", "CHECKOUT_STARTED"), strict=True):
        shop.publish(event(customer, name, key))
    shown = shop.ask("journeys", "show", customer, "-d", "shop")
    assert shown["state"] == "CHECKOUT.DETAILS"
    assert shown["view"]["stepIndex"] == 4
    assert shown["commands_decided"] == 3

    timeline = shop.ask("journeys", "timeline", customer, "-d", "shop")
    assert [row["version"] for row in timeline] == list(range(1, shown["version"] + 1))
    moves = [
        (row["data"]["from_state"], row["data"]["to_state"])
        for row in timeline
        if row["event"] == "lifecycle.moved.v1"
    ]
    assert moves == [
        ("ONBOARDING", "BROWSING"),
        ("BROWSING", "CONSIDERATION"),
        ("CONSIDERATION", "CHECKOUT.DETAILS"),
    ]
    assert {row["command_id"] for row in timeline} == set(keys)

    receipt = shop.ask("journeys", "why", customer, "-d", "shop", "--decision", "2")
    assert (receipt["command_id"], receipt["actor"], receipt["definition_version"]) == (
        keys[1],
        "user-interactions",
        1,
    )
    (because,) = (reason for reason in receipt["because"] if reason["event"] == "lifecycle.moved.v1")
    assert because["transition"] == "/states/BROWSING/on/ITEM_ADDED_TO_CART"
    assert because["definition_says"] == {"target": "CONSIDERATION", "set": {"stepIndex": 3}}
    assert shop.ask("journeys", "why", customer, "-d", "shop")["command_id"] == keys[2]
    assert shop.call("journeys", "why", customer, "-d", "shop", "-n", "9").code == 1


def test_lists_find_journeys_by_state_and_customer(shop: Shop, customer: str, until) -> None:
    """A state finds the states inside it; a customer finds that customer alone."""
    for number, name in enumerate(("ITEM_ADDED_TO_CART", "CHECKOUT_STARTED")):
        shop.publish(event(customer, name, f"{customer}-{number}"))
    stream = f"default/c/{customer}/lifecycle:shop"

    def listed(*arguments: str) -> list[str]:
        return [row["stream"] for row in shop.ask("journeys", "list", "--customer", customer, *arguments)]

    until(lambda: listed("--state", "CHECKOUT.DETAILS") == [stream])
    assert listed("--state", "CHECKOUT") == [stream] == listed("--definition", "lifecycle:shop")
    assert listed("--state", "CHECK") == [] == listed("--definition", "other")
    assert listed("--organization", "another") == []


def test_a_rejected_command_tells_its_rule(shop: Shop, customer: str) -> None:
    """A business no is an outcome, with the rule in it and in the receipt."""
    (outcome,) = shop.publish(command(customer, "set_context", f"{customer}-1", {"context": {"views": 1}}))
    assert (outcome["outcome"], outcome["reason"]) == ("rejected", "lifecycle.not_started")
    receipt = shop.ask("journeys", "why", customer, "-d", "shop")
    assert (receipt["outcome"], receipt["because"][0]["rule"]) == ("rejected", "lifecycle.not_started")


def test_an_unknown_journey_is_not_found(shop: Shop) -> None:
    """Asking for a journey that doesn't exist ends with 1 and says where to look."""
    for verb in ("show", "timeline", "why"):
        ended = shop.call("journeys", verb, f"nobody-{secrets.token_hex(4)}", "-d", "shop")
        assert ended.code == 1
        assert "orchestrator journeys list" in ended.err


def test_the_worker_performs_effects(shop: Shop, customer: str, until) -> None:
    """Reaching the last state publishes its announcement, and the answer is in the timeline."""
    shop.publish(event(customer, "ORDER_PLACED", f"{customer}-1"))

    def answered() -> list[Any]:
        timeline = shop.ask("journeys", "timeline", customer, "-d", "shop")
        return [row for row in timeline if row["event"] == "journey.effect_succeeded.v1"]

    until(answered)
    assert answered()[0]["source"] == "engine/effects"


def test_a_replay_of_all_this_finds_no_difference(shop: Shop) -> None:
    """What the tests before did can be rebuilt from the log alone."""
    report = shop.ask("replay", "--verify")
    assert report["ok"] is True
    assert report["differences"] == []
