"""One installation with a running worker for the command line's tests, made by the command line itself."""

import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator import embedded
from tests.cli.calling import PROGRAM, ROOT, SHOP, Ended, call, environment
from tests.support.servers import MakeDatabase, delete_topics

STOP_WITHIN_S = 40
WAIT_S = 60


class Shop:
    """Topics, tables, the shop definition and a worker. `call` runs the program against them."""

    def __init__(self, env: dict[str, str], log: Path) -> None:
        self.env = env
        self.log = log

    def call(self, *arguments: str | Path, stdin: str = "") -> Ended:
        return call(*arguments, env=self.env, stdin=stdin)

    def ask(self, *arguments: str | Path, stdin: str = "") -> Any:
        """The JSON answer of a command that must succeed."""
        ended = self.call(*arguments, "--output", "json", stdin=stdin)
        assert ended.code == 0, f"{ended.out}{ended.err}\n{self.log.read_text()[-3000:]}"
        return ended.json

    def publish(self, *lines: str) -> list[Any]:
        """Outcomes of commands or raw events given as JSON lines, in the order they came."""
        import json

        ended = self.call(
            "commands", "publish", "--file", "-", "--wait", "-o", "json", stdin="\n".join(lines)
        )
        assert ended.code in (0, 1), f"{ended.err}\n{self.log.read_text()[-3000:]}"
        return [json.loads(line) for line in ended.out.splitlines()]


@pytest.fixture(scope="session")
def shop(
    servers: embedded.Servers, make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    """An installation of the tests' own with the shop definition, and a worker until the tests are over."""
    prefix = f"cli{secrets.token_hex(4)}."
    env = environment(
        KAFKA_BOOTSTRAP_SERVERS=servers.bootstrap,
        DATABASE_URL=make_database(),
        ORCHESTRATOR_TOPIC_PREFIX=prefix,
        ORCHESTRATOR_CONSUMER_GROUP=f"{prefix}group",
        ORCHESTRATOR_LANES="3",
        ORCHESTRATOR_METRICS_PORT="-1",
        ORCHESTRATOR_SNAPSHOT_QUIET_MS="200",
        ORCHESTRATOR_SESSION_TIMEOUT_MS="6000",
    )
    for arguments in (("init",), ("definitions", "publish", SHOP)):
        ended = call(*arguments, env=env)
        assert ended.code == 0, ended.err
    log = tmp_path_factory.mktemp("cli") / "worker.log"
    with log.open("wb") as output:
        worker = subprocess.Popen([*PROGRAM, "worker"], env=env, cwd=ROOT, stdout=output, stderr=output)
    try:
        wait_until(lambda: worker.poll() is not None or "lanes assigned" in log.read_text())
        yield Shop(env, log)
    finally:
        worker.terminate()
        try:
            code = worker.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            worker.kill()
            code = worker.wait()
        delete_topics(servers.bootstrap, prefix)
    assert code == 0, log.read_text()[-3000:]


@pytest.fixture
def customer() -> str:
    """A customer no other test has."""
    return f"cus-{secrets.token_hex(6)}"


@pytest.fixture
def until() -> Callable[[Callable[[], Any]], None]:
    """A function that waits for a condition, and fails after a while."""
    return wait_until


def wait_until(condition: Callable[[], Any]) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline_s, "it didn't come true"
        time.sleep(0.05)
