"""Flows on a real Kafka, PostgreSQL and mail server, with the worker that users start."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from orchestrator import definitions, embedded
from orchestrator.journeys import KINDS
from orchestrator.messages import TEMPLATE
from tests.flow.graphs import document
from tests.providers.mail_server import Mailbox, mail_server
from tests.providers.stage import new_key
from tests.support.worker_process import WorkerProcess, environment_of
from tests.support.world import World, world

EXAMPLES = Path(__file__).parents[2] / "examples"
ANNA = {"email": "anna@example.com", "first_name": "Anna"}


@pytest.fixture
async def one(servers: embedded.Servers, database: str, topic_prefix: str) -> AsyncIterator[World]:
    async with world(servers.bootstrap, database, topic_prefix, kinds=KINDS) as made:
        yield made


@pytest.fixture
async def mails() -> AsyncIterator[Mailbox]:
    async with mail_server() as box:
        yield box


def publish(one: World, *documents: dict[str, Any]) -> None:
    for source in documents:
        ready = TEMPLATE.prepare(source) if source["kind"] == TEMPLATE.name else source
        one.publish(ready["id"], document=ready, kind=ready["kind"])


def example(name: str) -> dict[str, Any]:
    return definitions.load((EXAMPLES / name).read_bytes())


def hasty(name: str, wait: str) -> dict[str, Any]:
    """An example of a flow whose days are as short as `wait`."""
    flow = example(name)
    for node in flow["nodes"].values():
        if node["kind"] == "wait" and "for" in node:
            node["for"] = wait
    del flow["quiet_hours"]
    for node in flow["nodes"].values():
        node.pop("quiet_hours", None)
    return flow


def worker(one: World, servers: embedded.Servers, box: Mailbox, log: Path) -> WorkerProcess:
    environment = environment_of(
        servers,
        topic_prefix=one.settings.topic_prefix,
        DATABASE_URL=one.settings.database_url,
        ORCHESTRATOR_CONSUMER_GROUP=one.settings.consumer_group,
        ORCHESTRATOR_SNAPSHOT_QUIET_MS="100",
        ORCHESTRATOR_SMTP_HOST="127.0.0.1",
        ORCHESTRATOR_SMTP_PORT=str(box.port),
        ORCHESTRATOR_SMTP_SECURITY="none",
        ORCHESTRATOR_UNSUBSCRIBE_URL="https://example.com/unsubscribe",
        ORCHESTRATOR_LINK_KEYS=new_key(),
    )
    return WorkerProcess(environment, log, program=("orchestrator.worker_process", "all"))


async def events(one: World, stream: str) -> list[tuple[str, dict[str, Any]]]:
    """Type and data of a stream's events, as the topic tells them, each once."""
    found = {
        record.header("ce_id"): (record.header("ce_type"), orjson.loads(record.value or b"{}"))
        for record in await one.read("events")
        if record.header("ce_subject") == stream
    }
    return list(found.values())


async def ended(one: World, stream: str) -> dict[str, Any] | None:
    return next((d for t, d in await events(one, stream) if t == "flow.run_ended.v1"), None)


async def test_a_customer_is_welcomed(
    one: World, servers: embedded.Servers, mails: Mailbox, tmp_path: Path
) -> None:
    """Who opens the welcome mail gets the points: the mail with the name in it, the wait, the branch, the ledger."""
    publish(one, example("customers/profile.yaml"), example("customers/points.yaml"))
    publish(one, example("templates/welcome_email.yaml"), example("templates/welcome_reminder.yaml"))
    flow = hasty("flow/welcome.yaml", "2s")
    flow["nodes"]["welcome_email"]["params"]["variables"].pop("points_balance")
    publish(one, flow)
    await one.send("anna", "identify", {"attributes": ANNA}, stream="customer:profile")
    await one.send("anna", "consent", {"channel": "email", "granted": True}, stream="customer:profile")
    await one.send("anna", "start", {}, stream="flow:welcome", id="welcome-anna")
    await one.send("anna", "start", {}, stream="flow:welcome", id="welcome-anna")  # the producer tried twice
    stream = f"{one.owner('anna')}/flow:welcome"
    with worker(one, servers, mails, tmp_path / "worker.log") as running:
        running.start()
        await asyncio.to_thread(running.wait_ready)
        await one.until(lambda: mails.mails, "a mail came")
        await one.raw("anna", "EMAIL_OPENED", 1, "opened-1")
        run = await one.until(lambda: ended(one, stream), "the run ended")
        ledger = f"{one.owner('anna')}/points:ledger"
        balance = await one.until(lambda: _found(one, ledger, "points.awarded.v1"), "points on the ledger")
    assert (run["state"], run["result"]) == ("COMPLETED", "engaged")
    assert balance["balance"] == 100
    told = [d for t, d in await events(one, stream) if t == "journey.effect_succeeded.v1"]
    assert told[-1]["result"]["balance"] == 100, "the ledger itself answered the flow"
    assert [m["To"] for m in mails.mails] == ["anna@example.com"]
    assert "Anna" in mails.mails[0]["Subject"]
    assert not one.dead_letters()
    for topic in ("events", "outcomes", "snapshots"):
        for record in await one.read(topic):
            assert b"anna@example.com" not in (record.value or b""), topic


async def _found(one: World, stream: str, name: str) -> dict[str, Any] | None:
    return next((d for t, d in await events(one, stream) if t == name), None)


async def test_a_worker_killed_in_a_wait_doubles_nothing(
    one: World, servers: embedded.Servers, mails: Mailbox, tmp_path: Path
) -> None:
    """After SIGKILL in the wait the next worker goes on where the customers were: a mail and an award each, once."""
    publish(one, example("customers/profile.yaml"), example("customers/points.yaml"))
    publish(one, example("templates/welcome_email.yaml"), example("templates/welcome_reminder.yaml"))
    flow = hasty("flow/welcome.yaml", "4s")
    flow["nodes"]["welcome_email"]["params"]["variables"].pop("points_balance")
    publish(one, flow)
    customers = [f"cus-{n}" for n in range(20)]
    for name in customers:
        attributes = {"email": f"{name}@example.com", "first_name": name}
        await one.send(name, "identify", {"attributes": attributes}, stream="customer:profile")
        await one.send(name, "consent", {"channel": "email", "granted": True}, stream="customer:profile")
        await one.send(name, "start", {}, stream="flow:welcome")
    with worker(one, servers, mails, tmp_path / "worker.log") as running:
        running.start()
        await asyncio.to_thread(running.wait_ready)
        await one.until(lambda: len(mails.mails) == len(customers), "the mails came")
        for name in customers:
            await one.raw(name, "EMAIL_OPENED", 1, f"opened-{name}")
        running.kill()
        running.start()
        await asyncio.to_thread(running.wait_ready)

        async def all_ended() -> bool:
            return all([await ended(one, f"{one.owner(name)}/flow:welcome") for name in customers])

        await one.until(all_ended, "every run ended", 60)

        async def all_awarded() -> bool:
            return all(
                [await _found(one, f"{one.owner(n)}/points:ledger", "points.awarded.v1") for n in customers]
            )

        await one.until(all_awarded, "every award decided", 30)
    for name in customers:
        awards = [
            d for t, d in await events(one, f"{one.owner(name)}/points:ledger") if t == "points.awarded.v1"
        ]
        assert [a["balance"] for a in awards] == [100], name
    assert sorted(str(m["To"]) for m in mails.mails) == sorted(f"{name}@example.com" for name in customers)


async def test_what_a_mail_server_refuses_is_told_on_the_timeline(
    one: World, servers: embedded.Servers, mails: Mailbox, tmp_path: Path
) -> None:
    """A dead address ends the action with the server's word, and the run goes where its document says."""
    mails.refuse["RCPT"] = "550 5.1.1 No such user"
    publish(one, example("customers/profile.yaml"), example("customers/points.yaml"))
    publish(one, example("templates/welcome_email.yaml"))
    flow = hasty("flow/welcome.yaml", "2s")
    flow["nodes"]["welcome_email"]["params"]["variables"].pop("points_balance")
    publish(one, flow)
    await one.send("anna", "identify", {"attributes": ANNA}, stream="customer:profile")
    await one.send("anna", "consent", {"channel": "email", "granted": True}, stream="customer:profile")
    await one.send("anna", "start", {}, stream="flow:welcome")
    stream = f"{one.owner('anna')}/flow:welcome"
    with worker(one, servers, mails, tmp_path / "worker.log") as running:
        running.start()
        await asyncio.to_thread(running.wait_ready)
        run = await one.until(lambda: ended(one, stream), "the run ended")
    assert (run["state"], run["result"]) == ("COMPLETED", "unreached")
    failed = next(d for t, d in await events(one, stream) if t == "journey.effect_failed.v1")
    assert failed["result"]["suppress"] == {"channel": "email", "reason": "hard_bounce"}
    assert not mails.mails


async def test_flows_that_race_for_one_contact_send_one_mail(
    one: World, servers: embedded.Servers, mails: Mailbox, tmp_path: Path
) -> None:
    """Two flows, ten customers, a cap of one mail a day: each gets one mail, and the mail says the ledger's balance."""
    publish(one, example("customers/profile.yaml") | {"caps": [{"channel": "any", "per": "1d", "limit": 1}]})
    publish(one, example("customers/points.yaml"), example("templates/welcome_email.yaml"))
    names = {"customer_name": "{{customer.first_name}}", "points_balance": {"var": "account.points_balance"}}
    mail = {"kind": "action", "type": "send_email", "contact": "email", "class": "marketing"}
    mail["params"] = {"template": "welcome_email", "variables": names}
    flow = document({"mail": mail}, [("mail", "spared", "failure")])
    flow["nodes"]["spared"] = {"kind": "end", "result": "spared"}
    publish(one, flow | {"id": "news"}, flow | {"id": "offers"})
    customers = [f"cus-{n}" for n in range(10)]
    for name in customers:
        attributes = {"email": f"{name}@example.com", "first_name": name}
        await one.send(name, "identify", {"attributes": attributes}, stream="customer:profile")
        await one.send(name, "consent", {"channel": "email", "granted": True}, stream="customer:profile")
        await one.send(name, "award", {"points": 140, "reason": "x"}, stream="points:ledger")
    with worker(one, servers, mails, tmp_path / "worker.log") as running:
        running.start()
        await asyncio.to_thread(running.wait_ready)

        async def told(name: str) -> bool:
            return (
                await _found(one, f"{one.owner(name)}/customer:profile", "customer.balance_told.v1")
                is not None
            )

        async def all_told() -> bool:
            return all([await told(name) for name in customers])

        await one.until(all_told, "the records know the balances")
        for name in customers:
            for id in ("news", "offers"):
                await one.send(name, "start", {}, stream=f"flow:{id}")
        results: dict[str, list[Any]] = {}

        async def all_ended() -> bool:
            for name in customers:
                runs = [await ended(one, f"{one.owner(name)}/flow:{id}") for id in ("news", "offers")]
                results[name] = sorted(run["result"] if run else "" for run in runs)
            return all("" not in ends for ends in results.values())

        await one.until(all_ended, "every run ended")
    assert set(map(tuple, results.values())) == {("done", "spared")}, results
    assert sorted(str(m["To"]) for m in mails.mails) == sorted(f"{name}@example.com" for name in customers)
    assert all("140" in m.as_string() for m in mails.mails)
    assert not one.dead_letters()
