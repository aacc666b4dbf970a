"""One installation with a running worker for the tests of the command line, made by the command line itself."""

import secrets
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from orchestrator import embedded
from tests.bulk.scenes import WAITING
from tests.cli.calling import PROGRAM, ROOT, call, environment
from tests.cli.conftest import STOP_WITHIN_S, Shop, wait_until
from tests.support.servers import MakeDatabase, delete_topics


@pytest.fixture(scope="session")
def shop(
    servers: embedded.Servers, make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    """An installation of the tests' own with a flow in which customers wait, and a worker until the tests are over."""
    import yaml

    prefix = f"bulk{secrets.token_hex(4)}."
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
    folder = tmp_path_factory.mktemp("flows")
    document = folder / "flow.yaml"
    document.write_text(yaml.safe_dump(WAITING))
    profile = ROOT / "examples/customers/profile.yaml"
    for arguments in (("init",), ("definitions", "publish", str(document), str(profile))):
        ended = call(*arguments, env=env)
        assert ended.code == 0, ended.err
    log = folder / "worker.log"
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
def customers() -> list[str]:
    """Three customers no other test has."""
    mark = secrets.token_hex(5)
    return [f"cus-{mark}-{n}" for n in range(3)]


@pytest.fixture
def until() -> Callable[[Callable[[], Any]], None]:
    """A function that waits for a condition, and fails after a while."""
    return wait_until
