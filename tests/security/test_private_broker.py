"""What needs a broker of one's own: client certificates that are asked for, and tokens that end while it restarts."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator import embedded, kafka_access
from orchestrator.core.errors import ConfigurationError
from orchestrator.settings import load
from tests.effects.receiver import certificate
from tests.security.product import Product, event, oauth, tls
from tests.security.tokens import TokenEndpoint
from tests.support.servers import private_pairs

DOCUMENT = """
kind: lifecycle
id: greeted
events: [ARRIVED]
initial: AWAY
states: {AWAY: {on: {ARRIVED: HERE}}, HERE: {}}
"""
SHORT_S = 31.0  # tokens are renewed half a minute before they end: one second after they were given
LONG_S = 3600.0


@pytest.fixture(scope="module")
def pair() -> Iterator[embedded.Servers]:
    with private_pairs() as start:
        yield start(kafka_security=embedded.KafkaSecurity(require_client_certificate=True))


@pytest.fixture
def secure(pair: embedded.Servers) -> embedded.SecureListeners:
    assert pair.secure is not None
    return pair.secure


def test_a_worker_shows_its_certificate_to_a_broker_that_asks(
    pair: embedded.Servers, secure: embedded.SecureListeners, tmp_path: Path
) -> None:
    """Where the broker lets nobody in without a certificate of its authority, ours does all its work."""
    with Product(
        tmp_path, DATABASE_URL=pair.dsn, ORCHESTRATOR_TOPIC_PREFIX="certified.", **tls(secure)
    ) as product:
        product.prepare(DOCUMENT)
        product.worker.start().wait_ready()
        [told] = product.publish(event("cus-1", "ARRIVED", "a"))
        assert told["outcome"] == "applied"


@pytest.mark.parametrize("given", ["none", "of another authority"])
async def test_without_a_trusted_certificate_the_settings_are_named(
    secure: embedded.SecureListeners, tmp_path: Path, given: str
) -> None:
    """A missing or foreign client certificate ends in a message that says where ours belongs."""
    settings = tls(secure)
    if given == "none":
        settings |= {"ORCHESTRATOR_KAFKA_SSL_CERTFILE": "", "ORCHESTRATOR_KAFKA_SSL_KEYFILE": ""}
    else:
        file, _ = certificate(tmp_path, "somebody.test")
        settings |= {"ORCHESTRATOR_KAFKA_SSL_CERTFILE": str(file)}
        settings |= {"ORCHESTRATOR_KAFKA_SSL_KEYFILE": str(file.with_name("key.pem"))}
    with pytest.raises(
        ConfigurationError, match="ORCHESTRATOR_KAFKA_SSL_CERTFILE and ORCHESTRATOR_KAFKA_SSL_KEYFILE"
    ):
        await kafka_access.check(load(settings).kafka())


def test_tokens_refused_while_running_are_waited_out_and_replaced(
    pair: embedded.Servers, secure: embedded.SecureListeners, tmp_path: Path
) -> None:
    """A worker that gets no tokens, or none that the broker takes, says so, waits, asks for others, and goes on with them."""
    secret = secrets.token_hex(16)
    with TokenEndpoint(secure, "journeys", secret) as endpoint:
        endpoint.lifetime_s = SHORT_S
        settings = oauth(secure, endpoint.url, secret)
        with Product(
            tmp_path, DATABASE_URL=_other(pair), ORCHESTRATOR_TOPIC_PREFIX="tokens.", **settings
        ) as product:
            product.prepare(DOCUMENT)
            worker = product.worker.start()
            worker.wait_ready()
            assert product.publish(event("cus-1", "ARRIVED", "a"))[0]["outcome"] == "applied"
            pair.kafka.stop()
            product.until(lambda: worker.readiness()[1].get("kafka") == "waiting", "noticed")
            endpoint.status = 401
            pair.kafka.start()
            product.until(lambda: "answered 401 instead of a token. Check" in worker.log(), "said")
            endpoint.status, endpoint.spoiled, endpoint.lifetime_s = 200, True, LONG_S
            product.until(lambda: "refused to authenticate us by OAUTHBEARER: check" in worker.log(), "said")
            assert worker.readiness()[0] == 503
            endpoint.spoiled = False
            worker.wait_ready()
            assert product.publish(event("cus-2", "ARRIVED", "b"))[0]["outcome"] == "applied"
            assert worker.terminate() == 0
            log = worker.log_path.read_text()
    assert secret not in log
    assert not any(token in log for token in endpoint.given)


def _other(pair: embedded.Servers) -> str:
    """The URL of another database of the pair, made anew."""
    from urllib.parse import urlsplit

    import psycopg

    with psycopg.connect(pair.dsn, autocommit=True) as connection:
        connection.execute("CREATE DATABASE tokens")
    return urlsplit(pair.dsn)._replace(path="/tokens").geturl()
