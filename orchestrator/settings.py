"""Every setting of every process, read once: defaults, then a TOML file, then the environment."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from orchestrator.core.errors import ConfigurationError
from orchestrator.kafka_arguments import kafka_arguments


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
    kafka_sasl_oauth_scope: str = ""
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
    signals_topic: str = "journeys.signals"
    topic_replication: int = 1
    topic_retention_ms: int = 7 * 86_400_000
    default_organization: str = "default"
    customer_record: str = "profile"
    """Id of the published `customer` document whose records flows read."""

    batch_commands: int = 1_000
    """Most commands in one lane transaction."""
    cache_streams: int = 100_000
    """Journeys a worker keeps in memory, over all its lanes."""
    session_timeout_ms: int = 45_000
    heartbeat_interval_ms: int = 3_000
    snapshot_growth_events: int = 32
    snapshot_quiet_ms: int = 2_000
    dirty_streams: int = 50_000
    """Journeys of a worker whose rows may wait to be written, over all its lanes."""
    stall_timeout_s: float = 30.0
    """A worker whose event loop stands still this long ends itself and is started again."""
    analytics_dir: str = ""
    """Folder for Parquet files; empty: no analytics sink."""

    grants_issuer: str = "journey-orchestrator"
    grants_audience: str = "grants"
    grants_token_lifetime_s: int = 3_600
    """A grant that lives longer is signed anew at each reading."""
    grants_clock_skew_s: int = 30
    grants_keys_dir: str = ""
    grants_keys: str = ""
    """Instead of a folder: the keys themselves, as JWK, JWK set or PEM."""

    metrics_host: str = "127.0.0.1"
    metrics_port: int = 9464
    """0: any free port, printed at start; -1: none."""
    callbacks_host: str = "127.0.0.1"
    callbacks_port: int = -1
    """Where providers' callbacks and customers' links come in (roles all and effects). 0: any free port; -1: none."""
    log_level: str = "INFO"
    log_format: str = "auto"
    """json, console, or auto: console at a terminal."""

    webhook_allowed_networks: tuple[str, ...] = ()
    webhook_allow_http: bool = False
    webhook_ca_file: str = ""
    """PEM of authorities that https webhooks may be signed by, beside the system's."""
    effects_concurrency: int = 64
    effects_elsewhere: tuple[str, ...] = ()
    """Types of effects that workers of your own perform: ours leaves them alone."""
    effects_publish_topics: tuple[str, ...] = ("user.onboarding.complete", "sales.notifications")

    def topic(self, name: str) -> str:
        """A topic's full name; `name` is a setting without its `_topic`."""
        return self.topic_prefix + str(getattr(self, f"{name}_topic"))

    @property
    def group(self) -> str:
        """The workers' consumer group; prefixed like the topics, so that installations on one cluster stay apart."""
        return self.topic_prefix + self.consumer_group

    @property
    def topics(self) -> dict[str, str]:
        return {name: self.topic(name) for name in TOPIC_SETTINGS}

    def kafka(self) -> dict[str, Any]:
        """Connection arguments, security included. Raises ConfigurationError."""
        return kafka_arguments(self)

    def __repr__(self) -> str:
        return f"Settings(lanes={self.lanes}, topic_prefix={self.topic_prefix!r})"  # never the secrets

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("lanes", self.lanes), ("topic_prefix", self.topic_prefix)]


TOPIC_SETTINGS = (
    "commands", "raw", "events", "outcomes", "snapshots", "effects", "dead_letters", "raw_dead_letters",
    "signals",
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
        raise ConfigurationError(
            f"{CONFIG_FILE_VARIABLE} names {path}, which can't be read: {error}"
        ) from error
    for name, value in values.items():
        if name not in Settings.__struct_fields__:
            raise ConfigurationError(
                f"{path}: unknown setting {name!r}; correct or remove it. Known are {', '.join(Settings.__struct_fields__)}"
            )
        try:
            msgspec.convert(value, Settings.__annotations__[name])
        except msgspec.ValidationError as error:
            raise ConfigurationError(f"{path}: {name} must be {_shape(name)} ({error})") from error
    return values


def _parsed(variable: str, field: str, text: str) -> Any:
    kind = Settings.__annotations__[field]
    try:
        if kind == tuple[str, ...] and not text.lstrip().startswith("["):
            return tuple(part.strip() for part in text.split(",") if part.strip())
        if kind in (dict[str, str], tuple[str, ...]):
            return msgspec.json.decode(text, type=kind)
        return msgspec.convert(text, kind, strict=False)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise ConfigurationError(f"{variable} must be {_shape(field)} ({error})") from error


def _shape(field: str) -> str:
    """How a setting is written, for whoever wrote it otherwise."""
    return _SHAPES[Settings.__annotations__[field]]


_SHAPES: dict[Any, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    tuple[str, ...]: "a list of texts, in the environment separated by commas",
    dict[str, str]: 'a table of texts, in the environment a JSON object like {"0-3": "…"}',
}
