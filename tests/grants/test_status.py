import asyncio

import pytest
from msgspec.structs import replace

from orchestrator.core.addresses import Stream
from orchestrator.core.events import Event, JourneyStarted
from orchestrator.distributions import admissions
from orchestrator.distributions.base import Room
from orchestrator.grants.claims import GrantClaims
from orchestrator.grants.status import LogGrantStatus, Standing, standing_of, validate_online
from orchestrator.grants.validation import GrantRefused, validate
from tests.grants.forging import EXPECTED, GRANT, KEYS, NOW_S, TOKEN

NOW_MS = NOW_S * 1000
ROOM = Room("acme", "shoes", "line", "queue")
CLAIMS = validate(TOKEN, KEYS, EXPECTED, NOW_S)
HELD = admissions.Grant("anna", GRANT.jti)
GIVEN = admissions.Granted(ROOM, (HELD, admissions.Grant("berta", "ff")), NOW_MS, GRANT.expires_ms)
ENDS: dict[str, tuple[Event, ...]] = {
    "live": (),
    "redeemed": (admissions.GrantRedeemed(ROOM, "anna", GRANT.jti, NOW_MS),),
    "revoked": (admissions.GrantRevoked(ROOM, "anna", GRANT.jti, NOW_MS),),
    "expired": (admissions.GrantsExpired(ROOM, (HELD,), NOW_MS),),
}
REASONS = {"redeemed": "redeemed", "revoked": "revoked", "expired": "expired", "unknown": "unknown_grant"}


class Remembering:
    """A log of one distribution, which notes who was asked."""

    def __init__(self, *events: Event) -> None:
        self.events = events
        self.asked: list[Stream] = []

    async def read(self, stream: Stream) -> tuple[Event, ...]:
        self.asked.append(stream)
        return self.events


def online(*events: Event, token: str = TOKEN, now_ms: int = NOW_MS) -> GrantClaims:
    status = LogGrantStatus(Remembering(*events).read, lambda: now_ms)
    return asyncio.run(validate_online(token, KEYS, EXPECTED, now_ms // 1000, status))


@pytest.mark.parametrize("end", sorted(ENDS))
def test_the_log_says_whether_a_grant_lives(end: str) -> None:
    """A used, revoked or expired grant is told apart from a live one, whatever else is in the log."""
    started = JourneyStarted(definition_version=1, at_ms=NOW_MS)
    assert standing_of(CLAIMS, (started, GIVEN, *ENDS[end]), NOW_MS) == end
    if end == "live":
        assert online(started, GIVEN) == CLAIMS
        return
    with pytest.raises(GrantRefused) as caught:
        online(started, GIVEN, *ENDS[end])
    assert caught.value.reason == REASONS[end]


def test_a_grant_nobody_gave_or_somebody_else_holds_is_unknown() -> None:
    """A token of another's grant counts for nothing, nor does one of a grant that isn't in the log."""
    assert standing_of(CLAIMS, (), NOW_MS) is Standing.UNKNOWN
    assert standing_of(replace(CLAIMS, sub="berta"), (GIVEN,), NOW_MS) is Standing.UNKNOWN
    with pytest.raises(GrantRefused) as caught:
        online()
    assert caught.value.reason == "unknown_grant"


def test_a_grant_whose_expiry_is_due_is_over_before_its_timer_fires() -> None:
    """The end in the log counts, not the moment somebody gets round to it."""
    assert standing_of(CLAIMS, (GIVEN,), GRANT.expires_ms - 1) is Standing.LIVE
    assert standing_of(CLAIMS, (GIVEN,), GRANT.expires_ms) is Standing.EXPIRED


def test_a_bad_token_asks_nobody() -> None:
    """What is refused offline never reaches a database."""
    log = Remembering(GIVEN)
    status = LogGrantStatus(log.read, lambda: NOW_MS)
    with pytest.raises(GrantRefused):
        asyncio.run(validate_online(TOKEN[:-2] + "AA", KEYS, EXPECTED, NOW_S, status))
    assert log.asked == []
    asyncio.run(validate_online(TOKEN, KEYS, EXPECTED, NOW_S, status))
    assert [stream.text for stream in log.asked] == ["acme/r/shoes.line/queue:shoes:line"]
