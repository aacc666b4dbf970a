"""Books of the mechanisms, kept from their events alone: who holds what, and whether it adds up after every event.

Nothing of a mechanism's own state is believed: it is compared with these.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from orchestrator.core.events import Event
from orchestrator.distributions import MECHANISMS

KINDS: Final = {kind.name: kind for kind in MECHANISMS}


class Grants:
    """The grants of one distribution; what is impossible is written down in `wrong`."""

    def __init__(self) -> None:
        self.live: dict[str, Any] = {}  # grant by participant
        self.used: dict[str, str] = {}  # jti by participant
        self.granted: list[str] = []  # participants, in order
        self.sold = 0
        self.wrong: list[str] = []
        self._jtis: set[str] = set()

    @property
    def held(self) -> int:
        return sum(grant.quantity for grant in self.live.values())

    def take(self, event: Event) -> None:
        """Take in an event of any kind."""
        match event.NAME.removeprefix("distribution.").removesuffix(".v1"):
            case "granted":
                for grant in event.grants:
                    self._begin(grant)
            case "grant_replaced":
                self._end(event.grant.participant, event.was)
                self._begin(event.grant)
            case "grant_redeemed":
                self.sold += self._end(event.participant, event.jti)
                self.used[event.participant] = event.jti
            case "grant_revoked" | "grant_returned":
                self._end(event.participant, event.jti)
            case "grants_expired":
                for grant in event.grants:
                    self._end(grant.participant, grant.jti)

    def _begin(self, grant: Any) -> None:
        if grant.participant in self.live:
            self.wrong.append(f"{grant.participant} is granted {grant.jti} while holding another")
        if grant.jti in self._jtis:
            self.wrong.append(f"grant {grant.jti} was given twice")
        self._jtis.add(grant.jti)
        self.live[grant.participant] = grant
        self.granted.append(grant.participant)

    def _end(self, participant: str, jti: str) -> int:
        grant = self.live.pop(participant, None)
        if grant is None or grant.jti != jti:
            self.wrong.append(f"grant {jti} of {participant} ended without being theirs")
            return 0
        return int(grant.quantity)


class Places:
    """The places of slots: held, booked or used."""

    def __init__(self) -> None:
        self.at: dict[str, str] = {}  # slot by participant, held or booked
        self.used: Counter[str] = Counter()

    def take(self, event: Event) -> None:
        match event.NAME.removesuffix(".v1"):
            case "appointment.slot_held" | "appointment.slot_booked":
                self.at[event.participant] = event.slot.id
            case "appointment.hold_left" | "distribution.grant_returned" | "distribution.grant_revoked":
                self.at.pop(event.participant)
            case "appointment.holds_expired" | "appointment.holds_dismissed":
                for who in event.participants:
                    self.at.pop(who)
            case "distribution.grant_redeemed":
                self.used[self.at.pop(event.participant)] += 1

    def taken(self, slot: str) -> int:
        return sum(at == slot for at in self.at.values()) + self.used[slot]


class List:
    """A waitlist: who waits in which order, who is offered a place, where the promised places are."""

    def __init__(self) -> None:
        self.waiting: list[str] = []
        self.offered: set[str] = set()
        self.claimed: list[str] = []
        self.promised = self.free = 0
        self.wrong: list[str] = []

    def take(self, event: Event) -> None:
        match event.NAME.removeprefix("waitlist.").removesuffix(".v1"):
            case "entered":
                if event.participant in self.waiting or event.participant in self.offered:
                    self.wrong.append(f"{event.participant} is on the list twice")
                self.waiting.append(event.participant)
            case "promoted":
                self.promised += event.count
                self.free += event.count
            case "offered":
                first = self.waiting[: len(event.participants)]
                if list(event.participants) != first:
                    self.wrong.append(f"offered to {event.participants} before {first}")
                self.waiting = [who for who in self.waiting if who not in event.participants]
                self.offered |= set(event.participants)
                self.free -= len(event.participants)
            case "offers_expired":
                for who in event.participants:
                    self._free(who)
            case "claimed":
                self.offered.remove(event.participant)
                self.claimed.append(event.participant)
            case "left" if event.participant in self.offered:
                self._free(event.participant)
            case "left":
                self.waiting.remove(event.participant)

    def _free(self, participant: str) -> None:
        self.offered.remove(participant)
        self.free += 1


def grants_of(events: Sequence[Event]) -> Grants:
    """The books of grants at the end."""
    grants = Grants()
    for event in events:
        grants.take(event)
    return grants


def list_of(events: Sequence[Event]) -> List:
    """The books of a waitlist at the end."""
    found = List()
    for event in events:
        found.take(event)
    return found


def state_of(mechanism: str, events: Sequence[Event]) -> Any:
    """What the mechanism makes of its events."""
    state = None
    for event in events:
        state = KINDS[mechanism].evolve(state, event)
    return state


def discrepancies(mechanism: str, events: Sequence[Event]) -> Iterator[str]:
    """Whatever doesn't add up, after each event."""
    check, grants, state = _CHECKS[mechanism](), Grants(), None
    for number, event in enumerate(events, 1):
        state = KINDS[mechanism].evolve(state, event)
        grants.take(event)
        yield from (f"event {number} {event.NAME}: {wrong}" for wrong in check(event, grants, state) if wrong)
    yield from grants.wrong


Check = Callable[[Event, Grants, Any], list[str]]


def _unlike(what: str, found: Any, expected: Any) -> str:
    return "" if found == expected else f"{what} is {found}, by the books {expected}"


def _too_many(held: int, sold: int, stock: int) -> str:
    return f"{held} held and {sold} sold of {stock}" if held + sold > stock else ""


def _draw() -> Check:
    def check(_: Event, grants: Grants, state: Any) -> list[str]:
        winners = 0 if state is None else state.config.winners
        return [_too_many(grants.held, grants.sold, winners)]

    return check


def _auction() -> Check:
    def check(_: Event, grants: Grants, state: Any) -> list[str]:
        if state is None:
            return []
        quantity = state.sale.config.quantity
        free = quantity - grants.held - grants.sold
        return [_too_many(grants.held, grants.sold, quantity), _unlike("free", state.sale.free, free)]

    return check


def _timed_release() -> Check:
    stock = 0

    def check(event: Event, grants: Grants, state: Any) -> list[str]:
        nonlocal stock
        if event.NAME == "timed_release.stock_released.v1":
            stock += event.quantity
        if state is None:
            return []
        free = stock - grants.held - grants.sold
        refused = event.NAME == _REFUSED and event.reason.endswith((".none_free", ".sold_out"))
        return [
            _too_many(grants.held, grants.sold, stock),
            _unlike("free", state.stock.free, free),
            f"refused while {free} are free" if refused and free else "",
        ]

    return check


def _appointment() -> Check:
    places = Places()

    def check(event: Event, grants: Grants, state: Any) -> list[str]:
        places.take(event)
        if state is None or event.NAME in _BEFORE_THE_SLOT:
            return []
        found = []
        for id, slot in state.slots.items():
            taken, capacity = places.taken(id), slot.slot.capacity
            found.append(f"{taken} places of {id} taken of {capacity}" if taken > capacity else "")
            found.append(_unlike(f"free in {id}", slot.free, capacity - taken))
            refused = event.NAME == _REFUSED and event.reason == "appointment.slot_full"
            if refused and event.inputs["slot"] == id and taken < capacity:
                found.append(f"refused while {capacity - taken} are free in {id}")
        return [*found, _unlike("who has booked", set(state.booked), set(grants.live))]

    return check


_REFUSED: Final = "distribution.ask_refused.v1"
_BEFORE_THE_SLOT: Final = ("distribution.granted.v1", "distribution.grant_replaced.v1")


def _waitlist() -> Check:
    books = List()

    def check(event: Event, _: Grants, state: Any) -> list[str]:
        books.take(event)
        if state is None:
            return []
        promised = len(books.claimed) + len(books.offered) + books.free
        wrong, books.wrong = books.wrong, []
        return [
            *wrong,
            _unlike("claimed, offered and free", promised, books.promised),
            _unlike("free", state.free, books.free),
            f"{books.free} places free" if books.free < 0 else "",
            _unlike("the order", state.first(1_000), books.waiting),
        ]

    return check


_CHECKS: Final[Mapping[str, Callable[[], Check]]] = {
    "draw": _draw,
    "auction": _auction,
    "timed_release": _timed_release,
    "appointment": _appointment,
    "waitlist": _waitlist,
}
