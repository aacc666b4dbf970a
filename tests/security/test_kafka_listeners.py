"""A worker with lanes and effects, and the command line, over the broker's encrypted listeners."""

import secrets
from pathlib import Path

import pytest

from orchestrator import embedded
from tests.security.product import Product, event, oauth, scram, tls
from tests.security.tokens import TokenEndpoint

DOCUMENT = """
kind: lifecycle
id: greeted
events: [ARRIVED]
context: {greetings: 0}
initial: AWAY
states:
  AWAY:
    on:
      ARRIVED: {target: GREETING, actions: [greet]}
  GREETING:
    on:
      GREETED: {target: GREETED, set: {greetings: 1}}
  GREETED: {}
actions:
  greet: {type: publish, topic: TOPIC, key: {var: customer}, value: {hello: {var: customer}}, on_success: {event: GREETED}}
"""


@pytest.fixture
def secure(servers: embedded.Servers) -> embedded.SecureListeners:
    assert servers.secure is not None
    return servers.secure


def greeted(product: Product, customers: int = 4) -> None:
    """Customers arrive, are greeted by an effect, and their journeys hear of it."""
    told = product.publish(*(event(f"cus-{n}", "ARRIVED", "a") for n in range(customers)))
    assert [outcome["outcome"] for outcome in told] == ["applied"] * customers

    def states() -> list[str]:
        rows = product.ask("journeys", "list")
        return [row["state"] for row in rows]

    product.until(lambda: states() == ["GREETED"] * customers, "greeted")


@pytest.mark.parametrize("listener", ["SCRAM-SHA-512", "SSL", "OAUTHBEARER"])
def test_a_worker_does_all_its_work_over_an_encrypted_listener(
    servers: embedded.Servers,
    secure: embedded.SecureListeners,
    database: str,
    topic_prefix: str,
    tmp_path: Path,
    listener: str,
) -> None:
    """Commands, outcomes, effects and their answers, snapshots and the command line work over TLS, SCRAM and tokens."""
    secret = secrets.token_hex(16)
    with TokenEndpoint(secure, "journeys", secret) as endpoint:
        settings = {
            "SCRAM-SHA-512": scram(secure),
            "SSL": tls(secure),
            "OAUTHBEARER": oauth(secure, endpoint.url, secret)
            | {"ORCHESTRATOR_KAFKA_SASL_OAUTH_SCOPE": "kafka"},
        }[listener]
        topic = f"{topic_prefix}greetings"
        with Product(
            tmp_path,
            DATABASE_URL=database,
            ORCHESTRATOR_TOPIC_PREFIX=topic_prefix,
            ORCHESTRATOR_EFFECTS_PUBLISH_TOPICS=topic,
            **settings,
        ) as product:
            product.prepare(DOCUMENT.replace("TOPIC", topic))
            product.worker.start().wait_ready()
            greeted(product)
            checked = product.ask("doctor")
            assert {row["status"] for row in checked} <= {"ok", "warn"}, checked
            assert product.worker.terminate() == 0
        said = "".join(product.said) + product.worker.log_path.read_text()
        for kept in (secret, secure.scram_password, *endpoint.given):
            assert kept not in said
        if listener == "OAUTHBEARER":
            assert endpoint.asked[0] == {"grant_type": ["client_credentials"], "scope": ["kafka"]}
