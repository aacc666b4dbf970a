"""`sslmode` and `sslrootcert` of DATABASE_URL: obeyed everywhere, and told when they keep us out."""

from pathlib import Path

import pytest

from orchestrator import embedded
from orchestrator.core.errors import ConfigurationError
from orchestrator.engine.database import Database
from tests.effects.receiver import certificate
from tests.security.product import Product, event
from tests.security.tls_front import tls_front

DOCUMENT = """
kind: lifecycle
id: greeted
events: [ARRIVED]
initial: AWAY
states: {AWAY: {on: {ARRIVED: HERE}}, HERE: {}}
"""


def test_all_work_is_done_over_verified_connections(
    servers: embedded.Servers, database: str, topic_prefix: str, tmp_path: Path
) -> None:
    """With `verify-full` and the authority's file, command line and worker connect encrypted, each time."""
    with tls_front(database, tmp_path) as front:
        settings = {
            "KAFKA_BOOTSTRAP_SERVERS": servers.bootstrap,
            "DATABASE_URL": front.dsn(sslmode="verify-full", sslrootcert=str(front.authority)),
            "ORCHESTRATOR_TOPIC_PREFIX": topic_prefix,
        }
        with Product(tmp_path, **settings) as product:
            product.prepare(DOCUMENT)
            product.worker.start().wait_ready()
            [told] = product.publish(event("cus-1", "ARRIVED", "a"))
            assert told["outcome"] == "applied"
            assert product.worker.terminate() == 0
        assert front.entered > 3


REFUSALS = {
    "another authority": "certificate verify failed",
    "no authority": "certificate",
    "a file that is not there": "does not exist",
    "another name": "does not match host name",
    "no encryption": "no encryption",
    "a server without TLS": "SSL was required",
    "an unknown mode": "invalid sslmode",
}


def refusal(fault: str, database: str, folder: Path) -> str:
    """What is said of an address with one thing wrong."""
    name = "database.test" if fault == "another name" else "localhost"
    (folder / "other").mkdir()
    other, _ = certificate(folder / "other", "localhost")
    with tls_front(database, folder, name) as front:
        root = {
            "another authority": str(other), "no authority": "system", "a file that is not there": str(folder / "none.pem"),
        }.get(fault, str(front.authority))  # fmt: skip
        mode = {"no encryption": "disable", "an unknown mode": "strict"}.get(fault, "verify-full")
        dsn = front.dsn(sslmode=mode, sslrootcert=root)
        if fault == "a server without TLS":
            dsn = f"{database}?sslmode=require"
        with pytest.raises(ConfigurationError) as refused:
            Database(dsn).refuse_wrong_address()
    return str(refused.value)


@pytest.mark.parametrize("fault", REFUSALS)
def test_each_refusal_names_its_setting(database: str, tmp_path: Path, fault: str) -> None:
    """A certificate that isn't trusted or not asked for ends in a message with its reason and where to correct it."""
    message = refusal(fault, database, tmp_path)
    assert message.startswith("DATABASE_URL can't be used: ")
    assert REFUSALS[fault] in message
    assert "sslmode and sslrootcert" in message


def test_a_worker_refused_by_certificate_ends_with_78(
    servers: embedded.Servers, database: str, topic_prefix: str, tmp_path: Path
) -> None:
    """Worker and `init` end with one line, without a traceback or the password, and don't wait for the certificate."""
    (tmp_path / "other").mkdir()
    other, _ = certificate(tmp_path / "other", "localhost")
    with tls_front(database, tmp_path) as front:
        settings = {
            "KAFKA_BOOTSTRAP_SERVERS": servers.bootstrap,
            "DATABASE_URL": front.dsn(sslmode="verify-full", sslrootcert=str(other)),
            "ORCHESTRATOR_TOPIC_PREFIX": topic_prefix,
        }
        password = settings["DATABASE_URL"].split(":")[2].split("@")[0]
        with Product(tmp_path, LOG_LEVEL="DEBUG", **settings) as product:
            assert product.worker.start().wait() == 78
            log = product.worker.log()
            assert product.call("init", LOG_LEVEL="INFO").code == 78
            examined = product.call("doctor", LOG_LEVEL="INFO")
            assert examined.code == 1
        for said in (log, product.said[1], examined.out):
            assert "certificate verify failed" in said
            assert "DATABASE_URL" in said
            assert "Traceback" not in said
            assert password not in said
