"""A broker that refuses us for good: said at start, with the setting that is wrong, and never with a secret."""

import secrets
from pathlib import Path
from typing import Any

import pytest

from orchestrator import embedded, kafka_access
from orchestrator.core.errors import ConfigurationError
from orchestrator.settings import load
from tests.effects.receiver import certificate
from tests.security.product import Product, oauth, scram
from tests.security.tokens import TokenEndpoint

PROTOCOL = "ORCHESTRATOR_KAFKA_SECURITY_PROTOCOL"
CAFILE = "ORCHESTRATOR_KAFKA_SSL_CAFILE"
USERNAME = "ORCHESTRATOR_KAFKA_SASL_USERNAME"
PASSWORD = "ORCHESTRATOR_KAFKA_SASL_PASSWORD"
MECHANISM = "ORCHESTRATOR_KAFKA_SASL_MECHANISM"
BOOTSTRAP = "KAFKA_BOOTSTRAP_SERVERS"
CANARY = f"canary-{secrets.token_hex(8)}"


@pytest.fixture
def secure(servers: embedded.Servers) -> embedded.SecureListeners:
    assert servers.secure is not None
    return servers.secure


def without(settings: dict[str, str], *prefixes: str) -> dict[str, str]:
    return {name: value for name, value in settings.items() if not name.startswith(prefixes)}


def wrong(fault: str, secure: embedded.SecureListeners, plain: str, folder: Path) -> dict[str, str]:
    """Settings with one thing wrong, and a canary for a password."""
    good = scram(secure) | {PASSWORD: CANARY}
    bare = without(good, "ORCHESTRATOR_KAFKA_SASL")
    match fault:
        case "password":
            return good
        case "user":
            return good | {USERNAME: "nobody"}
        case "mechanism":
            return good | {MECHANISM: "SCRAM-SHA-256"}
        case "authority":
            return good | {CAFILE: str(certificate(folder, "another.test")[0])}
        case "system's authorities":
            return without(good, CAFILE)
        case "plain text to TLS":
            return without(bare, CAFILE) | {PROTOCOL: "PLAINTEXT"}
        case "TLS to plain text":
            return bare | {PROTOCOL: "SSL", BOOTSTRAP: plain}
        case "SASL over TLS to plain text":
            return good | {BOOTSTRAP: plain}
        case "TLS without SASL":
            return bare | {PROTOCOL: "SSL"}
        case "SASL where none is asked for":
            return good | {BOOTSTRAP: secure.ssl_bootstrap}
    raise AssertionError(fault)


FAULTS = {
    "password": (USERNAME, PASSWORD, "SCRAM-SHA-512"),
    "user": (USERNAME, PASSWORD),
    "mechanism": (MECHANISM, "SCRAM-SHA-256"),
    "authority": (CAFILE, "not trusted"),
    "system's authorities": (CAFILE, "not trusted"),
    "plain text to TLS": (PROTOCOL, "SASL_SSL"),
    "TLS to plain text": (PROTOCOL, "does not speak TLS"),
    "SASL over TLS to plain text": (PROTOCOL, "does not speak TLS"),
    "TLS without SASL": (PROTOCOL, "SASL_SSL"),
    "SASL where none is asked for": (PROTOCOL, "to SSL"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_each_refusal_names_its_setting(
    servers: embedded.Servers, secure: embedded.SecureListeners, tmp_path: Path, fault: str
) -> None:
    """Whoever reads the message knows which setting to correct, at which broker, and learns no secret from it."""
    settings = load(wrong(fault, secure, servers.bootstrap, tmp_path))
    with pytest.raises(ConfigurationError) as refused:
        await kafka_access.check(settings.kafka())
    message = str(refused.value)
    assert all(word in message for word in FAULTS[fault]), message
    assert settings.kafka_bootstrap_servers in message
    assert CANARY not in message


async def test_one_broker_that_lets_us_in_is_enough(
    secure: embedded.SecureListeners, servers: embedded.Servers
) -> None:
    """Bootstrap brokers that are down, or aren't what they should be, don't keep a worker from the one that is there."""
    several = f"127.0.0.1:1,{servers.bootstrap},{secure.sasl_bootstrap}"
    await kafka_access.check(load(scram(secure) | {BOOTSTRAP: several}).kafka())


async def test_a_broker_that_is_not_there_is_no_refusal(secure: embedded.SecureListeners) -> None:
    """A connection that fails may come back: nothing is said of the configuration."""
    from aiokafka.errors import KafkaConnectionError

    with pytest.raises(KafkaConnectionError, match=r"127\.0\.0\.1:1"):
        await kafka_access.check(load(scram(secure) | {BOOTSTRAP: "127.0.0.1:1"}).kafka())


def test_a_refused_worker_ends_with_78(
    servers: embedded.Servers,
    secure: embedded.SecureListeners,
    database: str,
    topic_prefix: str,
    tmp_path: Path,
) -> None:
    """Worker, `init` and `doctor` end with the message on one line; none hangs, none shows a traceback or a secret."""
    common = {"DATABASE_URL": database, "ORCHESTRATOR_TOPIC_PREFIX": topic_prefix}
    with Product(tmp_path, **common, **scram(secure)) as product:
        assert product.call("init").code == 0
    for fault in ("password", "authority", "plain text to TLS"):
        with Product(
            tmp_path, **common, LOG_LEVEL="DEBUG", **wrong(fault, secure, servers.bootstrap, tmp_path)
        ) as product:
            assert product.worker.start().wait() == 78
            log = product.worker.log()
            [line] = [line for line in log.splitlines() if line.startswith("error: ")]
            assert all(word in line for word in FAULTS[fault])
            assert "Traceback" not in log
            made = product.call("init", LOG_LEVEL="INFO")
            assert made.code == 78
            assert all(word in made.err for word in FAULTS[fault])
            examined = product.call("doctor", LOG_LEVEL="INFO")
            assert examined.code == 1
            assert all(word in examined.out for word in FAULTS[fault])
            assert CANARY not in log + "".join(product.said)


# ------------------------------------------------------------------ tokens


def token_settings(secure: embedded.SecureListeners, endpoint: TokenEndpoint, secret: str) -> Any:
    return load(oauth(secure, endpoint.url, secret))


@pytest.mark.parametrize("fault", ["secret", "address", "token", "gibberish"])
async def test_a_token_refused_for_good_names_its_settings(
    secure: embedded.SecureListeners, fault: str
) -> None:
    """A wrong client secret or address, or tokens the broker won't take: said at start, whatever the server echoes."""
    with TokenEndpoint(secure, "journeys", "another" if fault == "secret" else CANARY) as endpoint:
        endpoint.status = {"address": 404}.get(fault, 200)
        endpoint.spoiled = fault == "token"
        if fault == "gibberish":
            endpoint.answer = lambda *_: (200, f"<html>{CANARY}</html>".encode())  # type: ignore[method-assign]
        with pytest.raises(ConfigurationError) as refused:
            await kafka_access.check(token_settings(secure, endpoint, CANARY).kafka())
        message = str(refused.value)
        assert "ORCHESTRATOR_KAFKA_SASL_OAUTH_CLIENT_ID, _CLIENT_SECRET" in message
        assert {"secret": "401", "address": "404", "token": "OAUTHBEARER", "gibberish": "no token"}[
            fault
        ] in message
        assert "/oauth2/token" in message or fault == "token"
        shown = message + repr(refused.value.__context__) + repr(refused.value.__cause__)
        assert CANARY not in shown
        assert not any(token in shown for token in endpoint.given)


@pytest.mark.parametrize("status", [503, 429, None])
async def test_a_token_server_that_is_down_is_waited_for(
    secure: embedded.SecureListeners, status: int | None
) -> None:
    """Overload, or nobody at the address, passes: that is no error of the configuration, and the next try may succeed."""
    from aiokafka.errors import KafkaConnectionError

    with TokenEndpoint(secure, "journeys", CANARY) as endpoint:
        settings = token_settings(secure, endpoint, CANARY)
        if status is not None:
            endpoint.status = status
            with pytest.raises(KafkaConnectionError, match=str(status)) as waited:
                await kafka_access.check(settings.kafka())
            assert CANARY not in str(waited.value)
            endpoint.status = 200
        await kafka_access.check(settings.kafka())
    with pytest.raises(KafkaConnectionError, match="gave no answer"):
        await kafka_access.check(settings.kafka())


def test_a_worker_waits_for_its_token_server(
    secure: embedded.SecureListeners, database: str, topic_prefix: str, tmp_path: Path
) -> None:
    """Started before the token server answers, a worker says what it waits for, and gets ready once there is a token."""
    common = {"DATABASE_URL": database, "ORCHESTRATOR_TOPIC_PREFIX": topic_prefix}
    with (
        TokenEndpoint(secure, "journeys", CANARY) as endpoint,
        Product(tmp_path, **common, **oauth(secure, endpoint.url, CANARY)) as product,
    ):
        assert product.call("init").code == 0
        endpoint.status = 503
        product.worker.start()
        product.until(lambda: "answered 503 instead of a token" in product.worker.log(), "waiting")
        assert product.worker.readiness()[0] == 503
        endpoint.status = 200
        product.worker.wait_ready()
        assert product.worker.terminate() == 0
        log = product.worker.log_path.read_text()
    assert CANARY not in log
    assert not any(token in log for token in endpoint.given)
