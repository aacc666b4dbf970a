"""Statistics here have fixed seeds: they say the same at every run."""

from collections import Counter
from fractions import Fraction
from hashlib import sha256
from itertools import permutations
from math import factorial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.distributions.fairness import ranking as module
from orchestrator.distributions.fairness.ranking import key, ranking

RUNS = 20_000
leaves_of = st.integers(0, 40).map(lambda n: [_leaf(i) for i in range(n)])


def _leaf(number: int) -> bytes:
    return sha256(f"leaf {number}".encode()).digest()


def _seed(number: int) -> bytes:
    return sha256(f"seed {number}".encode()).digest()


def chance(order: tuple[int, ...], weights: tuple[int, ...]) -> Fraction:
    """The chance of an order (its first places) when each next one is drawn by weight from those that are left."""
    left, found = sum(weights), Fraction(1)
    for index in order:
        found *= Fraction(weights[index], left)
        left -= weights[index]
    return found


@pytest.mark.parametrize("weights", [(1, 1, 1), (1, 2, 3), (4, 1, 1), (5, 2)], ids=str)
def test_a_drum_of_balls_is_weighted_sampling_without_replacement(weights: tuple[int, ...]) -> None:
    """Counted over every order of the balls: first appearances have exactly the chances of sampling by weight."""
    balls = [index for index, weight in enumerate(weights) for _ in range(weight)]
    seen = Counter(tuple(dict.fromkeys(taken)) for taken in permutations(balls))
    for order in permutations(range(len(weights))):
        assert Fraction(seen[order], factorial(len(balls))) == chance(order, weights)


@pytest.mark.parametrize("weights", [(1, 1, 1, 1), (1, 2, 3, 4), (100, 1, 10, 37)], ids=str)
def test_ranks_come_as_often_as_their_weights_say(weights: tuple[int, ...]) -> None:
    """The hashes keep the drum's promise: chi-square over every order of four entrants (p > 0.001)."""
    leaves = [_leaf(i) for i in range(len(weights))]
    seen = Counter(tuple(ranking(_seed(run), leaves, weights)) for run in range(RUNS))
    likely = {o: chance(o, weights) * RUNS for o in permutations(range(4))}
    rare = [o for o in likely if likely[o] < 5]  # too few for the statistic: counted together
    groups = [[o] for o in likely if o not in rare] + ([rare] if rare else [])
    expected = [float(sum(likely[o] for o in group)) for group in groups]
    counted = [sum(seen[o] for o in group) for group in groups]
    if expected[-1] < 5:
        expected[-2:], counted[-2:] = [sum(expected[-2:])], [sum(counted[-2:])]
    chi = sum((c - e) ** 2 / e for c, e in zip(counted, expected, strict=True))
    degrees = len(expected) - 1
    # Wilson and Hilferty's approximation of the chi-square's quantile at 0.999
    bound = degrees * (1 - 2 / (9 * degrees) + 3.09 * (2 / (9 * degrees)) ** 0.5) ** 3
    assert chi < bound


def test_a_shuffle_treats_every_place_alike() -> None:
    """Without weights each entrant comes to each place equally often (chi-square, p > 0.001)."""
    leaves, size, runs = [_leaf(i) for i in range(8)], 8, 8_000
    places: Counter[tuple[int, int]] = Counter()
    for run in range(runs):
        places.update(enumerate(ranking(_seed(run), leaves)))
    chi = sum((places[p, i] - runs / size) ** 2 / (runs / size) for p in range(size) for i in range(size))
    assert chi < 85.4  # 49 degrees of freedom


def test_the_same_seed_gives_the_same_order_for_good() -> None:
    """A draw of today can be repeated by every later release, and by whoever writes their own: a golden order."""
    leaves = [_leaf(i) for i in range(10)]
    assert ranking(_seed(0), leaves) == [3, 2, 6, 0, 8, 9, 5, 4, 7, 1]
    weights = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert ranking(_seed(0), leaves, weights) == [5, 4, 8, 9, 3, 2, 6, 7, 0, 1]
    by_hand = min(
        sha256(b"draw.ball.v1\x00" + _seed(0) + leaves[2] + n.to_bytes(4, "big")).digest() for n in range(3)
    )
    assert key(_seed(0), leaves[2], 3) == by_hand


@given(leaves_of, st.binary(min_size=32, max_size=32), st.randoms(use_true_random=False))
def test_the_order_of_the_list_decides_nothing(leaves: list[bytes], seed: bytes, random) -> None:
    """Who sorts the entrants before the draw changes nobody's rank, and everyone has exactly one."""
    order = ranking(seed, leaves)
    mixed = leaves.copy()
    random.shuffle(mixed)
    assert [mixed[i] for i in ranking(seed, mixed)] == [leaves[i] for i in order]
    assert sorted(order) == list(range(len(leaves)))


@given(st.binary(min_size=32, max_size=32), st.integers(1, 99))
def test_more_weight_never_hurts(seed: bytes, weight: int) -> None:
    """Another ball in the drum can only bring one's first ball forward."""
    assert key(seed, _leaf(0), weight + 1) <= key(seed, _leaf(0), weight)


def test_equal_keys_go_by_leaf(monkeypatch) -> None:
    """Even if two hashes were the same, everyone would find the same order."""
    monkeypatch.setattr(module, "key", lambda *_: b"same")
    leaves = [b"c", b"a", b"b"]
    assert ranking(_seed(0), leaves) == [1, 2, 0]


@pytest.mark.parametrize("weight", [0, -1, 1_025])
def test_a_weight_without_meaning_is_refused(weight: int) -> None:
    """Nobody is left out of the drum, and nobody's weight is cut, without a word."""
    with pytest.raises(ValueError, match="whole numbers from 1"):
        ranking(_seed(0), [_leaf(0)], [weight])
