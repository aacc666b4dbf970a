"""Grants: the right to go on, one per participant at a time, used once, for a time. Only the distribution owns them.

The log holds a grant's id and its end. The token that proves it is signed when somebody reads the journey.
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import ClassVar, Final, Literal

from msgspec import Struct

from orchestrator.core.decider import Facts
from orchestrator.core.errors import Rejected
from orchestrator.core.events import Event, Told
from orchestrator.distributions.base import Room
from orchestrator.distributions.deadlines import Deadlines
from orchestrator.distributions.ended import Ended

EXPIRE_AT_ONCE_MAX: Final = 1_000
REFERENCE_CHARS_MAX: Final = 128
Status = Literal["redeemed", "expired", "revoked"]
_CODES: Final[dict[int, Status]] = {1: "redeemed", 2: "expired", 3: "revoked"}
_REDEEMED, _EXPIRED, _REVOKED = 1, 2, 3


class Grant(Struct, frozen=True, array_like=True):
    """Who holds it, its id, for how many, and at which price where the distribution sets one."""

    participant: str
    jti: str
    quantity: int = 1
    price: int | None = None  # in the smallest unit of the currency


class Granted(Event, frozen=True):
    """These participants may go on until `expires_ms` (0: without an end)."""

    NAME: ClassVar[str] = "distribution.granted.v1"
    TELLS: ClassVar[bool] = True
    room: Room
    grants: tuple[Grant, ...]
    at_ms: int
    expires_ms: int = 0

    def tells(self) -> Sequence[Told]:
        return [
            self.room.told(
                g.participant,
                "admitted",
                self.at_ms,
                jti=g.jti,
                expires_ms=self.expires_ms,
                quantity=g.quantity,
                **({} if g.price is None else {"price": g.price}),
            )
            for g in self.grants
        ]


class GrantRedeemed(Event, frozen=True):
    """A grant was used; `reference` is the server's word for what for."""

    NAME: ClassVar[str] = "distribution.grant_redeemed.v1"
    TELLS: ClassVar[bool] = True
    room: Room
    participant: str
    jti: str
    at_ms: int
    reference: str = ""

    def tells(self) -> Sequence[Told]:
        return (self.room.told(self.participant, "redeemed", self.at_ms, jti=self.jti),)


class GrantRevoked(Event, frozen=True):
    """A grant was taken back before its end."""

    NAME: ClassVar[str] = "distribution.grant_revoked.v1"
    TELLS: ClassVar[bool] = True
    room: Room
    participant: str
    jti: str
    at_ms: int
    reason: str = ""

    def tells(self) -> Sequence[Told]:
        told = {"what": "admission", "reason": "revoked", "jti": self.jti}
        return (self.room.told(self.participant, "expired", self.at_ms, **told),)


class GrantReturned(Event, frozen=True):
    """Its holder gave a grant back unused, by leaving; counted among the revoked."""

    NAME: ClassVar[str] = "distribution.grant_returned.v1"
    TELLS: ClassVar[bool] = True
    room: Room
    participant: str
    jti: str
    at_ms: int

    def tells(self) -> Sequence[Told]:
        return (self.room.told(self.participant, "left", self.at_ms, reason="left"),)


class GrantReplaced(Event, frozen=True):
    """Its holder has another grant in place of `was`, as after rescheduling; the old one is counted among the revoked."""

    NAME: ClassVar[str] = "distribution.grant_replaced.v1"
    TELLS: ClassVar[bool] = True
    room: Room
    was: str
    grant: Grant
    at_ms: int
    expires_ms: int = 0

    def tells(self) -> Sequence[Told]:
        return Granted(self.room, (self.grant,), self.at_ms, self.expires_ms).tells()


class GrantsExpired(Event, frozen=True):
    """Grants that nobody used in time."""

    NAME: ClassVar[str] = "distribution.grants_expired.v1"
    TELLS: ClassVar[bool] = True
    room: Room
    grants: tuple[Grant, ...]
    at_ms: int

    def tells(self) -> Sequence[Told]:
        return [
            self.room.told(
                g.participant, "expired", self.at_ms, what="admission", reason="expired", jti=g.jti
            )
            for g in self.grants
        ]


ADMISSION_EVENTS: Final[tuple[type[Event], ...]] = (
    Granted,
    GrantRedeemed,
    GrantRevoked,
    GrantReturned,
    GrantReplaced,
    GrantsExpired,
)


class Live(Struct, frozen=True, array_like=True, gc=False):
    """A grant that can still be used."""

    jti: str
    expires_ms: int
    quantity: int


class Admissions:
    """The grants of one distribution. Mutable: `evolve` is the only one to change it."""

    __slots__ = ("_deadlines", "_ended", "_holders", "expired", "granted", "live", "redeemed", "revoked")

    def __init__(self) -> None:
        self.live: dict[str, Live] = {}  # by participant
        self.granted = self.redeemed = self.expired = self.revoked = 0  # quantities
        self._holders: dict[str, str] = {}  # of live grants, by jti
        self._ended = Ended()
        self._deadlines = Deadlines()  # of live grants, by participant

    @property
    def held(self) -> int:
        """How many the live grants are for."""
        return self.granted - self.redeemed - self.expired - self.revoked

    def holder(self, jti: str) -> str | None:
        """Who holds a live grant."""
        return self._holders.get(jti)

    def ended(self, jti: str) -> Status | None:
        """How a grant ended; None for a live or unknown one."""
        return _CODES.get(self._ended.get(jti))

    def next_end_ms(self) -> int | None:
        """When the next live grant ends."""
        return self._deadlines.next_ms

    def next_end_after_ms(self, now_ms: int) -> int | None:
        """When the next one ends after `expire_due` at `now_ms`; `now_ms` itself when it leaves some for later."""
        return self._deadlines.due(now_ms, EXPIRE_AT_ONCE_MAX)[1]

    def due(self, now_ms: int, limit: int) -> list[Grant]:
        """Live grants whose end has come, the earliest first, up to `limit`. Looks, and leaves all as it is."""
        live = self.live
        return [
            Grant(who, live[who].jti, live[who].quantity) for who in self._deadlines.due(now_ms, limit)[0]
        ]

    def evolve(self, event: Event) -> bool:
        """Take in an event; False when it says nothing about grants."""
        match event:
            case Granted():
                for g in event.grants:
                    self._begin(g, event.expires_ms)
            case GrantReplaced():
                self.revoked += self._end(event.grant.participant, event.was, _REVOKED)
                self._begin(event.grant, event.expires_ms)
            case GrantRedeemed():
                self.redeemed += self._end(event.participant, event.jti, _REDEEMED)
            case GrantRevoked() | GrantReturned():
                self.revoked += self._end(event.participant, event.jti, _REVOKED)
            case GrantsExpired():
                self.expired += sum(self._end(g.participant, g.jti, _EXPIRED) for g in event.grants)
            case _:
                return False
        return True

    def _begin(self, grant: Grant, expires_ms: int) -> None:
        self.live[grant.participant] = Live(grant.jti, expires_ms, grant.quantity)
        self._holders[grant.jti] = grant.participant
        self.granted += grant.quantity
        if expires_ms:
            self._deadlines.set(grant.participant, expires_ms)

    def _end(self, participant: str, jti: str, code: int) -> int:
        live = self.live.pop(participant)
        del self._holders[jti]
        self._deadlines.drop(participant)
        self._ended.add(jti, code)
        return live.quantity


def new_jti(facts: Facts, index: int) -> str:
    """The id of a decision's `index`-th grant: the same at every replay, and no other grant's."""
    return blake2b(f"{facts.stream.text}/{facts.version + 1}/{index}".encode(), digest_size=12).hexdigest()


def grant(
    room: Room,
    admissions: Admissions,
    participants: Iterable[tuple[str, int]],
    facts: Facts,
    *,
    valid_ms: int,
    prices: Mapping[str, int] = {},
) -> Granted:
    """Grants for (participant, quantity) pairs, `valid_ms` long (0: without an end), at `prices` by participant.

    Raises Rejected `grant.already_held`: one live grant per participant.
    """
    made: list[Grant] = []
    seen: set[str] = set()
    for index, (participant, quantity) in enumerate(participants):
        if participant in admissions.live or participant in seen:
            raise Rejected("grant.already_held", participant=participant)
        seen.add(participant)
        made.append(Grant(participant, new_jti(facts, index), quantity, prices.get(participant)))
    expires_ms = facts.now_ms + valid_ms if valid_ms else 0
    return Granted(room, tuple(made), facts.now_ms, expires_ms)


def redeem(room: Room, admissions: Admissions, jti: str, reference: str, facts: Facts) -> Sequence[Event]:
    """Use a grant. Raises Rejected `grant.unknown`, `.already_redeemed`, `.expired`, `.revoked`."""
    participant, live = _usable(admissions, jti)
    if live.expires_ms and live.expires_ms <= facts.now_ms:  # its timer is on its way
        raise Rejected("grant.expired", expired_ms=live.expires_ms)
    return (GrantRedeemed(room, participant, jti, facts.now_ms, reference[:REFERENCE_CHARS_MAX]),)


def revoke(room: Room, admissions: Admissions, jti: str, reason: str, facts: Facts) -> Sequence[Event]:
    """Take a grant back. Raises Rejected as `redeem` does."""
    participant, _ = _usable(admissions, jti)
    return (GrantRevoked(room, participant, jti, facts.now_ms, reason[:REFERENCE_CHARS_MAX]),)


def give_back(room: Room, admissions: Admissions, participant: str, facts: Facts) -> GrantReturned | None:
    """The return of a participant's live grant; None where there is none."""
    live = admissions.live.get(participant)
    return None if live is None else GrantReturned(room, participant, live.jti, facts.now_ms)


def replace_grant(
    room: Room, admissions: Admissions, participant: str, facts: Facts, *, valid_ms: int
) -> GrantReplaced:
    """Another grant in place of a participant's live one, of its quantity. Raises Rejected `grant.unknown` without one."""
    live = admissions.live.get(participant)
    if live is None:
        raise Rejected("grant.unknown")
    made = Grant(participant, new_jti(facts, 0), live.quantity)
    return GrantReplaced(room, live.jti, made, facts.now_ms, facts.now_ms + valid_ms if valid_ms else 0)


def expire_due(room: Room, admissions: Admissions, facts: Facts) -> Sequence[Event]:
    """End what is due: at most EXPIRE_AT_ONCE_MAX at once; call again while `next_end_ms` is due."""
    due = admissions.due(facts.now_ms, EXPIRE_AT_ONCE_MAX)
    return (GrantsExpired(room, tuple(due), facts.now_ms),) if due else ()


def _usable(admissions: Admissions, jti: str) -> tuple[str, Live]:
    participant = admissions.holder(jti)
    if participant is not None:
        return participant, admissions.live[participant]
    match admissions.ended(jti):
        case "redeemed":
            raise Rejected("grant.already_redeemed")
        case "expired":
            raise Rejected("grant.expired")
        case "revoked":
            raise Rejected("grant.revoked")
    raise Rejected("grant.unknown")
