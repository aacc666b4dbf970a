"""The plays: what thirty fans and an operator do with each mechanism, and where in it the worker dies."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple

from orchestrator.distributions.fairness.seeds import commitment
from tests.experience.books import grants_of, list_of
from tests.experience.crashes import FANS, MAIN, Scene, Show

EARLY, LATE = FANS[:15], FANS[15:]
PRIZES: Final = 3  # of the draw and the auction
STOCK: Final = 10  # of the timed release
PUT_UP: Final = 8  # places promised to the waitlist
SECRET: Final = "5e" * 32
_LONG_AGO, _FAR_OFF = "2026-01-05T10:00:00Z", "2036-01-05T10:00:00Z"


async def nothing(_: Show) -> None:
    """Nobody does anything."""


class Play(NamedTuple):
    """One mechanism's document and what happens; `stages` are those of fans without a grant in the end."""

    mechanism: str
    part: Mapping[str, Any]
    scenes: tuple[Scene, ...]
    stages: frozenset[str]
    sold: int = 0
    begin: Callable[[Show], Awaitable[None]] = nothing
    end: Callable[[Show], Awaitable[None]] = nothing
    behind: Mapping[str, Any] | None = None

    @property
    def distributions(self) -> dict[str, Any]:
        parts = {MAIN: {"mechanism": self.mechanism, **self.part}}
        return parts if self.behind is None else {**parts, "behind": self.behind}

    async def perform(self, show: Show) -> None:
        await self.begin(show)
        await show.quiet()
        for scene in self.scenes:
            await show.plays(scene)
        await self.end(show)


def all_act(fans: tuple[str, ...], action: str, **data: Any) -> Callable[[Show], Awaitable[None]]:
    """These fans do the same."""

    async def act(show: Show) -> None:
        await show.all_act(fans, action, **data)

    return act


async def redeem_all(show: Show) -> None:
    """Every live grant is used, and then once more by somebody who is too late."""
    live = grants_of(show.events()).live.values()
    for reference in ("first", "second"):
        for grant in live:
            await show.redeem(grant.jti, reference)
    await show.quiet()


# Draw.


async def _commit(show: Show) -> None:
    await show.operate("commit", commitment=commitment(bytes.fromhex(SECRET)).hex(), salt_key="7a" * 32)


async def _draw(show: Show) -> None:
    await show.operate("close")
    await show.quiet()
    await show.operate("draw", secret=SECRET)


async def _winners_leave(show: Show) -> None:
    for fan in grants_of(show.events()).live:
        await show.act(fan, "leave_participation", "gives-back")


DRAW = Play(
    "draw",
    {"opens_at": _LONG_AGO, "closes_at": _FAR_OFF, "winners": PRIZES, "admission": {"valid": "1h"}},
    (
        Scene(all_act(EARLY, "enter_draw"), "draw.entered.v1", 5, all_act(LATE, "enter_draw")),
        Scene(_draw, "draw.held.v1", 1, all_act(EARLY, "refresh_distribution")),
        Scene(_winners_leave, "distribution.grant_returned.v1", 2, all_act(LATE, "refresh_distribution")),
    ),
    frozenset({"ended", "active_enterable"}),
    sold=PRIZES,
    begin=_commit,
    end=redeem_all,
)


# Auction.


def _bids(fans: tuple[str, ...], round: int) -> Callable[[Show], Awaitable[None]]:
    async def bid(show: Show) -> None:
        for fan in fans:
            amount = 100 * round + 7 * int(fan[-2:]) % 30
            await show.act(fan, "place_bid", f"{fan}-bids-{round}", amount=amount)

    return bid


async def _close(show: Show) -> None:
    await show.operate("close")


async def _one_does_not_pay(show: Show) -> None:
    first, *_ = grants_of(show.events()).live.values()
    await show.operate("revoke", "revoke-first", jti=first.jti, reason="no payment")
    await show.quiet()
    await redeem_all(show)


AUCTION = Play(
    "auction",
    {
        "style": "english", "start": 1, "increment": 1, "quantity": PRIZES, "closes_at": _FAR_OFF, "payment": "1h",
    },
    (
        Scene(all_act(EARLY, "enter_auction"), "auction.entered.v1", 5, all_act(LATE, "enter_auction")),
        Scene(_bids(EARLY, 1), "auction.bid_placed.v1", 3, _bids(LATE, 2)),
        Scene(_close, "auction.closed.v1", 1, _bids(EARLY, 3)),
    ),
    frozenset({"ended", "admission_expired"}),
    sold=PRIZES,
    end=_one_does_not_pay,
)  # fmt: skip


# Timed release.


async def _buy_or_give_back(show: Show) -> None:
    holders = list(grants_of(show.events()).live.values())
    for grant in holders[:3]:
        await show.redeem(grant.jti, "first")
    for grant in holders[3:5]:
        await show.act(grant.participant, "complete_timed_release")
    for grant in holders[5:7]:
        await show.act(grant.participant, "leave_participation", "gives-back")


async def _try_again(show: Show) -> None:
    """Whoever got nothing asks once more; used grants are shown again elsewhere."""
    grants = grants_of(show.events())
    for jti in grants.used.values():
        await show.redeem(jti, "second")
    for fan in FANS:
        if fan not in grants.granted:
            await show.act(fan, "enter_timed_release", "tries-again")


TIMED_RELEASE = Play(
    "timed_release",
    {"windows": [{"at": _LONG_AGO, "quantity": STOCK}], "hold": "1h"},
    (
        Scene(
            all_act(EARLY, "enter_timed_release"),
            "timed_release.entered.v1",
            4,
            all_act(LATE, "enter_timed_release"),
        ),
        Scene(_buy_or_give_back, "distribution.grant_redeemed.v1", 2, all_act(LATE, "refresh_distribution")),
        Scene(_try_again, "distribution.granted.v1", 1, all_act(EARLY, "refresh_distribution")),
    ),
    frozenset({"active_enterable", "ended"}),
    sold=5,
)


# Appointment.


def _book(fans: tuple[str, ...], id: str = "") -> Callable[[Show], Awaitable[None]]:
    """Half of them want each slot; every fifth has a place held at first."""

    async def book(show: Show) -> None:
        for fan in fans:
            number = int(fan[-2:])
            hold = {"hold": True} if number % 5 == 0 else {}
            await show.act(fan, "enter_appointment", id, slot="ab"[number % 2], **hold)

    return book


async def _change_minds(show: Show) -> None:
    booked = list(grants_of(show.events()).live)
    for fan in booked[:3]:
        await show.act(fan, "cancel_appointment")
    for fan in booked[3:5]:
        await show.act(fan, "enter_appointment", "moves", slot="ab"[(int(fan[-2:]) + 1) % 2])


APPOINTMENT = Play(
    "appointment",
    {
        "slots": [
            {"id": "a", "starts_at": _FAR_OFF, "ends_at": "2036-01-05T11:00:00Z", "capacity": 5},
            {"id": "b", "starts_at": _FAR_OFF, "ends_at": "2036-01-05T11:00:00Z", "capacity": 4},
        ],
        "hold": "1h",
    },
    (
        Scene(_book(EARLY), "appointment.slot_booked.v1", 3, _book(LATE)),
        Scene(_change_minds, "distribution.grant_returned.v1", 2, _book(LATE, "tries-again")),
    ),
    frozenset({"active_enterable", "participating"}),
    end=_book(FANS, "tries-at-last"),
)


# Waitlist.


async def _promote(show: Show) -> None:
    await show.all_act(LATE, "enter_waitlist")
    await show.operate("promote", "promote-first", count=3)


async def _accept(show: Show) -> bool:
    """Everybody accepts but every fourth fan, whose offers expire; False while offers stand."""
    offered = list_of(show.events()).offered
    for fan in sorted(offered):
        id = f"{fan}-accepts"
        stream = f"acme/c/{fan}/experience:drop"
        if int(fan[-2:]) % 4 and (stream, "tests", id) not in show.published:
            await show.act(fan, "accept_offer", id)
    return not offered


async def _promote_and_accept(show: Show) -> None:
    await show.operate("promote", "promote-second", count=PUT_UP - 3)
    await _accept(show)


WAITLIST = Play(
    "waitlist",
    {"offer": {"valid": "4s"}},
    (
        Scene(all_act(EARLY, "enter_waitlist"), "waitlist.entered.v1", 5, _promote),
        Scene(_promote_and_accept, "waitlist.offered.v1", 1, all_act(LATE[::5], "leave_waitlist")),
    ),
    frozenset({"waitlist_entered", "active_enterable"}),
    end=lambda show: show.quiet(lambda: _accept(show)),
    behind={"mechanism": "timed_release", "windows": [{"at": _LONG_AGO, "quantity": STOCK}], "hold": "1h"},
)

PLAYS = (DRAW, AUCTION, TIMED_RELEASE, APPOINTMENT, WAITLIST)
