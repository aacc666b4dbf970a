"""Erasing a customer's key, and what time erases of messages: the values are gone, everything else goes on."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from orchestrator import embedded
from orchestrator.core.addresses import parse_stream
from orchestrator.replay import replay
from tests.cli.calling import call, environment
from tests.support.toy import TOY
from tests.support.world import World, world

DAY_MS = 86_400_000


@pytest.fixture
async def one(servers: embedded.Servers, database: str, topic_prefix: str) -> AsyncIterator[World]:
    async with world(servers.bootstrap, database, topic_prefix, snapshot_growth_events=2) as made:
        made.publish()
        yield made


async def remember(one: World, customer: str, **private: str) -> None:
    await one.send(customer, "add", {"n": 1, "private": private})


async def state_of(one: World, customer: str) -> Any:
    """A journey's state as whoever has the lane reads it: from the newest snapshot, and from the log alone."""
    lane = one.runner(one.lane(customer)).lane
    stream = parse_stream(f"{one.owner(customer)}/toy:t")
    [frame] = await lane._frames.read([stream])
    return frame.state


async def erase(one: World, customer: str) -> None:
    """As docs/security.md has it: pause the lane, delete the key, resume the lane."""
    lane = one.lane(customer)
    assert await one.ask(lane, "pause", reason="erasure") == "paused"
    one.execute(f"DELETE FROM lane_{lane:03d}.subject_keys WHERE subject = %s", one.owner(customer))
    assert await one.ask(lane, "resume") == "resumed"


async def verified(one: World) -> list[Any]:
    """What a verifying replay finds; nothing is under way meanwhile."""
    report = await replay(one.settings, verify=True, kinds=(TOY,))
    return list(report.differences)


@pytest.mark.parametrize("restart", [False, True])
async def test_an_erased_customer_leaves_no_value_and_no_gap(one: World, restart: bool) -> None:
    """Without the key no worker reads the values from events or snapshots; the journey stands as before and goes on."""
    await one.start()
    for n in range(3):
        await remember(one, "ada", **{f"mail{n}": "ada@example.org"})
        await remember(one, "bob", **{f"mail{n}": "bob@example.org"})
    await one.settled()
    await erase(one, "ada")
    if restart:
        await one.restart()
    assert (await state_of(one, "ada")).private == {}
    assert (await state_of(one, "ada")).total == 3
    assert (await state_of(one, "bob")).private == dict.fromkeys(
        ("mail0", "mail1", "mail2"), "bob@example.org"
    )
    await one.send("ada", "add", {"n": 1})
    await one.settled()
    assert (await state_of(one, "ada")).total == 4
    await one.stop()
    assert await verified(one) == []


@pytest.mark.parametrize("restart", [False, True])
async def test_an_erased_customer_may_come_back(one: World, restart: bool) -> None:
    """What is told anew gets a new key; what the old one sealed stays closed beside it, in events and in snapshots."""
    await one.start()
    for n in range(3):
        await remember(one, "ada", **{f"old{n}": "ada@example.org"})
    await one.settled()
    await erase(one, "ada")
    if restart:
        await one.restart()
    await remember(one, "ada", new="ada@example.com")
    await one.settled()
    await one.restart()
    assert (await state_of(one, "ada")).private == {"new": "ada@example.com"}
    await remember(one, "ada", newer="ada@example.net")
    await one.settled()
    lane = one.lane("ada")
    one.execute(f"DELETE FROM lane_{lane:03d}.journeys")  # the log alone tells the same
    await one.restart()
    assert (await state_of(one, "ada")).private == {"new": "ada@example.com", "newer": "ada@example.net"}
    assert (await state_of(one, "ada")).total == 5
    assert {o["outcome"] for o in await one.outcomes()} == {"applied"}


async def test_each_customer_has_a_key_of_its_own(one: World) -> None:
    """No two customers share a key, nor do customers and days: one can be erased without the other."""
    await one.start()
    for n in range(6):
        await remember(one, f"cus-{n}", mail="a@example.org")
    await one.put("commands", b"{", b"k")  # a dead letter: sealed under its day's key
    await one.settled()
    rows = [r for n in range(2) for r in one.rows(f"SELECT subject, key FROM lane_{n:03d}.subject_keys")]
    subjects = {r["subject"] for r in rows if not r["subject"].startswith(("day/", "lane"))}
    assert {one.owner(f"cus-{n}") for n in range(6)} <= subjects
    assert len({bytes(r["key"]) for r in rows}) == len(rows) >= 7


async def test_dead_letters_lose_their_bytes_after_thirty_days_and_say_so(one: World) -> None:
    """When the day's key is gone, `dlq show` and `dlq retry` say that the bytes are, and what is left is still listed."""
    await one.start()
    await one.put("commands", b'{"mail": "ada@example.org"', b"k", [("ce_id", b"x"), ("ce_source", b"tests")])
    await one.settled()
    [letter] = one.dead_letters()
    lane = one.runner(letter["lane"]).lane
    env = environment(
        KAFKA_BOOTSTRAP_SERVERS=one.settings.kafka_bootstrap_servers,
        DATABASE_URL=one.settings.database_url,
        ORCHESTRATOR_TOPIC_PREFIX=one.settings.topic_prefix,
        ORCHESTRATOR_CONSUMER_GROUP=one.settings.consumer_group,
    )
    import asyncio

    async def dlq(*arguments: str) -> Any:
        return await asyncio.to_thread(call, "dlq", *arguments, env=env)

    at_ms = letter["at_ms"]
    assert await lane.forget_old_messages(at_ms + 30 * DAY_MS) == 0
    assert "ada@example.org" in (await dlq("show", letter["id"])).out
    assert await lane.forget_old_messages(at_ms + 31 * DAY_MS) == 1
    shown = await dlq("show", letter["id"])
    assert shown.code == 0
    assert "Its bytes are gone: they are kept 30 days" in shown.out
    assert "ada@example.org" not in shown.out
    assert (await dlq("show", letter["id"], "-o", "json")).json["message"] is None
    retried = await dlq("retry", letter["id"])
    assert retried.code == 1
    assert "refused: its bytes are gone: they are kept 30 days" in retried.out
    assert letter["id"] in (await dlq("list")).out
    assert (await dlq("discard", letter["id"], "--reason", "too old")).code == 0
    assert (await dlq("list")).out.strip() == "no dead letters"


async def test_what_is_forgotten_before_it_was_published_stops_nobody(one: World) -> None:
    """A worker that was away for a month forgets old messages first: publishing goes on without their bytes."""
    await one.start()
    await one.put("commands", b'{"mail": "ada@example.org"', b"k", [("ce_id", b"x"), ("ce_source", b"tests")])
    await one.send("stray", partition=1 - one.lane("stray"))  # is forwarded
    await remember(one, "ada", mail="ada@example.org")
    await one.settled()
    await one.stop()
    for lane in range(2):
        one.execute(f"UPDATE lane_{lane:03d}.positions SET at = 0 WHERE name = 'out:publisher'")
        one.execute(f"DELETE FROM lane_{lane:03d}.subject_keys WHERE subject LIKE 'day/%%'")
    await one.start()
    await one.send("ada", "add", {"n": 1}, id="last")
    await one.settled()
    assert "last" in {o["id"] for o in await one.outcomes()}
