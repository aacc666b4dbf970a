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
    with Product(tmp_path, DATABASE_URL=pair.dsn, ORCHESTRATOR_TOPIC_PREFIX="certified.", **tls(secure)) as product:
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
    with pytest.raises(ConfigurationError, match="ORCHESTRATOR_KAFKA_SSL_CERTFILE and ORCHESTRATOR_KAFKA_SSL_KEYFILE"):
        await kafka_access.check(load(settings).kafka())


def test_tokens_are_renewed_and_a_refusal_while_running_is_waited_out(
    pair: embedded.Servers, secure: embedded.SecureListeners, tmp_path: Path
) -> None:
    """After the broker restarts, a worker connects with new tokens; while it gets none or bad ones it waits, then goes on."""
    secret = secrets.token_hex(16)
    with TokenEndpoint(secure, "journeys", secret) as endpoint:
        endpoint.lifetime_s = SHORT_S
        settings = oauth(secure, endpoint.url, secret)
        with Product(tmp_path, DATABASE_URL=_other(pair), ORCHESTRATOR_TOPIC_PREFIX="tokens.", **settings) as product:
            product.prepare(DOCUMENT)
            worker = product.worker.start()
            worker.wait_ready()
            assert product.publish(event("cus-1", "ARRIVED", "a"))[0]["outcome"] == "applied"
            for trouble in ("", "refused", "spoiled"):
                pair.kafka.stop()
                product.until(lambda: worker.readiness()[1].get("kafka") == "waiting", "noticed")
                endpoint.status, endpoint.spoiled = 401 if trouble == "refused" else 200, trouble == "spoiled"
                asked = len(endpoint.asked)
                pair.kafka.start()
                product.until(lambda: len(endpoint.asked) > asked + 2, "asking for a new token")  # noqa: B023
                if trouble:
                    assert worker.readiness()[0] == 503
                    endpoint.status, endpoint.spoiled = 200, False
                worker.wait_ready()
                assert worker.running
            assert product.publish(event("cus-2", "ARRIVED", "b"))[0]["outcome"] == "applied"
            assert len(set(endpoint.given)) > 3
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
