"""Callbacks on a real Kafka, PostgreSQL and mail server, with the worker that users start."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from orchestrator import definitions, embedded
from orchestrator.journeys import KINDS
from orchestrator.messages import TEMPLATE
from tests.callbacks.stand import NUMBER, twilio_signature
from tests.effects.receiver import receiver, status
from tests.providers.mail_server import Mailbox, mail_server
from tests.providers.stage import new_key
from tests.support.worker_process import WorkerProcess, environment_of
from tests.support.world import World, world

EXAMPLES = Path(__file__).parents[2] / "examples"
ANNA = {"email": "anna@example.com", "first_name": "Anna", "phone": NUMBER}
PUBLIC = "http://localhost"
PROFILE, FLOW = "customer:profile", "flow:welcome"


@pytest.fixture
async def one(servers: embedded.Servers, database: str, topic_prefix: str) -> AsyncIterator[World]:
    async with world(servers.bootstrap, database, topic_prefix, kinds=KINDS) as made:
        yield made


@pytest.fixture
async def mails() -> AsyncIterator[Mailbox]:
    async with mail_server() as box:
        yield box


def example(name: str) -> dict[str, Any]:
    return definitions.load((EXAMPLES / name).read_bytes())


def publish_welcome(one: World, wait: str) -> None:
    """The seed's Welcome flow with its documents; its day is as short as `wait`."""
    flow = example("flow/welcome.yaml")
    flow["nodes"]["one_day"]["for"] = wait
    del flow["quiet_hours"]
    for node in flow["nodes"].values():
        node.pop("quiet_hours", None)
    flow["nodes"]["welcome_email"]["params"]["variables"].pop("points_balance")
    for document in (
        *(example("customers/profile.yaml"), example("customers/points.yaml")),
        *(example("templates/welcome_email.yaml"), example("templates/welcome_reminder.yaml")),
        flow,
    ):
        ready = TEMPLATE.prepare(document) if document["kind"] == TEMPLATE.name else document
        one.publish(ready["id"], document=ready, kind=ready["kind"])


def worker(one: World, servers: embedded.Servers, box: Mailbox, log: Path, **more: str) -> WorkerProcess:
    environment = environment_of(
        servers,
        topic_prefix=one.settings.topic_prefix,
        DATABASE_URL=one.settings.database_url,
        ORCHESTRATOR_CONSUMER_GROUP=one.settings.consumer_group,
        ORCHESTRATOR_SNAPSHOT_QUIET_MS="100",
        ORCHESTRATOR_SMTP_HOST="127.0.0.1",
        ORCHESTRATOR_SMTP_PORT=str(box.port),
        ORCHESTRATOR_SMTP_SECURITY="none",
        ORCHESTRATOR_CALLBACKS_PORT="0",
        ORCHESTRATOR_LINKS_BASE_URL=PUBLIC,
        ORCHESTRATOR_LINKS_TRACK_OPENS="true",
        ORCHESTRATOR_LINKS_TRACK_CLICKS="true",
        ORCHESTRATOR_LINK_KEYS=new_key(),
        **more,
    )
    return WorkerProcess(environment, log, program=("orchestrator.worker_process", "all"))


async def started(one: World, running: WorkerProcess) -> str:
    """Where the worker's callbacks are reached."""
    running.start()
    await asyncio.to_thread(running.wait_ready)

    def port() -> int | None:
        lines = [orjson.loads(line) for line in running.log().splitlines() if '"callbacks listening"' in line]
        return lines[0]["port"] if lines else None

    return f"http://127.0.0.1:{await one.until(port, 'listening')}"


async def begin(one: World, **attributes: str) -> None:
    """Anna, who agreed to be written to, enters the flow."""
    await one.send("anna", "identify", {"attributes": ANNA | attributes}, stream=PROFILE)
    for channel in ("email", "sms"):
        await one.send("anna", "consent", {"channel": channel, "granted": True}, stream=PROFILE)
    await one.send("anna", "start", {}, stream=FLOW)


async def events(one: World, stream: str, name: str) -> list[dict[str, Any]]:
    """The data of a stream's events of one name, each once."""
    found = {
        record.header("ce_id"): orjson.loads(record.value or b"{}")
        for record in await one.read("events")
        if record.header("ce_subject") == f"{one.owner('anna')}/{stream}" and record.header("ce_type") == name
    }
    return list(found.values())


async def first(one: World, stream: str, name: str) -> dict[str, Any]:
    async def there() -> dict[str, Any] | None:
        return next(iter(await events(one, stream, name)), None)

    found: dict[str, Any] = await one.until(there, name)
    return found


async def test_a_mail_that_is_looked_at_is_engagement(
    one: World, servers: embedded.Servers, mails: Mailbox, tmp_path: Path
) -> None:
    """The picture and the link of the mail that arrived are opened; the flow's Check Engagement takes the branch."""
    publish_welcome(one, "4s")
    await begin(one)
    with worker(one, servers, mails, tmp_path / "worker.log") as running:
        base = await started(one, running)
        await one.until(lambda: mails.mails, "a mail came")
        html = mails.mails[0].get_body(("html",))
        assert html is not None
        page = html.get_content()
        (pixel,) = re.findall(rf'src="{PUBLIC}(/o/[^"]+)"', page)
        (link,) = re.findall(rf'href="{PUBLIC}(/c/[^"]+)"', page)
        async with aiohttp.ClientSession() as http:
            for _ in range(3):
                async with http.get(base + pixel) as answer:
                    assert (answer.status, answer.content_type) == (200, "image/gif")
            async with http.get(base + link, allow_redirects=False) as answer:
                assert answer.headers["Location"] == "https://example.com/account?from=welcome"
        run = await first(one, FLOW, "flow.run_ended.v1")
        balance = await first(one, "points:ledger", "points.awarded.v1")
    assert (run["state"], run["result"]) == ("COMPLETED", "engaged")
    assert balance["balance"] == 100
    assert not one.dead_letters()


async def test_an_unsubscribed_customer_gets_no_more(
    one: World, servers: embedded.Servers, mails: Mailbox, tmp_path: Path
) -> None:
    """One click in the mail program withdraws consent in the customer's record; looking at the page before doesn't."""
    publish_welcome(one, "30s")
    await begin(one)
    with worker(one, servers, mails, tmp_path / "worker.log") as running:
        base = await started(one, running)
        await one.until(lambda: mails.mails, "a mail came")
        path = mails.mails[0]["List-Unsubscribe"].strip("<>").removeprefix(PUBLIC)
        async with aiohttp.ClientSession() as http:
            async with http.get(base + path) as answer:
                assert answer.status == 200
            async with http.post(base + path, data={"List-Unsubscribe": "One-Click"}) as answer:
                assert answer.status == 200

        async def withdrawn() -> bool:
            changes = await events(one, PROFILE, "customer.consent_changed.v1")
            return any(not change["granted"] for change in changes)

        await one.until(withdrawn, "consent withdrawn")
        changes = await events(one, PROFILE, "customer.consent_changed.v1")
    assert [c["channel"] for c in changes if not c["granted"]] == ["email"]
    assert not one.dead_letters()


async def test_a_bounce_and_a_stop_silence_their_addresses(
    one: World, servers: embedded.Servers, mails: Mailbox, tmp_path: Path
) -> None:
    """A mail server's 5.1.1 suppresses the address; a STOP to the text that was sent silences the number it came from."""
    publish_welcome(one, "1s")
    token = new_key()
    taken = status(201, b'{"sid": "SM1", "status": "queued"}')
    async with receiver(taken) as twilio:
        accounts = {
            "ORCHESTRATOR_TWILIO_ACCOUNT_SID": "AC1",
            "ORCHESTRATOR_TWILIO_AUTH_TOKEN": token,
            "ORCHESTRATOR_TWILIO_SENDER": "+15005550006",
            "ORCHESTRATOR_TWILIO_BASE_URL": twilio.url(""),
        }
        await begin(one)
        with worker(one, servers, mails, tmp_path / "worker.log", **accounts) as running:
            base = await started(one, running)
            await one.until(lambda: twilio.calls, "a text was sent")
            form = {
                "MessageSid": "SM2",
                "SmsStatus": "received",
                "From": NUMBER,
                "To": "+15005550006",
                "Body": "STOP",
            }
            target = "/callbacks/twilio"
            headers = {"X-Twilio-Signature": twilio_signature(PUBLIC + target, form, token)}
            async with (
                aiohttp.ClientSession() as http,
                http.post(base + target, data=form, headers=headers) as answer,
            ):
                assert answer.status == 200
            stopped = await first(one, PROFILE, "customer.suppressed.v1")
            mails.refuse["RCPT"] = "550 5.1.1 No such user"
            again = example("flow/welcome.yaml") | {"id": "again", "reentry": "always"}
            again["nodes"]["welcome_email"]["params"]["variables"].pop("points_balance")
            one.publish("again", document=again, kind="flow")
            await one.send("anna", "start", {}, stream="flow:again")

            async def bounced() -> bool:
                return len(await events(one, PROFILE, "customer.suppressed.v1")) == 2

            await one.until(bounced, "the address suppressed")
            both = await events(one, PROFILE, "customer.suppressed.v1")
    assert (stopped["channel"], stopped["reason"]) == ("sms", "stop")
    assert {(s["channel"], s["reason"]) for s in both} == {("sms", "stop"), ("email", "hard_bounce")}
    assert not one.dead_letters()
