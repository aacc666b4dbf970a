"""How grants are signed and judged. No I/O; secrets stay with the key store."""

from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from orchestrator.core.errors import ConfigurationError

CLOCK_SKEW_MAX_S: Final = 300
TOKEN_LIFETIME_MAX_S: Final = 86_400


class GrantSettings(Struct, frozen=True, kw_only=True):
    """Who signs, for whom, how long a token counts, and how far clocks may differ.

    A grant may live longer than its token: each reading signs a new one, which ends with the grant at the latest.
    Raises ConfigurationError naming the variable and its cure.
    """

    issuer: str = "journey-orchestrator"
    audience: str = "grants"
    token_lifetime_s: int = 3_600
    clock_skew_s: int = 30

    def __post_init__(self) -> None:
        for name in ("issuer", "audience"):
            if not 1 <= len(getattr(self, name)) <= 256:
                raise ConfigurationError(f"ORCHESTRATOR_GRANTS_{name.upper()} must have 1 to 256 characters")
        if not 1 <= self.token_lifetime_s <= TOKEN_LIFETIME_MAX_S:
            raise ConfigurationError(
                f"ORCHESTRATOR_GRANTS_TOKEN_LIFETIME_S must be 1 to {TOKEN_LIFETIME_MAX_S}"
            )
        if not 0 <= self.clock_skew_s <= CLOCK_SKEW_MAX_S:
            raise ConfigurationError(f"ORCHESTRATOR_GRANTS_CLOCK_SKEW_S must be 0 to {CLOCK_SKEW_MAX_S}")

    @classmethod
    def of(cls, settings: Any) -> "GrantSettings":
        """The part of a process's settings that is about grants (its fields that start with `grants_`)."""
        return cls(
            issuer=settings.grants_issuer,
            audience=settings.grants_audience,
            token_lifetime_s=settings.grants_token_lifetime_s,
            clock_skew_s=settings.grants_clock_skew_s,
        )

    def named(self, issuer: str, audience: str) -> "GrantSettings":
        """The same for an experience whose document names its own issuer or audience; an empty name leaves ours."""
        return replace(self, issuer=issuer or self.issuer, audience=audience or self.audience)
