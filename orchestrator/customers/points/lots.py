"""Points by the instant they expire at, soonest first; those that never expire come last.

All lots together hold the balance, or nothing while it is below zero. An instant has one lot.
"""

from msgspec import Struct


class Lot(Struct, frozen=True, omit_defaults=True):
    """Points that end together; None: never."""

    points: int
    expires_ms: int | None = None


Lots = tuple[Lot, ...]


def put(lots: Lots, points: int, expires_ms: int | None) -> Lots:
    """With `points` more that end at `expires_ms`."""
    if points <= 0:
        return lots
    before = tuple(lot for lot in lots if _order(lot.expires_ms) < _order(expires_ms))
    after = tuple(lot for lot in lots if _order(lot.expires_ms) > _order(expires_ms))
    present = sum(lot.points for lot in lots if lot.expires_ms == expires_ms)
    return (*before, Lot(present + points, expires_ms), *after)


def take(lots: Lots, points: int) -> Lots:
    """Without `points`, soonest expiring first; nothing is left if they hold fewer."""
    for index, lot in enumerate(lots):
        if points < lot.points:
            return (Lot(lot.points - points, lot.expires_ms), *lots[index + 1 :])
        points -= lot.points
    return ()


def take_from(lots: Lots, points: int, expires_ms: int | None) -> Lots:
    """Without `points`, first of those that end at `expires_ms`, then as `take`."""
    own = sum(lot.points for lot in lots if lot.expires_ms == expires_ms)
    others = tuple(lot for lot in lots if lot.expires_ms != expires_ms)
    rest = put(others, own - points, expires_ms)
    return take(rest, points - own) if points > own else rest


def _order(expires_ms: int | None) -> float:
    return float("inf") if expires_ms is None else expires_ms
