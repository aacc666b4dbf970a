"""What the settings say about reaching Kafka, as the client library takes it."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from orchestrator.core.errors import ConfigurationError
from orchestrator.oauth import ClientCredentials

if TYPE_CHECKING:
    from orchestrator.settings import Settings

_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_SSL", "SASL_PLAINTEXT")
_PASSWORD_MECHANISMS = ("SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN")
_T = TypeVar("_T")
_REQUEST_TIMEOUT_MS = 15_000
_RETRY_BACKOFF_MS = 20
_ONLY_SASL = ("kafka_sasl_username", "kafka_sasl_password", "kafka_sasl_oauth_client_secret")
_ONLY_SSL = ("kafka_ssl_cafile", "kafka_ssl_certfile", "kafka_ssl_keyfile")


def kafka_arguments(settings: "Settings") -> dict[str, Any]:
    """Connection arguments, security included. Raises ConfigurationError naming the variable and its cure."""
    if not settings.kafka_bootstrap_servers:
        raise ConfigurationError("KAFKA_BOOTSTRAP_SERVERS is not set: name at least one broker as host:port")
    protocol = settings.kafka_security_protocol.upper()
    if protocol not in _PROTOCOLS:
        raise ConfigurationError(
            f"{_variable('kafka_security_protocol')} is {protocol[:40]!r}: use PLAINTEXT, SSL or SASL_SSL"
        )
    _refuse_unused(settings, protocol)
    arguments: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_bootstrap_servers,
        "security_protocol": protocol,
        "request_timeout_ms": _REQUEST_TIMEOUT_MS,
        "retry_backoff_ms": _RETRY_BACKOFF_MS,
    }
    if "SSL" in protocol:
        arguments["ssl_context"] = _ssl_context(settings)
    if protocol.startswith("SASL"):
        arguments |= _sasl(settings)
    return arguments


def _refuse_unused(settings: "Settings", protocol: str) -> None:
    """Who set a password or an authority doesn't mean to talk without it."""
    for needs, fields, cure in (("SASL", _ONLY_SASL, "SASL_SSL"), ("SSL", _ONLY_SSL, "SSL or SASL_SSL")):
        given = [field for field in fields if getattr(settings, field)]
        if given and needs not in protocol:
            raise ConfigurationError(
                f"{_variable(given[0])} is set, but {_variable('kafka_security_protocol')} is {protocol}, which doesn't"
                f" use it: set that to {cure}, or unset {_variable(given[0])}"
            )


def _ssl_context(settings: "Settings") -> ssl.SSLContext:
    cafile, certfile, keyfile = (
        settings.kafka_ssl_cafile,
        settings.kafka_ssl_certfile,
        settings.kafka_ssl_keyfile,
    )
    for field in ("kafka_ssl_cafile", "kafka_ssl_certfile", "kafka_ssl_keyfile"):
        if getattr(settings, field):
            _readable(field, getattr(settings, field))
    if keyfile and not certfile:
        raise ConfigurationError(
            f"{_variable('kafka_ssl_keyfile')} is set, {_variable('kafka_ssl_certfile')} is not: set both or neither"
        )
    context = _usable(
        lambda: ssl.create_default_context(cafile=cafile or None),
        f"{_variable('kafka_ssl_cafile')} names {cafile}, which holds no certificates in PEM",
    )
    if certfile:
        key_password = settings.kafka_ssl_key_password  # "" and not None: OpenSSL would ask at the terminal
        _usable(
            lambda: context.load_cert_chain(certfile, keyfile or None, key_password),
            f"{_variable('kafka_ssl_certfile')} and {_variable('kafka_ssl_keyfile')} don't hold a certificate and its key in"
            f" PEM, or {_variable('kafka_ssl_key_password')} doesn't open the key",
        )
    return context


def _readable(field: str, path: str) -> None:
    try:
        Path(path).open("rb").close()
    except OSError as error:
        raise ConfigurationError(
            f"{_variable(field)} names {path}, which can't be read ({error.strerror}): correct the path or its permissions"
        ) from error


def _usable(make: Callable[[], _T], problem: str) -> _T:
    try:
        return make()
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ConfigurationError(f"{problem} ({error})") from error


def _sasl(settings: "Settings") -> dict[str, Any]:
    mechanism = settings.kafka_sasl_mechanism.upper()
    if mechanism == "OAUTHBEARER":
        provider = ClientCredentials(
            settings.kafka_sasl_oauth_token_url,
            settings.kafka_sasl_oauth_client_id,
            settings.kafka_sasl_oauth_client_secret,
            settings.kafka_sasl_oauth_scope,
        )
        return {"sasl_mechanism": mechanism, "sasl_oauth_token_provider": provider}
    if mechanism not in _PASSWORD_MECHANISMS:
        raise ConfigurationError(
            f"{_variable('kafka_sasl_mechanism')} is {mechanism[:40]!r}: use SCRAM-SHA-512, SCRAM-SHA-256 or OAUTHBEARER"
        )
    for field in ("kafka_sasl_username", "kafka_sasl_password"):
        if not getattr(settings, field):
            raise ConfigurationError(f"{_variable(field)} is not set: {mechanism} needs it")
    return {
        "sasl_mechanism": mechanism,
        "sasl_plain_username": settings.kafka_sasl_username,
        "sasl_plain_password": settings.kafka_sasl_password,
    }


def _variable(field: str) -> str:
    return f"ORCHESTRATOR_{field.upper()}"
