"""Whether Kafka lets us in, asked before the clients start: those say only that they can't connect, never why.

What asking again can't change (credentials, certificates, the wrong protocol) is a ConfigurationError naming the
setting; a broker that isn't there is waited for.
"""

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.admin import SaslHandShakeRequest
from aiokafka.protocol.metadata import MetadataRequest

from orchestrator.core.errors import ConfigurationError
from orchestrator.oauth import TokenRefused

_TIMEOUT_S = 5.0
_PROTOCOL = "ORCHESTRATOR_KAFKA_SECURITY_PROTOCOL"
_CREDENTIALS = "ORCHESTRATOR_KAFKA_SASL_USERNAME and ORCHESTRATOR_KAFKA_SASL_PASSWORD"
_OAUTH = "ORCHESTRATOR_KAFKA_SASL_OAUTH_CLIENT_ID, _CLIENT_SECRET, _SCOPE and _TOKEN_URL"


async def check(kafka: Mapping[str, Any]) -> None:
    """Ask the bootstrap brokers in turn until one answers; `kafka` is what `Settings.kafka` gives.

    Raises ConfigurationError when one refuses us and none lets us in, else KafkaConnectionError saying what is wrong.
    """
    refusal, trouble = "", "no broker is named"
    for host, port, _ in collect_hosts(kafka["bootstrap_servers"]):
        place = f"{host}:{port}"
        try:
            await _enter(host, port, kafka)
        except (KafkaError, OSError, TimeoutError) as error:
            trouble = f"{place}: {str(error) or type(error).__name__}"
            refusal = refusal or _refusal(error, place, kafka) or await _mismatch(host, port, kafka)
        else:
            return
    if refusal:
        raise ConfigurationError(refusal)
    raise KafkaConnectionError(trouble)


async def _enter(host: str, port: int, kafka: Mapping[str, Any]) -> None:
    """Connect, authenticate, and be answered as somebody who belongs here."""
    options = {
        name: value for name, value in kafka.items() if name.startswith(("security_", "ssl_", "sasl_"))
    }
    connection = await create_conn(host, port, request_timeout_ms=int(_TIMEOUT_S * 1000), **options)
    try:
        await connection.send(MetadataRequest([]))
    finally:
        connection.close()


def _refusal(error: BaseException, place: str, kafka: Mapping[str, Any]) -> str:
    """What to tell whoever configured this; empty when the error may pass by itself."""
    alert = error.__cause__ if isinstance(error.__cause__, ssl.SSLError) else error
    mechanism = kafka.get("sasl_mechanism", "")
    match alert:
        case TokenRefused(final=True):
            return f"no token for Kafka: {alert}. Check {_OAUTH}"
        case ssl.SSLCertVerificationError():
            return (
                f"the certificate of Kafka at {place} is not trusted ({alert.verify_message}): ORCHESTRATOR_KAFKA_SSL_CAFILE"
                " must name the authority that signed it, KAFKA_BOOTSTRAP_SERVERS the broker as the certificate does"
            )
        case ssl.SSLError() if "ALERT" in (alert.reason or "") and (
            "CERT" in alert.reason or "CA" in alert.reason
        ):
            return (
                f"Kafka at {place} wants a client certificate that it trusts ({alert.reason}): check"
                " ORCHESTRATOR_KAFKA_SSL_CERTFILE and ORCHESTRATOR_KAFKA_SSL_KEYFILE"
            )
        case SaslAuthenticationFailed():
            settings = _OAUTH if mechanism == "OAUTHBEARER" else _CREDENTIALS
            return f"Kafka at {place} refused to authenticate us by {mechanism}: check {settings}"
        case UnsupportedSaslMechanismError():
            return f"Kafka at {place} does not take {mechanism}: set ORCHESTRATOR_KAFKA_SASL_MECHANISM to one it takes"
        case IllegalSaslStateError():
            without = kafka["security_protocol"].removeprefix("SASL_")
            return f"Kafka at {place} does not authenticate by SASL: set {_PROTOCOL} to {without}, or name another port"
    return ""


async def _mismatch(host: str, port: int, kafka: Mapping[str, Any]) -> str:
    """A closed connection may mean the wrong protocol: see what the port does speak. Empty when that isn't it."""
    protocol, place = kafka["security_protocol"], f"{host}:{port}"
    tls = await _speaks_tls(host, port)
    if tls and "SSL" not in protocol:
        return f"Kafka at {place} speaks TLS, {_PROTOCOL} is {protocol}: set it to SSL or SASL_SSL, or name another port"
    if not tls and "SSL" in protocol and await _takes_sasl(host, port, None) is not None:
        return f"Kafka at {place} does not speak TLS, {_PROTOCOL} is {protocol}: name the encrypted port"
    if "SASL" not in protocol and await _takes_sasl(host, port, kafka.get("ssl_context")):
        return f"Kafka at {place} authenticates by SASL, {_PROTOCOL} is {protocol}: set it to SASL_SSL"
    return ""


async def _speaks_tls(host: str, port: int) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is sent or believed
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def _takes_sasl(host: str, port: int, context: ssl.SSLContext | None) -> bool | None:
    """Whether the port authenticates by SASL; None when it doesn't answer in this protocol."""
    options: dict[str, Any] = {"security_protocol": "SSL", "ssl_context": context} if context else {}
    try:
        connection = await create_conn(host, port, request_timeout_ms=int(_TIMEOUT_S * 1000), **options)
        try:
            answer = await connection.send(SaslHandShakeRequest("none"))
        finally:
            connection.close()
    except (KafkaError, OSError, TimeoutError):
        return None
    return bool(answer.enabled_mechanisms)
