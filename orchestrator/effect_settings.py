"""What the effect runner may do and reach: networks, topics, secrets, bounds. No I/O."""

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from typing import Any

from msgspec import Struct
from msgspec.structs import fields

from orchestrator.core.errors import ConfigurationError

SECRET_PREFIX = "whsec_"  # noqa: S105  the public prefix of every signing secret, not one of them


class EffectTopics(Struct, frozen=True):
    """The topics the runner reads and writes. Actions never publish to these, nor to `also_internal`."""

    effects: str = "journeys.effects"
    commands: str = "journeys.commands"
    dead_letters: str = "journeys.dead-letters"
    also_internal: tuple[str, ...] = ("user-interactions", "journey-dlq")

    @property
    def internal(self) -> frozenset[str]:
        return frozenset((self.effects, self.commands, self.dead_letters, *self.also_internal))


class EffectSettings(Struct, frozen=True):
    """Limits and permissions of the effect runner; the defaults allow public https addresses alone.

    `allowed_networks` are CIDR blocks that may be called although they aren't public ("127.0.0.1/32").
    `publish_topics` are topic names, or prefixes ending in `*`, that the publish action may write to.
    `secrets` maps a name used in definitions to `whsec_…` (several, split by a space, while rotating).
    Raises ConfigurationError, naming the setting and the cure; values of secrets are never shown.
    """

    allowed_networks: tuple[str, ...] = ()
    allow_http: bool = False
    ca_file: str = ""  # PEM of additional authorities for https; "" means the system's alone
    publish_topics: tuple[str, ...] = ()
    secrets: dict[str, str] = {}
    elsewhere: tuple[str, ...] = ()  # types that other workers perform
    group_id: str = "journeys-effects"
    session_timeout_s: float = 45.0  # after which the group gives a dead member's partitions away
    concurrency: int = 64  # calls at a time
    pending_per_partition: int = 64  # records taken from one partition and not yet answered
    pending_total: int = 512
    max_timeout_ms: int = 120_000  # an effect's timeout_ms is cut to this
    connect_timeout_s: float = 5.0
    max_response_bytes: int = 65_536
    max_result_bytes: int = 4_096  # of the response that is kept in the result
    commit_interval_s: float = 0.2
    commit_timeout_s: float = 10.0
    produce_timeout_s: float = 15.0  # one try; results are tried again until the partition is lost
    retry_backoff_s: float = 0.5
    revoke_drain_s: float = 5.0  # how long a rebalance waits for calls under way
    drain_timeout_s: float = 10.0  # how long a stop waits for calls under way
    stall_timeout_s: float = 120.0  # broker there, work there, no progress: the runner exits

    def __post_init__(self) -> None:
        for name in (
            "concurrency", "pending_per_partition", "pending_total", "max_timeout_ms", "connect_timeout_s",
            "max_response_bytes", "max_result_bytes", "commit_interval_s", "commit_timeout_s",
            "produce_timeout_s", "retry_backoff_s", "stall_timeout_s", "session_timeout_s",
        ):  # fmt: skip
            if not getattr(self, name) > 0:
                variable = " (ORCHESTRATOR_EFFECTS_CONCURRENCY)" if name == "concurrency" else ""
                raise ConfigurationError(f"effects.{name}{variable} must be above 0")
        for network in self.allowed_networks:
            try:
                ip_network(network)
            except ValueError as error:
                raise ConfigurationError(
                    f"effects.allowed_networks (ORCHESTRATOR_WEBHOOK_ALLOWED_NETWORKS): {network!r} is no CIDR block;"
                    f" write 127.0.0.1/32 ({error})"
                ) from error
        for name, value in self.secrets.items():
            _check_secret(name, value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._shown())})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return list(self._shown())

    def _shown(self) -> Iterator[tuple[str, Any]]:
        for field in fields(self):
            value = getattr(self, field.name)
            yield field.name, dict.fromkeys(value, "***") if field.name == "secrets" else value


def secrets_from(environ: Mapping[str, str], prefix: str) -> dict[str, str]:
    """Signing secrets of an environment: `<prefix>SHOP=whsec_…` becomes the secret `shop`."""
    return {
        name.removeprefix(prefix).lower(): value
        for name, value in environ.items()
        if name.startswith(prefix) and name != prefix and value
    }


def _check_secret(name: str, value: str) -> None:
    variable = f"ORCHESTRATOR_WEBHOOK_SECRET_{name.upper()}"
    cure = (
        f"effects.secrets: {name!r} ({variable}) must be {SECRET_PREFIX} and base64 of 24 to 64 random bytes"
    )
    keys = value.split()
    if not keys:
        raise ConfigurationError(cure)
    for key in keys:
        try:
            raw = b64decode(key.removeprefix(SECRET_PREFIX), validate=True)
        except (Base64Error, ValueError):
            raise ConfigurationError(cure) from None  # the cause would show the value
        if not key.startswith(SECRET_PREFIX) or not raw:
            raise ConfigurationError(cure)
