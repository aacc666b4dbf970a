"""The long steps of a draw, each in pieces that a lane can take between other commands: one piece a tick."""

from itertools import islice
from typing import Final

from orchestrator.core.decider import Facts
from orchestrator.distributions.admissions import grant
from orchestrator.distributions.draw.events import (
    DrawEnded,
    EntrantsDismissed,
    EntriesRanked,
    EntriesSealed,
    NotSelected,
    PlacesDrawn,
    PlacesOffered,
    PlacesReplaced,
    Replacement,
    RootPublished,
)
from orchestrator.distributions.draw.ranks import BALLS_AT_ONCE
from orchestrator.distributions.draw.state import STANDING, WITHDRAWN, DrawState
from orchestrator.distributions.fairness.entries import committed_leaf
from orchestrator.distributions.fairness.merkle import Frontier
from orchestrator.distributions.fairness.ranking import key
from orchestrator.distributions.turn import Turn

AT_ONCE: Final = 1_000  # participants who are told something by one decision
SCAN_AT_ONCE: Final = 20_000  # entries looked at by one decision
TICK: Final = "tick"
EXPIRY: Final = "expiry"


def step(state: DrawState, turn: Turn, facts: Facts) -> None:
    """Do the next piece of what is to be done, and ask for another tick; nothing when all is done."""
    match state.phase:
        case "sealing":
            if _seal(state, turn, facts):
                return
        case "ranking":
            turn.add(EntriesRanked(state.room, _ranked_next(state), facts.now_ms))
        case "placing":
            _place(state, turn, facts)
        case "telling":
            who, upto = _standing(state, state.told_upto)
            turn.add(NotSelected(state.room, who, upto, "not_drawn", facts.now_ms))
        case "settled" if state.vacancies and state.reserves_left:
            _replace(state, turn, facts)
        case "settled" if state.idle and state.reserves_left:
            _release(state, turn, facts)
        case "settled" if state.idle:
            turn.add(DrawEnded(state.room, "settled", facts.now_ms))
            return
        case "abandoned":
            who, upto = _standing(state, state.dismissed_upto)
            turn.add(EntrantsDismissed(state.room, who, upto, facts.now_ms))
            if upto == state.size:
                turn.add(DrawEnded(state.room, "abandoned", facts.now_ms))
                return
        case _:
            return
    turn.want(TICK, facts.now_ms)


def give(state: DrawState, turn: Turn, tickets: list[int], facts: Facts) -> None:
    """Places for these: offered where they have to be claimed, granted where not."""
    participants = [state.participants[ticket - 1] for ticket in tickets]
    if not participants:
        return
    if state.config.claim_ms:
        until_ms = facts.now_ms + state.config.claim_ms
        turn.add(PlacesOffered(state.room, tuple(participants), until_ms, facts.now_ms))
    else:
        pairs, valid_ms = [(who, 1) for who in participants], state.config.valid_ms
        made = grant(state.room, state.admissions, pairs, facts, valid_ms=valid_ms)
        turn.add(made)
        until_ms = made.expires_ms
    turn.want(EXPIRY, until_ms)


def _seal(state: DrawState, turn: Turn, facts: Facts) -> bool:
    begin, upto = state.sealed_upto, min(state.sealed_upto + AT_ONCE, state.size)
    tree = Frontier(begin, [bytes.fromhex(root) for root in state.sealed_roots])
    standing = []
    for ticket in range(begin + 1, upto + 1):
        withdrawn = state.fates[ticket - 1] == WITHDRAWN
        tree.append(committed_leaf(state.leaf(ticket), withdrawn=withdrawn))
        if not withdrawn:
            standing.append(state.participants[ticket - 1])
    if upto > begin:
        roots = tuple(root.hex() for root in tree.roots)
        turn.add(EntriesSealed(state.room, upto, roots, tuple(standing), facts.now_ms))
    if upto == state.size:
        turn.add(RootPublished(state.room, tree.root().hex(), facts.now_ms))
    return upto == state.size


def _ranked_next(state: DrawState) -> int:
    """Up to which ticket the next piece of the ranking goes."""
    upto, balls = state.ranks.upto, 0
    while upto < state.size and balls < BALLS_AT_ONCE and upto - state.ranks.upto < BALLS_AT_ONCE:
        balls += state.weights[upto]
        upto += 1
    return upto


def _place(state: DrawState, turn: Turn, facts: Facts) -> None:
    begun, seed = len(state.order), bytes.fromhex(state.seed)

    def full(ticket: int) -> tuple[bytes, bytes]:
        leaf = state.leaf(ticket)
        return key(seed, leaf, state.weights[ticket - 1]), leaf

    tickets = state.ranks.next(min(AT_ONCE, state.ranked - begun), full)
    turn.add(PlacesDrawn(state.room, begun + 1, tuple(tickets), facts.now_ms))
    give(state, turn, tickets[: max(0, state.places - begun)], facts)


def _replace(state: DrawState, turn: Turn, facts: Facts) -> None:
    count = min(AT_ONCE, len(state.vacancies), state.reserves_left)
    tickets = state.reserves(0, count)
    pairs = zip(tickets, islice(state.vacancies, count), strict=True)
    made = tuple(Replacement(ticket, gone, reason) for ticket, (gone, reason) in pairs)
    turn.add(PlacesReplaced(state.room, made, facts.now_ms))
    give(state, turn, tickets, facts)


def _release(state: DrawState, turn: Turn, facts: Facts) -> None:
    tickets = state.reserves(state.released, AT_ONCE)
    who = tuple(state.participants[ticket - 1] for ticket in tickets)
    turn.add(NotSelected(state.room, who, state.released + len(who), "no_place_left", facts.now_ms))


def _standing(state: DrawState, after: int) -> tuple[tuple[str, ...], int]:
    """Who stands without a place, of the tickets behind `after`; and up to which ticket was looked."""
    found: list[str] = []
    upto = after
    end = min(state.size, after + SCAN_AT_ONCE)
    while upto < end and len(found) < AT_ONCE:
        if state.fates[upto] == STANDING:
            found.append(state.participants[upto])
        upto += 1
    return tuple(found), upto
