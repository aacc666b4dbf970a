import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator import embedded
from tests.cli.calling import PROGRAM, ROOT, call, environment
from tests.cli.conftest import STOP_WITHIN_S, Shop, wait_until
from tests.support.servers import MakeDatabase, delete_topics

pytestmark = pytest.mark.xdist_group("tickets")  # one installation for all
STREAM = "acme/r/drop.line/queue:drop:line"
DOCUMENT: dict[str, Any] = {
    "kind": "experience",
    "id": "drop",
    "name": "Drop",
    "sequences": [{"id": "all", "name": "All", "priority": 1, "distribution": "line"}],
    "distributions": {"line": {"mechanism": "queue", "concurrent": 1, "admission": {"valid": "1h"}}},
}


class Drop(Shop):
    """An installation with a queue that serves one at a time, its keys, and a worker."""

    def enters(self, customer: str) -> None:
        lines = [
            {"subject": journey(customer), "type": word, "source": "tests", "id": f"{customer}-{word}"}
            for word in ("start", "enter_queue")
        ]
        outcomes = self.publish(*(json.dumps(line) for line in lines))
        assert [outcome["outcome"] for outcome in outcomes] == ["applied", "applied"], outcomes
        wait_until(lambda: self.timeline(customer, "experience.entered.v1"))

    def timeline(self, customer: str, event: str) -> bool:
        return any(row["event"] == event for row in self.ask("journeys", "timeline", journey(customer)))


def journey(customer: str) -> str:
    return f"acme/c/{customer}/experience:drop"


@pytest.fixture(scope="module")
def drop(
    servers: embedded.Servers, make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Drop]:
    folder = tmp_path_factory.mktemp("tickets")
    prefix = f"tickets{time.time_ns()}."
    env = environment(
        KAFKA_BOOTSTRAP_SERVERS=servers.bootstrap,
        DATABASE_URL=make_database(),
        ORCHESTRATOR_TOPIC_PREFIX=prefix,
        ORCHESTRATOR_CONSUMER_GROUP=f"{prefix}group",
        ORCHESTRATOR_LANES="2",
        ORCHESTRATOR_METRICS_PORT="-1",
        ORCHESTRATOR_SESSION_TIMEOUT_MS="6000",
        ORCHESTRATOR_DEFAULT_ORGANIZATION="acme",
        ORCHESTRATOR_GRANTS_KEYS_DIR=str(folder / "keys"),
    )
    (folder / "drop.yaml").write_text(json.dumps(DOCUMENT))
    for arguments in (("init",), ("definitions", "publish", folder / "drop.yaml"), ("keys", "generate")):
        ended = call(*arguments, env=env)
        assert ended.code == 0, ended.out + ended.err
    log = folder / "worker.log"
    with log.open("wb") as output:
        worker = subprocess.Popen([*PROGRAM, "worker"], env=env, cwd=ROOT, stdout=output, stderr=output)
    try:
        wait_until(lambda: worker.poll() is not None or "lanes assigned" in log.read_text())
        yield Drop(env, log)
    finally:
        worker.terminate()
        try:
            worker.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
        delete_topics(servers.bootstrap, prefix)


def test_everybody_in_line_finds_their_place_from_one_document(drop: Drop, tmp_path: Path) -> None:
    """Tickets are signed for who waits alone; one document places all of them; nothing signed is kept anywhere."""
    drop.enters("anna")
    wait_until(lambda: drop.timeline("anna", "experience.admitted.v1"))
    for customer in ("berta", "carla", "dora"):
        drop.enters(customer)
    tokens = {c: drop.ask("tickets", "show", journey(c))["token"] for c in ("berta", "carla", "dora")}
    served = drop.call("tickets", "show", "anna", "--definition", "experience:drop")
    assert served.code == 1
    assert "does not wait" in served.err
    assert drop.call("tickets", "show", journey("nobody")).code == 1
    shown = drop.call("tickets", "show", journey("dora"))
    assert shown.code == 0
    assert drop.ask("tickets", "validate", stdin=shown.out.split()[-1])["number"] == 4

    serving = tmp_path / "serving.json"
    serving.write_text(drop.call("tickets", "serving", STREAM, "-o", "json").out)
    assert drop.call("tickets", "serving", STREAM).code == 0
    assert drop.call("tickets", "serving", "acme/r/drop.none/queue:drop:none").code == 1
    jwks = tmp_path / "jwks.json"
    jwks.write_text(drop.call("keys", "jwks").out)
    for ahead, (customer, token) in enumerate(tokens.items()):
        assert drop.ask("tickets", "validate", "--jwks", jwks, stdin=token)["sub"] == customer
        told = drop.ask("tickets", "position", "--serving", serving, "--jwks", jwks, stdin=token)
        assert (told["status"], told["ahead_low"], told["ahead_high"]) == ("waiting", ahead, ahead)

    everything = [
        drop.ask("journeys", "timeline", STREAM),
        *(drop.ask("journeys", "timeline", journey(c)) for c in tokens),
    ]
    kept = json.dumps(everything) + drop.log.read_text() + serving.read_text()
    assert not any(token.rpartition(".")[2] in kept for token in tokens.values())
    assert not any(customer in serving.read_text() for customer in tokens)
