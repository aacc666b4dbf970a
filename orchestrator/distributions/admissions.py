"""Grants: the right to go on, one per participant at a time, used once, for a time. Only the distribution owns them.

The log holds a grant's id and its end. The token that proves it is signed when somebody reads the journey.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from heapq import heappop, heappush
from typing import ClassVar, Final, Literal

from msgspec import Struct

from orchestrator.core.decider import Facts
from orchestrator.core.errors import Rejected
from orchestrator.core.events import Event, Told
from orchestrator.distributions.base import Room

EXPIRE_AT_ONCE_MAX: Final = 1_000
REFERENCE_CHARS_MAX: Final = 128
Status = Literal["redeemed", "expired", "revoked"]
_CODES: Final[dict[int, Status]] = {1: "redeemed", 2: "expired", 3: "revoked"}
_LIVE, _REDEEMED, _EXPIRED, _REVOKED = range(4)


class Grant(Struct, frozen=True, array_like=True):
    """Who holds it, its id, and for how many."""

    participant: str
    jti: str
    quantity: int = 1


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


ADMISSION_EVENTS: Final[tuple[type[Event], ...]] = (Granted, GrantRedeemed, GrantRevoked, GrantsExpired)


class Live(Struct, frozen=True, array_like=True, gc=False):
    """A grant that can still be used."""

    jti: str
    expires_ms: int
    quantity: int


class Admissions:
    """The grants of one distribution. Mutable: `evolve` is the only one to change it."""

    __slots__ = ("_deadlines", "_holders", "_status", "expired", "granted", "live", "redeemed", "revoked")

    def __init__(self) -> None:
        self.live: dict[str, Live] = {}  # by participant
        self.granted = self.redeemed = self.expired = self.revoked = 0  # quantities
        self._holders: dict[str, str] = {}  # of live grants, by jti
        self._status: dict[int, int] = {}  # of ended grants, by a hash of the jti
        self._deadlines: list[
            tuple[int, str, str]
        ] = []  # heap of (end, participant, jti); may hold ended ones

    @property
    def held(self) -> int:
        """How many the live grants are for."""
        return self.granted - self.redeemed - self.expired - self.revoked

    def holder(self, jti: str) -> str | None:
        """Who holds a live grant."""
        return self._holders.get(jti)

    def ended(self, jti: str) -> Status | None:
        """How a grant ended; None for a live or unknown one."""
        return _CODES.get(self._status.get(_short(jti), _LIVE))

    def next_end_ms(self) -> int | None:
        """When the next live grant ends."""
        while self._deadlines:
            end_ms, participant, jti = self._deadlines[0]
            live = self.live.get(participant)
            if live is not None and live.jti == jti:
                return end_ms
            heappop(self._deadlines)  # ended otherwise; dropping it changes nothing that can be seen
        return None

    def due(self, now_ms: int, limit: int) -> list[Grant]:
        """Live grants whose end has come, the earliest first, up to `limit`. Looks, and leaves all as it is."""
        due: list[tuple[int, str, str]] = []
        heap, look = self._deadlines, [0]
        while look:  # of a heap only the branches whose top is due
            at = look.pop()
            if at < len(heap) and heap[at][0] <= now_ms:
                due.append(heap[at])
                look += (2 * at + 1, 2 * at + 2)
        found: list[Grant] = []
        for _, participant, jti in sorted(due):
            live = self.live.get(participant)
            if live is not None and live.jti == jti:
                found.append(Grant(participant, jti, live.quantity))
        return found[:limit]

    def evolve(self, event: Event) -> bool:
        """Take in an event; False when it says nothing about grants."""
        match event:
            case Granted():
                for g in event.grants:
                    self.live[g.participant] = Live(g.jti, event.expires_ms, g.quantity)
                    self._holders[g.jti] = g.participant
                    self.granted += g.quantity
                    if event.expires_ms:
                        heappush(self._deadlines, (event.expires_ms, g.participant, g.jti))
            case GrantRedeemed():
                self.redeemed += self._end(event.participant, event.jti, _REDEEMED)
            case GrantRevoked():
                self.revoked += self._end(event.participant, event.jti, _REVOKED)
            case GrantsExpired():
                self.expired += sum(self._end(g.participant, g.jti, _EXPIRED) for g in event.grants)
                while self._deadlines and self._deadlines[0][0] <= event.at_ms and self._stale():
                    heappop(self._deadlines)
            case _:
                return False
        return True

    def _stale(self) -> bool:
        _, participant, jti = self._deadlines[0]
        live = self.live.get(participant)
        return live is None or live.jti != jti

    def _end(self, participant: str, jti: str, code: int) -> int:
        live = self.live.pop(participant)
        del self._holders[jti]
        self._status[_short(jti)] = code
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
) -> Granted:
    """Grants for (participant, quantity) pairs, `valid_ms` long (0: without an end).

    Raises Rejected `grant.already_held`: one live grant per participant.
    """
    made: list[Grant] = []
    seen: set[str] = set()
    for index, (participant, quantity) in enumerate(participants):
        if participant in admissions.live or participant in seen:
            raise Rejected("grant.already_held", participant=participant)
        seen.add(participant)
        made.append(Grant(participant, new_jti(facts, index), quantity))
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


def _short(jti: str) -> int:
    """A grant's id in 64 bits: what ended is remembered for good, so it has to be small."""
    return int.from_bytes(blake2b(jti.encode(), digest_size=8).digest(), "big")
