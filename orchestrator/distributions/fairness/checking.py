"""Repeating a draw from its proof: every step is recomputed, nothing in the file is believed."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, Literal

from msgspec import Struct

from orchestrator.distributions.fairness import merkle, seeds
from orchestrator.distributions.fairness.entries import committed_leaf, draw_hash, entry_leaf
from orchestrator.distributions.fairness.proof import Award, Proof
from orchestrator.distributions.fairness.ranking import ranking
from orchestrator.distributions.fairness.receipts import Receipt, Statement, Verify, authentic

Status = Literal["passed", "failed", "skipped", "warning"]
Keys = Callable[[str], Verify | None]  # by the key's id
NOT_OPERATOR_PROOF: Final = "not operator-proof"
_STEP: Final = 2_000


class Finding(Struct, frozen=True):
    """What came of one check, in words for people."""

    check: str
    status: Status
    detail: str


class Report(Struct, frozen=True):
    """Every finding. `passed`: nothing contradicts the proof. `operator_proof`: nobody could have steered the draw."""

    findings: list[Finding]
    passed: bool
    operator_proof: bool
    entries: int
    winners: list[int]  # recomputed: the tickets of the first winners
    replacements: list[int]


class _Repeated(Struct):
    """What a proof leads to when it is computed anew; leaves by ticket - 1."""

    leaves: list[bytes]  # as in receipts
    committed: list[bytes]  # as in the tree
    order: list[int]  # tickets


def check(
    proof: Proof,
    keys: Keys | None = None,
    *,
    receipts: Sequence[Receipt] = (),
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Check everything. `keys` gives the organizer's key of an id; `progress` hears up to twice the entries."""
    advance = progress or _nothing
    leaves, committed = _leaves(proof, advance)
    standing = [index for index, entry in enumerate(proof.entries) if not entry.withdrawn]
    seed = seeds.seed(bytes.fromhex(proof.secret), bytes.fromhex(proof.beacon_value))
    done = 2 * len(leaves) - len(standing)
    ranked = ranking(
        seed,
        [leaves[index] for index in standing],
        [proof.entries[index].weight for index in standing],
        progress=lambda ranked: advance(done + ranked),
    )
    again = _Repeated(leaves, committed, [standing[index] + 1 for index in ranked])
    beacon = _beacon(proof)
    findings = [
        _weights(proof),
        _root(proof, again),
        _inclusions(proof, again),
        _secret(proof),
        beacon,
        _seed(proof, seed),
        *_awards(proof, again),
        *_receipts(proof, again, keys, receipts),
    ]
    passed = all(one.status != "failed" for one in findings)
    return Report(
        findings,
        passed,
        passed and beacon.status == "passed",
        len(proof.entries),
        again.order[: proof.terms.winners],
        [award.ticket for award in proof.awards if award.replaces],
    )


def _leaves(proof: Proof, advance: Callable[[int], None]) -> tuple[list[bytes], list[bytes]]:
    draw = draw_hash(proof.terms.draw)
    leaves, committed = [], []
    for ticket, entry in enumerate(proof.entries, 1):
        leaf = entry_leaf(draw, ticket, entry.weight, bytes.fromhex(entry.identity))
        leaves.append(leaf)
        committed.append(committed_leaf(leaf, withdrawn=entry.withdrawn))
        if ticket % _STEP == 0:
            advance(ticket)
    return leaves, committed


def _weights(proof: Proof) -> Finding:
    heavy = [t for t, entry in enumerate(proof.entries, 1) if entry.weight > proof.terms.weight_max]
    withdrawn = sum(entry.withdrawn for entry in proof.entries)
    said = f"{len(proof.entries):,} entries, {withdrawn:,} of them withdrawn before the close"
    return finding("entries", not heavy, said, f"tickets {some(heavy)} weigh more than the terms allow")


def _root(proof: Proof, again: _Repeated) -> Finding:
    found = merkle.root(again.committed).hex()
    return finding(
        "root of the entries",
        found == proof.root,
        found,
        f"the entries lead to {found}, the file says {proof.root}: entries were added, changed, dropped or reordered",
    )


def _inclusions(proof: Proof, again: _Repeated) -> Finding:
    if not proof.inclusions:
        return Finding("inclusion proofs", "skipped", "the file holds none; its entries are all there")
    size, root = len(again.committed), bytes.fromhex(proof.root)
    wrong = []
    for one in proof.inclusions:
        leaf, hashes = bytes.fromhex(one.leaf), [bytes.fromhex(text) for text in one.path]
        same = one.ticket <= size and leaf == again.committed[one.ticket - 1]
        if not same or merkle.root_of_path(leaf, one.ticket - 1, size, hashes) != root:
            wrong.append(one.ticket)
    return finding(
        "inclusion proofs",
        not wrong,
        f"{len(proof.inclusions):,} lead to the root",
        f"those of tickets {some(wrong)} don't lead from their entries to the root",
    )


def _secret(proof: Proof) -> Finding:
    kept = seeds.keeps(bytes.fromhex(proof.secret), bytes.fromhex(proof.terms.commitment))
    return finding(
        "secret",
        kept,
        "it is the one committed to before the entries",
        "it is not the one that was committed to: it was swapped",
    )


def _beacon(proof: Proof) -> Finding:
    beacon, times = proof.terms.beacon, proof.times
    if not times.committed_ms <= times.opened_ms <= times.closed_ms <= times.sealed_ms <= times.drawn_ms:
        said = "the steps were not taken in their order: commit, open, close, seal the entries, draw"
        return Finding("beacon", "failed", said)
    if beacon is None:
        if proof.beacon_value:
            return Finding("beacon", "failed", "a value is given, but no round was named before the entries")
        said = (
            f"{NOT_OPERATOR_PROOF}: no public beacon was used, so who knew the secret could foresee the draw"
        )
        return Finding("beacon", "warning", said)
    name = f"round {beacon.round} of {beacon.source}"
    if not proof.beacon_value:
        return Finding("beacon", "failed", f"{name} was named, its value is missing")
    if times.drawn_ms < beacon.at_ms:
        return Finding("beacon", "failed", f"the draw was held before {name} was published")
    if times.sealed_ms >= beacon.at_ms:
        said = f"{NOT_OPERATOR_PROOF}: the entries were sealed only after {name} was published"
        return Finding("beacon", "warning", said)
    said = f"{name} was named before the entries; compare its value with the source: {proof.beacon_value}"
    return Finding("beacon", "passed", said)


def _seed(proof: Proof, seed: bytes) -> Finding:
    return finding(
        "seed",
        seed.hex() == proof.seed,
        seed.hex(),
        f"secret and beacon give {seed.hex()}, the file says {proof.seed}",
    )


def _awards(proof: Proof, again: _Repeated) -> list[Finding]:
    places = min(proof.terms.winners, len(again.order))
    first, later = proof.awards[:places], proof.awards[places:]
    wrong = [a.ticket for rank, a in enumerate(first, 1) if not _is_winner(a, rank, again)]
    complete = len(first) == places
    winners = finding(
        "winners",
        complete and not wrong,
        f"{places:,} of {len(again.order):,}, in the order of the ranking",
        f"tickets {some(wrong)} are not the ones that the ranking gives"
        if wrong
        else f"{places:,} places were to be given, the file names {len(first):,}",
    )
    return [winners, _replacements(proof, again, places, later)]


def _is_winner(award: Award, rank: int, again: _Repeated) -> bool:
    return award.rank == rank and not award.replaces and again.order[rank - 1] == award.ticket


def _replacements(proof: Proof, again: _Repeated, places: int, later: Sequence[Award]) -> Finding:
    last = min(places + proof.terms.reserves, len(again.order))
    held = {award.ticket for award in proof.awards[:places]}  # places that nobody has replaced yet
    for rank, award in enumerate(later, places + 1):
        if rank > last:
            return Finding("replacements", "failed", f"ticket {award.ticket} is beyond the reserves")
        if award.rank != rank or again.order[rank - 1] != award.ticket:
            said = f"ticket {award.ticket} is not the next of the ranking (rank {rank})"
            return Finding("replacements", "failed", said)
        if award.replaces not in held:
            said = f"ticket {award.ticket} replaces {award.replaces}, which holds no place"
            return Finding("replacements", "failed", said)
        if not award.reason:
            return Finding("replacements", "failed", f"ticket {award.ticket} replaces without a reason")
        held.remove(award.replaces)
        held.add(award.ticket)
    return Finding("replacements", "passed", f"{len(later):,}, each the next of the ranking")


def _receipts(
    proof: Proof, again: _Repeated, keys: Keys | None, more: Sequence[Receipt]
) -> Iterator[Finding]:
    receipts, terms = [*proof.receipts, *more], proof.terms.digest()
    if not receipts:
        yield Finding("receipts", "skipped", "none is given")
        return
    good = 0
    for receipt in receipts:
        ticket = receipt.statement.ticket
        if said := _forged(receipt, keys) or _contradiction(receipt.statement, proof, again, terms):
            yield Finding("receipts", "failed", f"ticket {ticket}: {said}")
        elif proof.entries[ticket - 1].withdrawn:
            said = f"ticket {ticket} counts as withdrawn before the close: if its holder never left, ask why"
            yield Finding("receipts", "warning", said)
        else:
            good += 1
    if keys is None:
        said = f"the signatures of {len(receipts):,} were not checked: give the organizer's public keys"
        yield Finding("receipts", "warning", said)
    elif good:
        yield Finding("receipts", "passed", f"{good:,}: signed, and each entry is as it says")


def _forged(receipt: Receipt, keys: Keys | None) -> str:
    """Why a receipt proves nothing; "" when it is the organizer's, or there is no key to tell."""
    if keys is None:
        return ""
    verify = keys(receipt.key)
    if verify is None:
        return "forged: it names a key that is not the organizer's"
    return "" if authentic(receipt, verify) else "forged: the key it names has not signed it"


def _contradiction(said: Statement, proof: Proof, again: _Repeated, terms: str) -> str:
    """What a receipt proves to be wrong with the draw; "" for nothing."""
    if said.draw != proof.terms.draw:
        return "it is of another draw"
    if said.terms != terms:
        return "the terms (secret, beacon round, numbers) were others when it was given out"
    if said.ticket > len(again.leaves):
        return "its entry was dropped"
    if said.leaf != again.leaves[said.ticket - 1].hex():
        return "its entry was changed"
    if not proof.times.committed_ms <= said.entered_ms <= proof.times.closed_ms:
        return "it was entered before the terms were fixed or after the close"
    return ""


def finding(check: str, good: bool, passed: str, failed: str) -> Finding:  # noqa: FBT001 - the verdict itself
    """What a check came to, in the words for it."""
    return Finding(check, "passed", passed) if good else Finding(check, "failed", failed)


def differs(one: Sequence[int], other: Sequence[int]) -> int:
    """The first place (from 1) where two orders differ."""
    pairs = zip(one, other, strict=False)
    return next((place for place, (a, b) in enumerate(pairs, 1) if a != b), min(len(one), len(other)) + 1)


def some(tickets: Sequence[int]) -> str:
    """The first few of them."""
    shown = ", ".join(str(ticket) for ticket in tickets[:5])
    return f"{shown} and {len(tickets) - 5} more" if len(tickets) > 5 else shown


def _nothing(done: int) -> None:
    """Nobody watches."""
