"""The effect worker of docs/workers.md: built, and run beside the product's own workers on real servers."""

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from orchestrator import embedded
from orchestrator.journeys import KINDS
from tests.clients import toolchains
from tests.clients.conftest import ROOT
from tests.effects.receiver import Receiver, receiver
from tests.support.worker_process import WorkerProcess, environment_of
from tests.support.world import World, world

pytestmark = [pytest.mark.xdist_group("clients"), pytest.mark.timeout(480)]

SAMPLE = toolchains.SAMPLES / "typescript-worker"
PAGE = (ROOT / "docs/workers.md").read_text()
FLOW: dict[str, Any] = {
    "kind": "flow",
    "id": "pigeons",
    "entry": [{"manual": True}],
    "nodes": {
        "begin": {"kind": "start"},
        "tell": {
            "kind": "action",
            "type": "send_pigeon",
            "params": {"loft": "north"},
            "retry": {"attempts": 3, "initial": "100ms"},
            "timeout": "5s",
        },
        "note": {"kind": "action", "type": "log", "params": {"message": "x"}, "wait": False},
        "done": {"kind": "end", "result": "done"},
        "sorry": {"kind": "end", "result": "sorry"},
    },
    "edges": [
        {"from": "begin", "to": "note"},
        {"from": "note", "to": "tell"},
        {"from": "tell", "to": "done"},
        {"from": "tell", "to": "sorry", "branch": "failure"},
    ],
}


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample's folder, built from its lock in a copy of its own."""
    toolchains.require("node")
    folder = tmp_path_factory.mktemp("typescript") / "worker"
    shutil.copytree(SAMPLE, folder, ignore=shutil.ignore_patterns("node_modules", "*.js"))
    for command in (["npm", "ci", "--no-audit", "--no-fund", "--prefer-offline"], ["npm", "run", "build"]):
        ended = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=toolchains.BUILD_WITHIN_S,
        )
        assert ended.returncode == 0, f"{command}:\n{ended.stdout[-4000:]}{ended.stderr[-4000:]}"
    return folder


class Loft:
    """The service that the worker calls: a customer's name says how it answers."""

    def __init__(self) -> None:
        self.asked: dict[str, int] = {}
        self.hold = asyncio.Event()

    async def answer(self, request: web.Request) -> web.Response:
        key = request.headers["idempotency-key"]
        assert await request.json() == {"loft": "north"}
        first = key not in self.asked
        self.asked[key] = self.asked.get(key, 0) + 1
        if "/c/slow/" in key and first:
            await self.hold.wait()
        if "/c/busy/" in key and first:
            return web.Response(status=503)
        return web.Response(status=400 if "/c/wrong/" in key else 202)


@pytest.fixture
async def loft() -> AsyncIterator[tuple[Loft, Receiver]]:
    made = Loft()
    async with receiver(made.answer) as listening:
        yield made, listening
        made.hold.set()


@pytest.fixture
async def one(
    servers: embedded.Servers, database: str, topic_prefix: str, tmp_path: Path
) -> AsyncIterator[World]:
    """An installation whose lanes work, with no effect runner of the product's own."""
    async with world(servers.bootstrap, database, topic_prefix, kinds=KINDS) as made:
        made.publish("pigeons", document=FLOW, kind="flow")
        environment = environment_of(
            servers,
            topic_prefix=topic_prefix,
            DATABASE_URL=database,
            ORCHESTRATOR_CONSUMER_GROUP=made.settings.consumer_group,
        )
        program = ("orchestrator.worker_process", "lanes")
        with WorkerProcess(environment, tmp_path / "worker.log", program=program) as running:
            running.start()
            await asyncio.to_thread(running.wait_ready)
            yield made


@contextmanager
def node(folder: Path, one: World, url: str) -> Iterator[subprocess.Popen[bytes]]:
    """The sample at work; killed at the end."""
    environment = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": one.settings.kafka_bootstrap_servers,
        "EFFECTS_TOPIC": one.settings.topic("effects"),
        "COMMANDS_TOPIC": one.settings.topic("commands"),
        "GROUP_ID": f"{one.settings.topic_prefix}pigeons",
        "LOFT_URL": url,
    }
    with (folder / "worker.log").open("ab") as log:
        process = subprocess.Popen(["node", "worker.js"], cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def end_of(one: World, customer: str) -> dict[str, Any]:
    """How the customer's run ended, once it has."""
    stream = f"{one.owner(customer)}/flow:pigeons"

    async def ended() -> dict[str, Any] | None:
        for record in await one.read("events"):
            if record.header("ce_subject") == stream and record.header("ce_type") == "flow.run_ended.v1":
                found: dict[str, Any] = orjson.loads(record.value or b"{}")
                return found
        return None

    found: dict[str, Any] = await one.until(ended, f"{customer}'s run ended", 90)
    return found


async def test_a_worker_in_another_language_performs_its_type_alone(
    built: Path, one: World, loft: tuple[Loft, Receiver]
) -> None:
    """Done, done at the second attempt with the same key, or refused for good: each run goes where its document says."""
    service, listening = loft
    with node(built, one, listening.url()):
        for customer in ("calm", "busy", "wrong"):
            await one.send(customer, "start", {}, stream="flow:pigeons")
        ends = {customer: await end_of(one, customer) for customer in ("calm", "busy", "wrong")}
    assert {c: e["result"] for c, e in ends.items()} == {"calm": "done", "busy": "done", "wrong": "sorry"}
    asked = {key.split("/")[2]: n for key, n in service.asked.items()}
    assert asked == {"calm": 1, "busy": 2, "wrong": 1}
    events = [json.loads(r.value or b"{}") for r in await one.read("events")]
    assert [e["error"] for e in events if "error" in e] == ["status_503", "status_400"]
    answers = [r for r in await one.read("commands") if r.header("ce_source") == "engine/effects"]
    requests = {r.header("ce_id"): r.json["type"] for r in await one.read("effects")}
    assert set(requests.values()) == {"send_pigeon", "log"}
    assert {requests[r.header("ce_id")] for r in answers} == {"send_pigeon"}
    assert not one.dead_letters()


async def test_a_worker_killed_in_a_call_calls_again_with_the_same_key(
    built: Path, one: World, loft: tuple[Loft, Receiver]
) -> None:
    """What was under way is asked for again under its key, so that the service can drop the repeat; the run ends once."""
    service, listening = loft
    with node(built, one, listening.url()) as first:
        await one.send("slow", "start", {}, stream="flow:pigeons")
        await one.until(lambda: service.asked, "called", 90)
        first.kill()
    with node(built, one, listening.url()):
        assert (await end_of(one, "slow"))["result"] == "done"
    [(key, times)] = service.asked.items()
    assert times == 2
    assert key.startswith(f"{one.owner('slow')}/flow:pigeons/")
    ended = [r for r in await one.read("events") if r.header("ce_type") == "flow.run_ended.v1"]
    assert len({r.header("ce_id") for r in ended}) == 1


def test_the_page_shows_the_sample() -> None:
    """The worker on the page is the one that is tested, line by line, and it is short."""
    shown = re.search(r"```ts\n(.*?)```", PAGE, re.DOTALL)
    assert shown is not None
    source = (SAMPLE / "worker.ts").read_text()
    assert shown[1] == source
    assert len([line for line in source.splitlines() if line and not line.startswith("//")]) <= 45


def test_the_sample_is_pinned_and_names_no_registry() -> None:
    """It builds from pinned dependencies, wherever its user's registry is."""
    lock = (SAMPLE / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    assert lock.count('"integrity"') == 4
    package = json.loads((SAMPLE / "package.json").read_text())
    pins = {**package["dependencies"], **package["devDependencies"]}.values()
    assert all(re.fullmatch(r"[\d.]+", pin) for pin in pins)
