import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.distributions.fairness import merkle, seeds
from orchestrator.distributions.fairness.checking import NOT_OPERATOR_PROOF, check
from orchestrator.distributions.fairness.proof import Award, InvalidProof, read, write
from orchestrator.distributions.fairness.seeds import BeaconRound
from tests.distributions.draw.organizer import BEACON, TIMES, Organizer, failed, signer

replace = msgspec.structs.replace
WEIGHTS = [1, 3, 1, 2, 5, 1, 1, 4]


@pytest.fixture
def organizer() -> Organizer:
    return Organizer(WEIGHTS, withdrawn=[3])


@given(
    st.lists(st.integers(1, 100), max_size=12),
    st.integers(0, 5),
    st.integers(0, 5),
    st.sets(st.integers(1, 12)),
    st.booleans(),
)
def test_an_honest_draw_always_passes(weights, winners, reserves, withdrawn, beacon) -> None:
    """Whatever the numbers: nobody in, all withdrawn, fewer entrants than places, no beacon."""
    made = Organizer(
        weights,
        winners=winners,
        reserves=reserves,
        withdrawn=sorted(withdrawn),
        beacon=BEACON if beacon else None,
    )
    report = made.check(made.proof())
    assert report.passed, report.findings
    assert report.operator_proof is beacon
    assert report.winners == made.order()[:winners]


def test_a_proof_survives_its_file(organizer: Organizer) -> None:
    """What was exported is what is checked, an entry a line."""
    proof = organizer.proof(replaced=[organizer.order()[0]])
    data = b"".join(write(proof))
    assert read(data) == proof
    assert data.count(b"\n") > len(WEIGHTS)
    none = replace(proof, entries=[])
    assert read(b"".join(write(none))) == none


def test_no_participant_is_in_a_proof(organizer: Organizer) -> None:
    """It can be published, and it still holds after everyone in it was forgotten."""
    assert b"cus-" not in b"".join(write(organizer.proof()))


def test_a_changed_entrant_is_found(organizer: Organizer) -> None:
    """Another participant in an entry's place leads to another root, and contradicts the receipt."""
    entries = [replace(organizer.entries[0], identity="ab" * 32), *organizer.entries[1:]]
    found = failed(organizer.check(organizer.proof(entries=entries)))
    assert found >= {"root of the entries", "inclusion proofs", "receipts"}  # the winners may be others, too


def test_a_changed_weight_is_found(organizer: Organizer) -> None:
    """Nobody's chance can be raised after the entries were sealed."""
    entries = [replace(organizer.entries[0], weight=50), *organizer.entries[1:]]
    assert "root of the entries" in failed(organizer.check(organizer.proof(entries=entries)))


def test_a_dropped_entrant_is_found(organizer: Organizer) -> None:
    """An organizer who drops an entry and makes everything else fit is contradicted by its receipt."""
    receipts = [organizer.receipt(ticket) for ticket in range(1, 9)]
    assert organizer.check(organizer.proof(), receipts=receipts).passed
    root = organizer.proof().root
    organizer.entries = organizer.entries[:-1]
    made = organizer.proof()
    assert organizer.check(made).passed  # it fits by itself
    assert "root of the entries" in failed(organizer.check(organizer.proof(root=root)))
    report = organizer.check(made, receipts=receipts)
    assert failed(report) == {"receipts"}
    assert any("ticket 8: its entry was dropped" in finding.detail for finding in report.findings)


def test_an_entry_turned_into_a_withdrawn_one_is_found(organizer: Organizer) -> None:
    """After the entries were sealed nobody can be said to have left, and before it their receipt tells."""
    root = organizer.proof().root
    organizer.entries[4] = replace(organizer.entries[4], withdrawn=True)
    assert "root of the entries" in failed(organizer.check(organizer.proof(root=root)))
    report = organizer.check(organizer.proof(), receipts=[organizer.receipt(5)])
    assert any(f.status == "warning" and "ticket 5 counts as withdrawn" in f.detail for f in report.findings)


def test_reordered_entries_are_found(organizer: Organizer) -> None:
    """Tickets are part of what was committed."""
    entries = [organizer.entries[1], organizer.entries[0], *organizer.entries[2:]]
    assert "root of the entries" in failed(organizer.check(organizer.proof(entries=entries)))


def test_another_beacon_value_is_found(organizer: Organizer) -> None:
    """The seed follows from the beacon's value, and the winners from the seed."""
    assert "seed" in failed(organizer.check(organizer.proof(beacon_value="cd" * 32)))
    other = seeds.seed(organizer.secret, bytes.fromhex("cd" * 32)).hex()
    many = Organizer(range(1, 80), winners=20, reserves=0)
    other = seeds.seed(many.secret, bytes.fromhex("cd" * 32)).hex()
    assert "winners" in failed(many.check(many.proof(beacon_value="cd" * 32, seed=other)))


@pytest.mark.parametrize(
    ("times", "word"),
    [
        ({"committed_ms": 2_500}, "order"),
        ({"committed_ms": 3_500}, "order"),
        ({"sealed_ms": 6_500}, "order"),
        ({"drawn_ms": 4_500}, "before round 7"),
    ],
    ids=["named-after-opening", "named-after-the-close", "sealed-after-the-draw", "drawn-before-the-round"],
)
def test_a_beacon_that_could_be_known_is_found(organizer: Organizer, times, word: str) -> None:
    """The round has to be named before the entries and published after them."""
    report = organizer.check(organizer.proof(times=replace(TIMES, **times)))
    assert failed(report) >= {"beacon"}
    assert word in next(f.detail for f in report.findings if f.check == "beacon")


def test_a_beacon_named_later_contradicts_the_receipts(organizer: Organizer) -> None:
    """A receipt witnesses the terms: choosing another round afterwards is seen by everyone who holds one."""
    terms = replace(organizer.terms, beacon=BeaconRound("example beacon", 8, 5_000))
    assert failed(organizer.check(organizer.proof(terms=terms))) == {"receipts"}
    terms = replace(organizer.terms, winners=3)
    assert "receipts" in failed(organizer.check(organizer.proof(terms=terms)))


def test_entries_sealed_after_the_round_are_not_operator_proof(organizer: Organizer) -> None:
    """A late seal is said, because the entries could have been chosen with the beacon in hand."""
    report = organizer.check(organizer.proof(times=replace(TIMES, sealed_ms=5_000)))
    assert report.passed
    assert not report.operator_proof
    assert NOT_OPERATOR_PROOF in next(f.detail for f in report.findings if f.check == "beacon")


def test_without_a_beacon_it_is_said(organizer: Organizer) -> None:
    """A draw by the organizer's secret alone is consistent at best."""
    made = Organizer(WEIGHTS, beacon=None)
    report = made.check(made.proof())
    assert report.passed
    assert not report.operator_proof
    assert NOT_OPERATOR_PROOF in next(f.detail for f in report.findings if f.check == "beacon")
    assert failed(made.check(made.proof(beacon_value="ab" * 32))) >= {"beacon"}
    assert failed(organizer.check(organizer.proof(beacon_value=""))) >= {"beacon"}


def test_a_swapped_secret_is_found(organizer: Organizer) -> None:
    """The secret has to be the one whose hash was published, even if everything after it fits."""
    other = Organizer(WEIGHTS, secret=b"t" * 32)
    swapped = other.proof(terms=organizer.terms, receipts=[])
    assert failed(other.check(swapped)) == {"secret"}


def test_forged_receipts_are_named(organizer: Organizer) -> None:
    """A receipt counts only with the organizer's signature over exactly what it says."""
    real = organizer.receipt(2)
    forged = [
        replace(real, statement=replace(real.statement, ticket=99)),
        replace(real, signature=real.signature[:-4] + "AAAA"),
        replace(real, signature="é"),
        replace(real, algorithm="none"),
        replace(real, key="k2"),
        Organizer(WEIGHTS).receipt(2),  # another organizer's key of the same id
    ]
    for receipt in forged:
        report = organizer.check(organizer.proof(receipts=[]), receipts=[receipt])
        assert failed(report) == {"receipts"}
        assert "forged" in next(f.detail for f in report.findings if f.check == "receipts")


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"leaf": "ab" * 32}, "changed"),
        ({"ticket": 99}, "dropped"),
        ({"draw": "acme/r/other"}, "another draw"),
        ({"terms": "ab" * 32}, "terms"),
        ({"entered_ms": 3_001}, "after the close"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_signed_receipt_contradicts_the_draw(organizer: Organizer, changes, word: str) -> None:
    """What the organizer signed and what they drew have to agree."""
    report = organizer.check(organizer.proof(receipts=[organizer.receipt(2, **changes)]))
    assert failed(report) == {"receipts"}
    assert word in next(f.detail for f in report.findings if f.check == "receipts")


def test_unchecked_signatures_are_said(organizer: Organizer) -> None:
    """Without the organizer's keys a receipt is compared, and its signature is not taken for granted."""
    report = check(organizer.proof())
    assert report.passed
    assert [f.status for f in report.findings if f.check == "receipts"] == ["warning"]
    assert failed(check(organizer.proof(), signer("another").keys())) == {"receipts"}


def test_other_winners_are_found(organizer: Organizer) -> None:
    """A friend can't be put in, the order can't be changed, nobody can be left out or added."""
    order = organizer.order()
    first, second = Award(order[0], 1), Award(order[1], 2)
    for awards in (
        [first, Award(order[4], 2)],
        [Award(order[1], 1), Award(order[0], 2)],
        [first],
        [],
        [first, second, Award(order[2], 3)],
        [first, Award(order[1], 2, replaces=order[0], reason="unclaimed")],
    ):
        assert failed(organizer.check(organizer.proof(awards=awards))) & {"winners", "replacements"}


def test_other_replacements_are_found(organizer: Organizer) -> None:
    """A place goes to the next of the ranking, once, with a reason, and never beyond the reserves."""
    order = organizer.order()
    winners = [Award(order[0], 1), Award(order[1], 2)]
    third, fourth = Award(order[2], 3, order[0], "unclaimed"), Award(order[3], 4, order[2], "unused")
    assert organizer.check(organizer.proof(awards=[*winners, third, fourth])).passed
    for later in (
        [fourth],
        [replace(third, ticket=order[5])],
        [replace(third, replaces=order[4])],
        [replace(third, reason="")],
        [third, replace(fourth, replaces=order[0])],
        [third, fourth, Award(order[4], 5, order[1], "unused")],
    ):
        assert failed(organizer.check(organizer.proof(awards=[*winners, *later]))) == {"replacements"}


def test_wrong_inclusion_proofs_are_found(organizer: Organizer) -> None:
    """An inclusion proof holds for its own entry, from its own ticket, with every hash."""
    one, two = organizer.inclusion(1), organizer.inclusion(2)
    for wrong in (
        replace(one, ticket=2),
        replace(one, ticket=99),
        replace(one, leaf=two.leaf),
        replace(one, path=one.path[:-1]),
        replace(one, path=["ab" * 32, *one.path[1:]]),
    ):
        assert failed(organizer.check(organizer.proof(inclusions=[two, wrong]))) == {"inclusion proofs"}
    assert merkle.root(organizer.committed).hex() == organizer.proof().root


def test_a_weight_beyond_the_terms_is_found(organizer: Organizer) -> None:
    """The organizer can't give anyone more than was said."""
    organizer.terms = replace(organizer.terms, weight_max=4)
    assert failed(organizer.check(organizer.proof())) == {"entries"}


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda d: d.replace(b'"draw-proof/1"', b'"draw-proof/2"'), "format"),
        (lambda d: d.replace(b'"root": "', b'"root": "x'), "root"),
        (lambda d: d.replace(b'"root"', b'"roots"'), "roots"),
        (lambda d: d.replace(b'"winners": 2', b'"winners": -2'), "winners"),
        (lambda d: d.replace(b'",1,false]', b'",0,false]', 1), "entries"),
        (lambda d: d[:200], "truncated"),
        (lambda d: b"\xff" + d, "no proof"),
        (lambda _: b"[" * 100_000, "no proof"),
    ],
    ids=["format", "hex", "unknown-field", "negative", "weight", "cut", "bytes", "deep"],
)
def test_what_is_no_proof_is_refused_with_its_place(organizer: Organizer, change, place: str) -> None:
    """A broken file is told apart from an unfair draw."""
    data = change(b"".join(write(organizer.proof())))
    with pytest.raises(InvalidProof, match=place):
        read(data)
