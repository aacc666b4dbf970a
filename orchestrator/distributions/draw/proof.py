"""The proof of a draw from its state: entries by their salted hashes, seed, ranking's outcome; no participant's id."""

from collections.abc import Sequence

from orchestrator.core.errors import OrchestratorError
from orchestrator.distributions.draw.state import WITHDRAWN, DrawState
from orchestrator.distributions.fairness import merkle
from orchestrator.distributions.fairness.entries import committed_leaf
from orchestrator.distributions.fairness.proof import Award, Entry, Inclusion, Proof, Reason, Times
from orchestrator.distributions.fairness.receipts import Statement

_REASONS: dict[str, Reason] = {
    "unclaimed": "unclaimed",
    "unused": "unused",
    "declined": "declined",
    "revoked": "revoked",
}


class NotDrawn(OrchestratorError):
    """There is nothing to prove yet, or nothing by this ticket."""


def proof_of(state: DrawState, tickets: Sequence[int] = ()) -> Proof:
    """The proof, with inclusion proofs of these tickets. Raises NotDrawn."""
    if not state.seed or state.phase in {"ranking", "placing"}:
        raise NotDrawn(f"the draw {state.draw} is {state.phase}: its places are not drawn yet")
    config = state.config
    return Proof(
        terms=config.terms(state.draw, state.commitment, state.beacon),
        times=Times(**state.times),
        secret=state.secret,
        beacon_value=state.beacon_value,
        seed=state.seed,
        root=state.root,
        entries=[_entry(state, ticket) for ticket in range(1, state.size + 1)],
        awards=_awards(state),
        inclusions=_inclusions(state, tickets),
    )


def statement_of(state: DrawState, participant: str) -> Statement:
    """What a participant's receipt states. Raises NotDrawn for somebody who is not in."""
    ticket = state.ticket_of(participant)
    if not ticket:
        raise NotDrawn(f"nobody by that id is in the draw {state.draw}")
    at = ticket - 1
    leaf = state.leaf(ticket).hex()
    return Statement(state.draw, ticket, state.weights[at], leaf, state.entered_ms[at], state.terms)


def _entry(state: DrawState, ticket: int) -> Entry:
    at = ticket - 1
    return Entry(state.identity(ticket).hex(), state.weights[at], state.fates[at] == WITHDRAWN)


def _awards(state: DrawState) -> list[Award]:
    winners = [Award(ticket, rank) for rank, ticket in enumerate(state.order[: state.places], 1)]
    later = [
        Award(one.ticket, rank, one.replaces, _REASONS[one.reason])
        for rank, one in enumerate(state.replacements, state.places + 1)
    ]
    return winners + later


def _inclusions(state: DrawState, tickets: Sequence[int]) -> list[Inclusion]:
    if not tickets:
        return []
    leaves = [
        committed_leaf(state.leaf(ticket), withdrawn=state.fates[ticket - 1] == WITHDRAWN)
        for ticket in range(1, state.size + 1)
    ]
    tree, found = merkle.levels(leaves), []
    for ticket in tickets:
        if not 1 <= ticket <= state.size:
            raise NotDrawn(f"ticket {ticket} is none of the {state.size:,} of this draw")
        path = [node.hex() for node in merkle.path(tree, ticket - 1)]
        found.append(Inclusion(ticket, leaves[ticket - 1].hex(), path))
    return found
