"""Online validation: a token that counts offline may have been used or taken back; its distribution knows."""

from collections.abc import Awaitable, Callable, Iterable
from enum import StrEnum
from typing import Protocol

from orchestrator.core.addresses import Stream
from orchestrator.core.events import Event
from orchestrator.distributions.admissions import Admissions
from orchestrator.grants.claims import GrantClaims
from orchestrator.grants.keys import GrantKeys
from orchestrator.grants.validation import Expected, GrantRefused, Reason, validate


class Standing(StrEnum):
    """Where a grant stands in its distribution's log."""

    LIVE = "live"
    REDEEMED = "redeemed"
    REVOKED = "revoked"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


class GrantStatus(Protocol):
    """Asks a distribution, wherever its state is."""

    async def standing(self, grant: GrantClaims) -> Standing:
        """Where the grant of these claims stands now; UNKNOWN too when it is somebody else's."""


def standing_of(grant: GrantClaims, events: Iterable[Event], now_ms: int) -> Standing:
    """Where a grant stands by its distribution's events (those that don't concern grants may be left out)."""
    admissions = Admissions()
    for event in events:
        admissions.evolve(event)
    holder = admissions.holder(grant.jti)
    if holder is None:
        ended = admissions.ended(grant.jti)
        return Standing.UNKNOWN if ended is None else Standing(ended)
    if holder != grant.sub:
        return Standing.UNKNOWN
    expires_ms = admissions.live[holder].expires_ms
    return Standing.EXPIRED if expires_ms and expires_ms <= now_ms else Standing.LIVE


class LogGrantStatus:
    """Reads the log: `events(stream)` gives a distribution's events in order, `now_ms()` the time to judge by."""

    def __init__(
        self, events: Callable[[Stream], Awaitable[Iterable[Event]]], now_ms: Callable[[], int]
    ) -> None:
        self._events = events
        self._now_ms = now_ms

    async def standing(self, grant: GrantClaims) -> Standing:
        return standing_of(grant, await self._events(grant.stream), self._now_ms())


_REFUSALS: dict[Standing, Reason] = {
    Standing.REDEEMED: "redeemed",
    Standing.REVOKED: "revoked",
    Standing.EXPIRED: "expired",
    Standing.UNKNOWN: "unknown_grant",
}


async def validate_online(
    token: str, keys: GrantKeys, expected: Expected, now_s: int, status: GrantStatus
) -> GrantClaims:
    """The claims of a token that counts and whose grant is neither used nor taken back; raises GrantRefused.

    True when it was read: only `redeem` uses a grant, and only once.
    """
    claims = validate(token, keys, expected, now_s)
    require_live(await status.standing(claims))
    return claims


def require_live(standing: Standing) -> None:
    """Raises GrantRefused for a grant that was used, taken back, has ended or was never given."""
    if standing is not Standing.LIVE:
        raise GrantRefused(_REFUSALS[standing])
