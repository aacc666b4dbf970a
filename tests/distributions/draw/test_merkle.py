from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.distributions.fairness import merkle

# The published test tree of Certificate Transparency: roots of its first n leaves.
LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
leaf_lists = st.integers(0, 70).map(lambda n: [merkle.leaf_hash(str(i).encode()) for i in range(n)])


def test_the_tree_is_the_one_of_certificate_transparency() -> None:
    """Any library for RFC 6962 checks our roots."""
    leaves = [merkle.leaf_hash(bytes.fromhex(text)) for text in LEAVES]
    assert [merkle.root(leaves[: n + 1]).hex() for n in range(8)] == ROOTS
    assert merkle.root([]) == sha256(b"").digest()


@given(leaf_lists)
def test_a_growing_tree_has_the_same_root(leaves: list[bytes]) -> None:
    """Sealing entries piece by piece, over restarts, commits to the same as all at once."""
    grown = merkle.Frontier()
    for leaf in leaves:
        grown = merkle.Frontier(grown.size, grown.roots)
        grown.append(leaf)
    assert grown.root() == merkle.root(leaves)
    assert len(grown.roots) <= 7


@settings(max_examples=60)
@given(leaf_lists.filter(bool), st.data())
def test_an_inclusion_proof_leads_to_the_root_from_its_place_alone(leaves: list[bytes], data) -> None:
    """No other leaf, place, size, or altered, missing or added hash is accepted."""
    index = data.draw(st.integers(0, len(leaves) - 1))
    root, path = merkle.root(leaves), merkle.path(merkle.levels(leaves), index)
    size = len(leaves)

    def lead(leaf=leaves[index], at=index, of=size, hashes=path):  # type: ignore[no-untyped-def]
        return merkle.root_of_path(leaf, at, of, hashes)

    assert lead() == root
    assert lead(leaf=merkle.leaf_hash(b"another")) != root
    assert lead(hashes=[*path, root]) is None
    assert lead(at=size) is None
    assert lead(at=-1) is None
    for other in range(size):
        assert other == index or lead(at=other) != root
    for place in range(len(path)):
        assert lead(hashes=path[:place] + path[place + 1 :]) != root
        assert lead(hashes=[*path[:place], bytes(32), *path[place + 1 :]]) != root


def test_a_node_can_not_be_passed_off_as_an_entry() -> None:
    """Leaves and nodes are hashed apart, so no entry can be made up from two."""
    one, two = merkle.leaf_hash(b"1"), merkle.leaf_hash(b"2")
    assert merkle.leaf_hash(one + two) != merkle.node_hash(one, two)


def test_a_frontier_that_does_not_fit_its_size_is_refused() -> None:
    """A mixed-up state is named instead of leading to some root."""
    with pytest.raises(ValueError, match="full subtrees"):
        merkle.Frontier(3, [bytes(32)])
