"""Broker, database or disk gone: the worker waits, says what it waits for, and goes on by itself without loss."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from orchestrator import embedded
from orchestrator.embedded import ServerControl
from tests.support.cutting_proxy import CuttingProxy
from tests.support.ledger import Traffic
from tests.support.scene import LANES, Scene, scene, until
from tests.support.servers import StartPrivate
from tests.support.worker_process import WorkerProcess

RESUMES_WITHIN_S = 60.0
MiB = 1 << 20


def go_through_an_outage(
    scene: Scene, server: ServerControl, dependency: str, *, lasting_s: float = 0.0
) -> None:
    """Take a server away under load, see the worker wait and say so, give it back, see the worker go on."""
    worker = scene.worker("only").start()
    worker.wait_ready()
    with Traffic(scene.ledger, per_second=100) as traffic:
        scene.await_progress(100)
        server.stop()
        await_waiting(worker, dependency)
        until(lambda: worker.log().find(f"{dependency} does not answer") >= 0, "a log line", 10)
        time.sleep(lasting_s)
        assert worker.running
        server.start()
        worker.wait_ready(RESUMES_WITHIN_S)
        assert worker.metric(gauge(dependency)) == 1.0
        traffic.finish(at_least=1_000)
    scene.await_done(RESUMES_WITHIN_S)
    assert scene.audit() == []


def says_waiting(worker: WorkerProcess, dependency: str) -> bool:
    status, body = worker.readiness()
    return status == 503 and body.get(dependency) == "waiting" and worker.metric(gauge(dependency)) == 0.0


def await_waiting(worker: WorkerProcess, dependency: str) -> None:
    until(lambda: says_waiting(worker, dependency), f"the worker waits for {dependency} and says so", 60)


def unpublished(scene: Scene) -> int:
    """Events in the logs that no publisher has dealt with."""
    with psycopg.connect(scene.dsn) as connection:
        rows = [
            connection.execute(
                sql.SQL(
                    "SELECT sum(CASE name WHEN 'log' THEN at ELSE -at END) FROM {}.positions WHERE name = ANY(%s)"
                ).format(sql.Identifier(f"lane_{lane:03d}")),
                (["log", "out:publisher"],),
            ).fetchone()
            for lane in range(LANES)
        ]
    return sum(int(row[0]) for row in rows if row)


def gauge(dependency: str) -> str:
    return f'journey_dependency_up{{dependency="{dependency}"}}'


@pytest.fixture
def installation(private_servers: embedded.Servers, tmp_path: Path) -> Iterator[Scene]:
    with scene(private_servers, tmp_path, owners=60) as made:
        yield made


@pytest.mark.timeout(300)
def test_a_broker_gone_is_waited_for(installation: Scene) -> None:
    """Without Kafka the worker stays up, unready and naming it, and goes on by itself when it is back."""
    go_through_an_outage(installation, installation.servers.kafka, "kafka")


@pytest.mark.timeout(300)
def test_a_worker_killed_while_the_broker_is_gone_leaves_nothing_unsaid(installation: Scene) -> None:
    """What was decided and could not be published before the worker died is published by the next one."""
    worker = installation.worker("only")
    installation.ledger.publish(12_000)
    worker.start()
    installation.await_progress(300)
    installation.servers.kafka.kill()  # what the worker had fetched it goes on deciding
    await_waiting(worker, "kafka")
    assert unpublished(installation) > 0
    worker.kill()
    installation.servers.kafka.start()
    worker.start().wait_ready()
    installation.await_done()
    assert installation.audit() == []


@pytest.mark.timeout(300)
def test_a_database_gone_is_waited_for(installation: Scene) -> None:
    """Without PostgreSQL the worker stays up, unready and naming it, and goes on by itself when it is back."""
    go_through_an_outage(installation, installation.servers.postgres, "postgresql")


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("dependency", ["kafka", "postgresql"])
def test_after_a_long_outage_work_goes_on_as_quickly(installation: Scene, dependency: str) -> None:
    """Pauses between attempts don't grow with the outage: after two minutes the worker is back as soon."""
    server = {"kafka": installation.servers.kafka, "postgresql": installation.servers.postgres}[dependency]
    go_through_an_outage(installation, server, dependency, lasting_s=130)


@pytest.mark.timeout(300)
def test_a_worker_started_before_its_servers_waits_for_them(installation: Scene) -> None:
    """Starting order doesn't matter: a worker without servers waits, names the missing one, and begins when it comes."""
    servers = installation.servers
    for server, dependency in ((servers.postgres, "postgresql"), (servers.kafka, "kafka")):
        server.stop()
        worker = installation.worker(dependency).start()
        await_waiting(worker, dependency)
        server.start()
        worker.wait_ready(RESUMES_WITHIN_S)
        assert worker.terminate() == 0


@pytest.mark.timeout(300)
def test_a_waiting_worker_can_be_stopped(installation: Scene) -> None:
    """A worker that waits for Kafka or PostgreSQL ends in order, and soon, when it is asked to."""
    servers = installation.servers
    for server, dependency in ((servers.kafka, "kafka"), (servers.postgres, "postgresql")):
        worker = installation.worker(dependency).start()
        worker.wait_ready()
        installation.ledger.publish(100)
        server.stop()
        await_waiting(worker, dependency)
        assert worker.terminate() == 0
        server.start()


@pytest.mark.timeout(300)
def test_a_lost_commit_acknowledgement_is_neither_loss_nor_repetition(
    servers: embedded.Servers, database: str, topic_prefix: str, tmp_path: Path
) -> None:
    """When PostgreSQL commits and the worker never hears of it, the commands are decided once all the same."""
    with (
        CuttingProxy(database, every=7) as proxy,
        scene(servers, tmp_path, dsn=database, topic_prefix=topic_prefix, owners=60) as installation,
    ):
        worker = installation.worker("only", DATABASE_URL=proxy.dsn).start()
        worker.wait_ready()
        proxy.armed = True
        with Traffic(installation.ledger, per_second=100) as traffic:
            until(lambda: proxy.cuts >= 8, "eight commits unacknowledged", 90)
            proxy.armed = False
            traffic.finish(at_least=1_000)
        installation.await_done()
        assert installation.audit() == []
        worker.close()


@contextmanager
def small_filesystem(folder: Path, size_mib: int) -> Iterator[Path]:
    """A filesystem of its own with little room. Skips, with the reason in the report, where mounting isn't allowed."""
    folder.mkdir(parents=True)
    mount = shutil.which("mount")
    made = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", f"size={size_mib}m,mode=0711", "tmpfs", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if not made or made.returncode != 0:
        pytest.skip(
            f"NOT TESTED HERE, full disks: mounting a small filesystem needs root ({made and made.stderr})"
        )
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.timeout(300)
def test_a_full_disk_is_waited_out(
    start_private: StartPrivate, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """With no room left for PostgreSQL the worker waits and says so; once there is room again, nothing is missing."""
    tmp_path = tmp_path_factory.mktemp("full-disk")
    data = Path("/var/tmp") / f"orchestrator-full-{tmp_path.name}-{time.monotonic_ns()}"
    data.mkdir(mode=0o711)
    try:
        with small_filesystem(data / "postgres", 260) as disk:
            servers = start_private(data)
            try:
                with scene(servers, tmp_path, owners=60) as installation:
                    fill_and_free(installation, disk / "ballast", lambda: shutil.disk_usage(disk).free)
            finally:
                servers.stop()
    finally:
        shutil.rmtree(data, ignore_errors=True)


def fill_and_free(scene: Scene, ballast: Path, free_bytes: Callable[[], int]) -> None:
    worker = scene.worker("only").start()
    worker.wait_ready()
    with Traffic(scene.ledger, per_second=100) as traffic:
        scene.await_progress(100)
        fill(ballast, free_bytes)
        until(lambda: says_waiting(worker, "postgresql"), "the worker waits for PostgreSQL's disk", 90)
        until(lambda: "No space left on device" in worker.log(), "a log line that names the cause", 30)
        assert worker.running
        ballast.unlink()
        scene.servers.postgres.start()  # a database that gave up is started again by its supervisor
        worker.wait_ready(RESUMES_WITHIN_S)
        traffic.finish(at_least=1_000)
    scene.await_done(RESUMES_WITHIN_S)
    assert scene.audit() == []


def fill(ballast: Path, free_bytes: Callable[[], int]) -> None:
    with ballast.open("wb", buffering=0) as file:
        while free_bytes() > 0:
            try:
                file.write(b"\0" * min(MiB, free_bytes()))
            except OSError:
                return


def test_a_frozen_workers_transaction_ends_by_itself(database: str) -> None:
    """Row locks of a worker that stands still within a transaction are gone after seconds, not when it wakes."""
    from orchestrator.engine.database import Database

    connection = Database(database)
    try:
        [row] = connection.rows("SELECT current_setting('idle_in_transaction_session_timeout') AS t")
        assert row["t"] == "10s"
    finally:
        connection.close()
    with psycopg.connect(database) as plain:
        assert plain.execute("SHOW idle_in_transaction_session_timeout").fetchone() == (
            "0",
        )  # not the server's doing
