"""An installation of a test's own: servers, workers as processes, a ledger, and waiting for what must come true."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from orchestrator import embedded, settings
from orchestrator.installation import Databases, init
from tests.support.audit import Audit, Findings, waiting
from tests.support.ledger import Ledger, publish_definition
from tests.support.worker_process import PLANT, WorkerProcess, environment_of

LANES = 4
GROUP = "journey-orchestrator"
_POLL_S = 0.1


class Scene:
    """Made by `scene`. `bug` names a plant that every worker of this scene is broken with."""

    def __init__(
        self,
        servers: embedded.Servers,
        folder: Path,
        stack: ExitStack,
        *,
        dsn: str | None = None,
        topic_prefix: str = "",
        owners: int = 400,
        seed: int = 1,
        bug: str = "",
    ) -> None:
        self.servers = servers
        self.dsn = dsn or servers.dsn
        self.topic_prefix = topic_prefix
        self.group = topic_prefix + GROUP
        self.environment = environment_of(
            servers,
            topic_prefix=topic_prefix,
            DATABASE_URL=self.dsn,
            ORCHESTRATOR_LANES=str(LANES),
            ORCHESTRATOR_CONSUMER_GROUP=GROUP,
            **{PLANT: bug},
        )
        found = settings.load(self.environment)
        databases = Databases(found)
        try:
            asyncio.run(init(found, databases))
        finally:
            databases.close()
        publish_definition(self.dsn)
        self.ledger = Ledger(
            servers.bootstrap, topic_prefix=topic_prefix, lanes=LANES, owners=owners, seed=seed
        )
        self._folder = folder
        self._stack = stack
        self._workers: list[WorkerProcess] = []

    def worker(self, name: str, **environment: str) -> WorkerProcess:
        """A worker, not started; ended with the scene."""
        worker = WorkerProcess({**self.environment, **environment}, self._folder / f"{name}.log")
        self._workers.append(worker)
        self._stack.callback(worker.close)
        return worker

    def handled(self) -> int:
        """Messages handled by all lanes so far."""
        with psycopg.connect(self.dsn) as connection:
            total = 0
            for lane in range(LANES):
                row = connection.execute(
                    sql.SQL("SELECT sum(at + 1) FROM {}.positions WHERE name LIKE 'in:%'").format(
                        sql.Identifier(f"lane_{lane:03d}")
                    )
                ).fetchone()
                total += int(row[0]) if row else 0
            return total

    def await_progress(self, messages: int, timeout_s: float = 60.0) -> None:
        """Until so many more messages are handled: what comes next then hits traffic."""
        goal = self.handled() + messages
        until(lambda: self.handled() >= goal, f"{messages} more messages handled", timeout_s)

    def await_done(self, timeout_s: float = 90.0) -> None:
        """Until every message is handled and every follower has dealt with it."""
        behind: list[str] = ["?"]

        def done() -> bool:
            behind[:] = waiting(self.dsn, self.servers.bootstrap, topic_prefix=self.topic_prefix, lanes=LANES)
            return not behind

        try:
            until(done, "everything dealt with", timeout_s)
        except AssertionError as error:
            said = "\n".join(f"{w.log_path.name}: {w.log()[-3_000:]}" for w in self._workers)
            raise AssertionError(f"{error}: {behind}\n{said}") from None

    def audit(self) -> Findings:
        """What the auditor finds wrong."""
        return Audit(
            self.ledger, self.servers.bootstrap, self.dsn, topic_prefix=self.topic_prefix, lanes=LANES
        ).findings()


@contextmanager
def scene(
    servers: embedded.Servers,
    folder: Path,
    *,
    dsn: str | None = None,
    topic_prefix: str = "",
    owners: int = 400,
    seed: int = 1,
    bug: str = "",
) -> Iterator[Scene]:
    """An installation on these servers with its ledger; whatever worker runs at the end is killed."""
    with ExitStack() as stack:
        yield Scene(
            servers, folder, stack, dsn=dsn, topic_prefix=topic_prefix, owners=owners, seed=seed, bug=bug
        )


def until(condition: Callable[[], bool], what: str, timeout_s: float) -> None:
    """Wait for a condition. Raises AssertionError when it doesn't come true in time."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"not in {timeout_s:.0f} s: {what}"
        time.sleep(_POLL_S)
