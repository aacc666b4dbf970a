"""A campaign on real servers: published by the command line, triggered by a flow, delivered once."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from orchestrator import embedded
from orchestrator.journeys import KINDS
from tests.campaigns.documents import example
from tests.cli.calling import ROOT, call, environment
from tests.flow.graphs import document
from tests.providers.mail_server import mail_server
from tests.providers.stage import new_key
from tests.support.worker_process import WorkerProcess, environment_of
from tests.support.world import World, world


@pytest.fixture
async def one(servers: embedded.Servers, database: str, topic_prefix: str) -> AsyncIterator[World]:
    async with world(servers.bootstrap, database, topic_prefix, kinds=KINDS) as made:
        yield made


def written(folder: Path, *documents: dict[str, Any]) -> list[Path]:
    files = []
    for one in documents:
        files.append(folder / f"{one['kind']}-{one['id']}.yaml")
        files[-1].write_text(yaml.safe_dump(one))
    return files


async def test_a_flow_triggers_a_campaign(one: World, servers: embedded.Servers, tmp_path: Path) -> None:
    """It can't be published before its templates; the mail comes once, and the run keeps the record."""
    campaign = example("win-back")
    del campaign["active"]
    flow = document(
        {
            "act": {
                "kind": "action",
                "type": "trigger_campaign",
                "params": {
                    "campaign_id": "win-back",
                    "variables": {"customer_name": "{{customer.first_name}}"},
                },
            }
        }
    )
    env = environment(
        KAFKA_BOOTSTRAP_SERVERS=servers.bootstrap,
        DATABASE_URL=one.settings.database_url,
        ORCHESTRATOR_TOPIC_PREFIX=one.settings.topic_prefix,
        ORCHESTRATOR_LANES="2",
    )
    files = written(tmp_path, campaign, flow)
    refused = await asyncio.to_thread(call, "definitions", "publish", *files, env=env)
    assert (refused.code, "win_back_email" in refused.err) == (1, True)
    assert one.rows("SELECT count(*) AS n FROM orchestrator.definitions")[0]["n"] == 0
    mails = [ROOT / "examples/campaigns/win_back_email.yaml", ROOT / "examples/templates/new_offer.yaml"]
    profile = ROOT / "examples/customers/profile.yaml"
    done = await asyncio.to_thread(call, "definitions", "publish", *files, *mails, profile, env=env)
    assert done.code == 0, done.err
    stream = f"{one.owner('anna')}/flow:test"
    attributes = {"email": "anna@example.com", "first_name": "Anna"}
    await one.send("anna", "identify", {"attributes": attributes}, stream="customer:profile")
    for _ in range(2):
        await one.send("anna", "start", {}, stream="flow:test", id="once")
    async with mail_server() as box:
        settings = environment_of(
            servers,
            topic_prefix=one.settings.topic_prefix,
            DATABASE_URL=one.settings.database_url,
            ORCHESTRATOR_CONSUMER_GROUP=one.settings.consumer_group,
            ORCHESTRATOR_SMTP_HOST="127.0.0.1",
            ORCHESTRATOR_SMTP_PORT=str(box.port),
            ORCHESTRATOR_SMTP_SECURITY="none",
            ORCHESTRATOR_SMTP_SENDER="Shop <news@example.com>",
            ORCHESTRATOR_UNSUBSCRIBE_URL="https://example.com/unsubscribe",
            ORCHESTRATOR_LINK_KEYS=new_key(),
        )
        program = ("orchestrator.worker_process", "all")
        with WorkerProcess(settings, tmp_path / "worker.log", program=program) as running:
            running.start()
            await asyncio.to_thread(running.wait_ready)
            answer = await one.until(lambda: _answer(one, stream), "the action was answered")
    assert answer[0] == "journey.effect_succeeded.v1", answer
    result = answer[1]["result"]
    assert (result["campaign"], result["version"], result["channel"]) == ("win-back", 1, "email")
    (mail,) = box.mails
    assert mail["Subject"] == "Anna, 20 % off our autumn lamps"
    assert result["message_id"] == mail["Message-ID"]
    assert not one.dead_letters()


async def _answer(one: World, stream: str) -> tuple[str, dict[str, Any]] | None:
    ends = ("journey.effect_succeeded.v1", "journey.effect_failed.v1")
    for record in await one.read("events"):
        if record.header("ce_subject") == stream and record.header("ce_type") in ends:
            return record.header("ce_type"), orjson.loads(record.value or b"{}")
    return None
