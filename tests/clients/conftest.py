"""A worker on the run's servers, for the sample clients to talk to."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestrator import embedded
from tests.clients import toolchains
from tests.support.servers import MakeDatabase, delete_topics

ROOT = Path(__file__).resolve().parents[2]
CLI = (sys.executable, "-c", "from orchestrator.cli import main; main()")
STOP_WITHIN_S = 30
CALL_WITHIN_S = 120


@dataclass(frozen=True)
class Installation:
    """Topics, tables, a published definition and a running worker, all of the clients' own."""

    environment: dict[str, str]
    bootstrap: str
    prefix: str
    worker: subprocess.Popen[bytes]
    log: Path

    def call(self, argv: list[str], *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a client to its end."""
        return subprocess.run(
            [*argv, *arguments],
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=CALL_WITHIN_S,
        )

    def ask(self, argv: list[str], *arguments: str) -> dict[str, Any]:
        """Run a client that should get an outcome; the outcome."""
        ended = self.call(argv, *arguments)
        assert ended.returncode == 0, (
            f"{ended.stderr}\nworker: {self.worker.poll()}\n{self.log.read_text()[-4000:]}"
        )
        outcome: dict[str, Any] = json.loads(ended.stdout)
        return outcome


@pytest.fixture(scope="session")
def installation(
    servers: embedded.Servers, make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """Made with the product's own commands, as a user would."""
    prefix = f"clients{secrets.token_hex(4)}."
    environment = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": servers.bootstrap,
        "DATABASE_URL": make_database(),
        "ORCHESTRATOR_TOPIC_PREFIX": prefix,
        "ORCHESTRATOR_METRICS_PORT": "-1",
        "COMMANDS_TOPIC": f"{prefix}journeys.commands",
        "OUTCOMES_TOPIC": f"{prefix}journeys.outcomes",
    }
    for command in (["init"], ["definitions", "publish", "examples/lifecycle/shop.yaml"]):
        done = subprocess.run(
            [*CLI, *command],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    log = tmp_path_factory.mktemp("worker") / "worker.log"
    with log.open("wb") as output:
        worker = subprocess.Popen([*CLI, "worker"], cwd=ROOT, env=environment, stdout=output, stderr=output)
    try:
        yield Installation(environment, servers.bootstrap, prefix, worker, log)
    finally:
        worker.terminate()
        try:
            worker.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
        delete_topics(servers.bootstrap, prefix)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[str]]:
    """A function that builds a language's sample once and returns how to call it."""
    commands: dict[str, list[str]] = {}

    def get(language: str) -> list[str]:
        if language not in commands:
            toolchains.require(language)
            commands[language] = toolchains.build(language, tmp_path_factory.mktemp(language) / "client")
        return commands[language]

    return get


@pytest.fixture(params=list(toolchains.TOOLCHAINS))
def client(request: pytest.FixtureRequest, built: Callable[[str], list[str]]) -> list[str]:
    """The command line of each language's client in turn."""
    return built(request.param)
