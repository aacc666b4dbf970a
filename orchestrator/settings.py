"""Every setting of every process, read once: defaults, then a TOML file, then the environment."""

import os
import ssl
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from orchestrator.core.errors import ConfigurationError
from orchestrator.oauth import ClientCredentials


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings. Durations carry their unit in the name."""

    kafka_bootstrap_servers: str = ""
    database_url: str = ""
    lane_databases: dict[str, str] = {}
    """Lane number (or `a-b`) to DSN, for lanes that live on other servers than `database_url`."""
    kafka_security_protocol: str = "PLAINTEXT"
    kafka_sasl_mechanism: str = "SCRAM-SHA-512"
    kafka_sasl_username: str = ""
    kafka_sasl_password: str = ""
    kafka_sasl_oauth_token_url: str = ""
    kafka_sasl_oauth_client_id: str = ""
    kafka_sasl_oauth_client_secret: str = ""
    kafka_ssl_cafile: str = ""
    kafka_ssl_certfile: str = ""
    kafka_ssl_keyfile: str = ""
    kafka_ssl_key_password: str = ""

    lanes: int = 8
    """Lanes made by `init`; afterwards the database's number counts."""
    topic_prefix: str = ""
    consumer_group: str = "journey-orchestrator"
    commands_topic: str = "journeys.commands"
    raw_topic: str = "user-interactions"
    events_topic: str = "journeys.events"
    outcomes_topic: str = "journeys.outcomes"
    snapshots_topic: str = "journeys.snapshots"
    effects_topic: str = "journeys.effects"
    dead_letters_topic: str = "journeys.dead-letters"
    raw_dead_letters_topic: str = "journey-dlq"
    topic_replication: int = 1
    topic_retention_ms: int = 7 * 86_400_000
    default_organization: str = "default"

    batch_commands: int = 1_000
    """Most commands in one lane transaction."""
    cache_streams: int = 100_000
    """Journeys a worker keeps in memory, over all its lanes."""
    session_timeout_ms: int = 45_000
    heartbeat_interval_ms: int = 3_000
    snapshot_growth_events: int = 32
    snapshot_quiet_ms: int = 2_000
    dirty_streams: int = 50_000
    stall_timeout_s: float = 30.0
    """A worker whose event loop stands still this long ends itself and is started again."""
    analytics_dir: str = ""
    """Folder for Parquet files; empty: no analytics sink."""

    metrics_host: str = "127.0.0.1"
    metrics_port: int = 9464
    """0: any free port, printed at start; -1: none."""
    log_level: str = "INFO"
    log_format: str = "auto"
    """json, console, or auto: console at a terminal."""

    webhook_allowed_networks: tuple[str, ...] = ()
    webhook_allow_http: bool = False
    webhook_ca_file: str = ""
    """PEM of authorities that https webhooks may be signed by, beside the system's."""
    effects_concurrency: int = 64
    effects_publish_topics: tuple[str, ...] = ("user.onboarding.complete", "sales.notifications")

    def topic(self, name: str) -> str:
        """A topic's full name; `name` is a setting without its `_topic`."""
        return self.topic_prefix + str(getattr(self, f"{name}_topic"))

    @property
    def topics(self) -> dict[str, str]:
        return {name: self.topic(name) for name in TOPIC_SETTINGS}

    def kafka(self) -> dict[str, Any]:
        """Connection arguments for security included. Raises ConfigurationError."""
        if not self.kafka_bootstrap_servers:
            raise ConfigurationError("KAFKA_BOOTSTRAP_SERVERS is not set: name at least one broker as host:port")
        protocol = self.kafka_security_protocol.upper()
        if protocol not in ("PLAINTEXT", "SSL", "SASL_SSL", "SASL_PLAINTEXT"):
            raise ConfigurationError(
                f"ORCHESTRATOR_KAFKA_SECURITY_PROTOCOL is {protocol[:40]!r}: use PLAINTEXT, SSL or SASL_SSL"
            )
        arguments: dict[str, Any] = {
            "bootstrap_servers": self.kafka_bootstrap_servers,
            "security_protocol": protocol,
            "request_timeout_ms": 15_000,
            "retry_backoff_ms": 20,
        }
        if "SSL" in protocol:
            arguments["ssl_context"] = self._ssl_context()
        if protocol.startswith("SASL"):
            arguments |= self._sasl()
        return arguments

    def _ssl_context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.kafka_ssl_cafile or None)
            if self.kafka_ssl_certfile:
                context.load_cert_chain(
                    self.kafka_ssl_certfile, self.kafka_ssl_keyfile or None, self.kafka_ssl_key_password or None
                )
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"ORCHESTRATOR_KAFKA_SSL_CAFILE, _CERTFILE or _KEYFILE can't be used: {error}"
            ) from error
        return context

    def _sasl(self) -> dict[str, Any]:
        mechanism = self.kafka_sasl_mechanism.upper()
        if mechanism == "OAUTHBEARER":
            return {
                "sasl_mechanism": mechanism,
                "sasl_oauth_token_provider": ClientCredentials(
                    self.kafka_sasl_oauth_token_url,
                    self.kafka_sasl_oauth_client_id,
                    self.kafka_sasl_oauth_client_secret,
                ),
            }
        if mechanism not in ("SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"):
            raise ConfigurationError(
                f"ORCHESTRATOR_KAFKA_SASL_MECHANISM is {mechanism[:40]!r}: use SCRAM-SHA-512, SCRAM-SHA-256 or OAUTHBEARER"
            )
        if not self.kafka_sasl_username:
            raise ConfigurationError("ORCHESTRATOR_KAFKA_SASL_USERNAME is not set")
        return {
            "sasl_mechanism": mechanism,
            "sasl_plain_username": self.kafka_sasl_username,
            "sasl_plain_password": self.kafka_sasl_password,
        }

    def __repr__(self) -> str:
        return f"Settings(lanes={self.lanes}, topic_prefix={self.topic_prefix!r})"  # never the secrets


TOPIC_SETTINGS = (
    "commands", "raw", "events", "outcomes", "snapshots", "effects", "dead_letters", "raw_dead_letters",
)  # fmt: skip
PREFIX = "ORCHESTRATOR_"
_PLAIN_NAMES = {
    "kafka_bootstrap_servers": "KAFKA_BOOTSTRAP_SERVERS",
    "database_url": "DATABASE_URL",
    "log_level": "LOG_LEVEL",
}
ENVIRONMENT: dict[str, str] = {
    _PLAIN_NAMES.get(field, PREFIX + field.upper()): field for field in Settings.__struct_fields__
}
"""Environment variable to setting."""
CONFIG_FILE_VARIABLE = f"{PREFIX}CONFIG"


def load(environment: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Settings from the TOML file named by ORCHESTRATOR_CONFIG, the environment, and what the caller knows better.

    Raises ConfigurationError naming the variable or key and its cure.
    """
    environment = os.environ if environment is None else environment
    values = _from_file(environment.get(CONFIG_FILE_VARIABLE, ""))
    for variable, field in ENVIRONMENT.items():
        if environment.get(variable):
            values[field] = _parsed(variable, field, environment[variable])
    values |= {k: v for k, v in overrides.items() if v is not None}
    try:
        return msgspec.convert(values, Settings)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"a setting has the wrong type: {error}") from error


def _from_file(path: str) -> dict[str, Any]:
    if not path:
        return {}
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{CONFIG_FILE_VARIABLE} names {path}, which can't be read: {error}") from error
    unknown = sorted(set(values) - set(Settings.__struct_fields__))
    if unknown:
        raise ConfigurationError(f"{path}: unknown setting {unknown[0]!r}; known are {', '.join(Settings.__struct_fields__)}")
    return values


def _parsed(variable: str, field: str, text: str) -> Any:
    kind = Settings.__annotations__[field]
    try:
        if kind in (dict[str, str], tuple[str, ...]):
            if not text.lstrip().startswith(("{", "[")):
                return tuple(part.strip() for part in text.split(",") if part.strip())
            return msgspec.json.decode(text, type=kind)
        return msgspec.convert(text, kind, strict=False)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise ConfigurationError(f"{variable} can't be read as {getattr(kind, '__name__', kind)}: {error}") from error
