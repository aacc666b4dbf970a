"""The encrypted listeners of the run's own Kafka."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaConnectionError
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from orchestrator import embedded
from orchestrator.embedded import SecureListeners
from tests.embedded.callers import await_that


class Tokens(AbstractTokenProvider):  # type: ignore[misc]
    def __init__(self, make: Callable[[], str]) -> None:
        self._make = make

    async def token(self) -> str:
        return self._make()


@pytest.fixture
def secure(servers: embedded.Servers) -> SecureListeners:
    assert servers.secure is not None
    return servers.secure


def scram(secure: SecureListeners, password: str | None = None) -> dict[str, Any]:
    """Aiokafka's options for SCRAM over TLS."""
    return {
        "bootstrap_servers": secure.sasl_bootstrap,
        "security_protocol": "SASL_SSL",
        "ssl_context": secure.ssl_context(),
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": secure.scram_user,
        "sasl_plain_password": password or secure.scram_password,
    }


def oauth(secure: SecureListeners, make: Callable[[], str]) -> dict[str, Any]:
    """Aiokafka's options for OAUTHBEARER over TLS."""
    return {
        "bootstrap_servers": secure.sasl_bootstrap,
        "security_protocol": "SASL_SSL",
        "ssl_context": secure.ssl_context(),
        "sasl_mechanism": "OAUTHBEARER",
        "sasl_oauth_token_provider": Tokens(make),
    }


def tls(secure: SecureListeners) -> dict[str, Any]:
    """Aiokafka's options for TLS with a client certificate."""
    context = secure.ssl_context(with_client_certificate=True)
    return {"bootstrap_servers": secure.ssl_bootstrap, "security_protocol": "SSL", "ssl_context": context}


async def round_trip(options: dict[str, Any], topic: str) -> bytes:
    """Write one message and read it back with the same options."""
    async with AIOKafkaProducer(**options) as producer:
        await producer.send_and_wait(topic, b"sealed")
    async with AIOKafkaConsumer(topic, auto_offset_reset="earliest", **options) as consumer:
        message = await consumer.getone()
    return bytes(message.value)


@pytest.mark.parametrize("kind", ["ssl", "scram", "oauthbearer"])
async def test_an_authenticated_client_writes_and_reads(
    servers: embedded.Servers, secure: SecureListeners, topic_prefix: str, kind: str
) -> None:
    """TLS, SCRAM-SHA-512 and OAUTHBEARER clients write and read through the encrypted listeners."""
    topic = topic_prefix + kind
    admin = AdminClient({"bootstrap.servers": servers.bootstrap})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(30)
    options = {"ssl": tls(secure), "scram": scram(secure), "oauthbearer": oauth(secure, secure.oauth_token)}[
        kind
    ]
    assert await round_trip(options, topic) == b"sealed"


@pytest.mark.parametrize("fault", ["password", "expired token", "foreign token", "unsigned token"])
def test_a_client_without_the_right_secret_is_refused(secure: SecureListeners, fault: str) -> None:
    """A wrong password, an expired token, one with another's signature or with none doesn't get in."""
    header, claims, signature = secure.oauth_token().split(".")
    token = {
        "expired token": secure.oauth_token(lifetime_s=-3600),
        "foreign token": f"{header}.{claims}.{signature[::-1]}",
        "unsigned token": f"eyJhbGciOiJub25lIn0.{claims}.",
    }.get(fault)
    refused: list[KafkaError] = []
    options: dict[str, Any] = {
        "bootstrap.servers": secure.sasl_bootstrap,
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": str(secure.ca_file),
        "error_cb": refused.append,
    }
    if token is None:
        options |= {
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": secure.scram_user,
            "sasl.password": "wrong",
        }
    else:
        options |= {"sasl.mechanism": "OAUTHBEARER", "oauth_cb": lambda _config: (token, time.time() + 60)}
    admin = AdminClient(options)

    def is_refused() -> bool:
        admin.poll(0)
        return KafkaError._AUTHENTICATION in {error.code() for error in refused}

    await_that(is_refused, "the broker refuses the client")
    with pytest.raises(KafkaException):
        admin.list_topics(timeout=0.5)


async def test_a_server_with_another_certificate_is_refused(secure: SecureListeners) -> None:
    """A client that doesn't know the local CA refuses the listener."""
    import ssl

    options = scram(secure) | {"ssl_context": ssl.create_default_context()}
    producer = AIOKafkaProducer(request_timeout_ms=5000, **options)
    with pytest.raises(KafkaConnectionError):
        await producer.start()
    await producer.stop()


def test_librdkafka_clients_get_in_too(secure: SecureListeners) -> None:
    """Clients of the C library use the same files and secrets."""
    admin = AdminClient(
        {
            "bootstrap.servers": secure.sasl_bootstrap,
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(secure.ca_file),
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": secure.scram_user,
            "sasl.password": secure.scram_password,
        }
    )
    assert len(admin.list_topics(timeout=30).brokers) == 1


def test_plain_text_is_refused_by_the_encrypted_listeners(secure: SecureListeners) -> None:
    """An unencrypted client gets no answer from the encrypted listeners."""
    for bootstrap in (secure.ssl_bootstrap, secure.sasl_bootstrap):
        with pytest.raises(KafkaException):
            AdminClient({"bootstrap.servers": bootstrap}).list_topics(timeout=1)


def test_secrets_are_not_in_representations(secure: SecureListeners) -> None:
    """Printing the listeners, as a failing test does, shows no password."""
    assert secure.scram_password not in repr(secure)
    key = secure.token_key_file
    assert key.stat().st_mode & 0o077 == 0
