"""The product as it is deployed: the command line and a worker process, both knowing only their environment."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from orchestrator import embedded
from tests.cli.calling import Ended, call
from tests.cli.calling import environment as cli_environment
from tests.support.worker_process import WorkerProcess

LANES = 2
WAIT_S = 60.0
_POLL_S = 0.05


class Product:
    """One installation. `worker` isn't started yet; leaving the `with` block ends it."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.environment = {
            "ORCHESTRATOR_LANES": str(LANES),
            "ORCHESTRATOR_METRICS_PORT": "0",
            "ORCHESTRATOR_LOG_FORMAT": "json",
            "ORCHESTRATOR_SNAPSHOT_QUIET_MS": "100",
            "ORCHESTRATOR_SESSION_TIMEOUT_MS": "6000",
            "ORCHESTRATOR_HEARTBEAT_INTERVAL_MS": "500",
            **environment,
        }
        self.said: list[str] = []
        """All that the command line said, both streams."""
        self.worker = self.worker_with()

    def worker_with(self, **changes: str) -> WorkerProcess:
        """A worker with other settings; not started."""
        program = ("orchestrator.worker_process", "all")
        return WorkerProcess({**self.environment, **changes}, self.folder / "worker.log", program)

    def call(self, *arguments: str | Path, stdin: str = "", **changes: str) -> Ended:
        """Run the command line; `changes` are variables."""
        ended = call(*arguments, env=cli_environment(**{**self.environment, **changes}), stdin=stdin)
        self.said += [ended.out, ended.err]
        return ended

    def ask(self, *arguments: str | Path, stdin: str = "") -> Any:
        """The JSON answer of a command that must succeed."""
        ended = self.call(*arguments, "--output", "json", stdin=stdin)
        assert ended.code == 0, f"{ended.err}\n{self.worker.log()[-3000:]}"
        return ended.json

    def prepare(self, document: str) -> None:
        """Make tables and topics, and publish a definition."""
        file = self.folder / "definition.yaml"
        file.write_text(document, encoding="utf-8")
        ended = self.call("init")
        assert ended.code == 0, ended.err
        ended = self.call("definitions", "publish", file)
        assert ended.code == 0, ended.err

    def publish(self, *commands: dict[str, Any]) -> list[dict[str, Any]]:
        """Outcomes of commands, in the order they came."""
        lines = "\n".join(json.dumps(command) for command in commands)
        ended = self.call("commands", "publish", "--file", "-", "--wait", "-o", "json", stdin=lines)
        assert ended.code in {0, 1}, f"{ended.err}\n{self.worker.log()[-3000:]}"
        return [json.loads(line) for line in ended.out.splitlines()]

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """The condition's first true answer. Raises AssertionError with what the worker said last."""
        deadline_s = time.monotonic() + WAIT_S
        while not (answer := condition()):
            assert time.monotonic() < deadline_s, f"not {what} in {WAIT_S} s:\n{self.worker.log()[-4000:]}"
            time.sleep(_POLL_S)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.worker.close()


def event(customer: str, type: str, key: str, definition: str = "greeted", **payload: Any) -> dict[str, Any]:
    """A command that tells a journey of an event, as `commands publish` reads it."""
    data = {"type": type, "payload": payload}
    return {
        "subject": f"acme/c/{customer}/lifecycle:{definition}", "type": "event", "id": key, "source": "tests", "data": data
    }  # fmt: skip


def scram(secure: embedded.SecureListeners) -> dict[str, str]:
    """Settings of SASL_SSL with a password."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": secure.sasl_bootstrap,
        "ORCHESTRATOR_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "ORCHESTRATOR_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "ORCHESTRATOR_KAFKA_SASL_USERNAME": secure.scram_user,
        "ORCHESTRATOR_KAFKA_SASL_PASSWORD": secure.scram_password,
        "ORCHESTRATOR_KAFKA_SSL_CAFILE": str(secure.ca_file),
    }


def tls(secure: embedded.SecureListeners) -> dict[str, str]:
    """Settings of SSL with a client certificate."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": secure.ssl_bootstrap,
        "ORCHESTRATOR_KAFKA_SECURITY_PROTOCOL": "SSL",
        "ORCHESTRATOR_KAFKA_SSL_CAFILE": str(secure.ca_file),
        "ORCHESTRATOR_KAFKA_SSL_CERTFILE": str(secure.client_certificate_file),
        "ORCHESTRATOR_KAFKA_SSL_KEYFILE": str(secure.client_key_file),
    }


def oauth(secure: embedded.SecureListeners, url: str, secret: str) -> dict[str, str]:
    """Settings of SASL_SSL with tokens fetched at `url`."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": secure.sasl_bootstrap,
        "ORCHESTRATOR_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "ORCHESTRATOR_KAFKA_SASL_MECHANISM": "OAUTHBEARER",
        "ORCHESTRATOR_KAFKA_SASL_OAUTH_TOKEN_URL": url,
        "ORCHESTRATOR_KAFKA_SASL_OAUTH_CLIENT_ID": "journeys",
        "ORCHESTRATOR_KAFKA_SASL_OAUTH_CLIENT_SECRET": secret,
        "ORCHESTRATOR_KAFKA_SSL_CAFILE": str(secure.ca_file),
    }
