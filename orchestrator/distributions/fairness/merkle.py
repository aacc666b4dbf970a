"""Merkle trees as in RFC 6962: leaves and nodes are hashed apart, so that no node can be passed off as an entry."""

from collections.abc import Sequence
from hashlib import sha256

_LEAF, _NODE = b"\x00", b"\x01"
EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """The hash of an entry's bytes."""
    return sha256(_LEAF + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash over two subtrees."""
    return sha256(_NODE + left + right).digest()


class Frontier:
    """A tree that grows by leaves and keeps only the roots of its full subtrees, the largest first: O(log n) hashes."""

    __slots__ = ("roots", "size")

    def __init__(self, size: int = 0, roots: Sequence[bytes] = ()) -> None:
        if size < 0 or len(roots) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves has {max(size, 0).bit_count()} full subtrees")
        self.size = size
        self.roots = list(roots)

    def append(self, leaf: bytes) -> None:
        """Add the next leaf, already hashed."""
        node, size = leaf, self.size
        while size & 1:
            node = node_hash(self.roots.pop(), node)
            size >>= 1
        self.roots.append(node)
        self.size += 1

    def root(self) -> bytes:
        """The root of the tree so far."""
        if not self.roots:
            return EMPTY_ROOT
        root = self.roots[-1]
        for left in reversed(self.roots[:-1]):
            root = node_hash(left, root)
        return root


def levels(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """Every level of a tree from its leaves up; an odd last node moves up as it is, which is RFC 6962's shape."""
    found = [list(leaves)]
    while len(found[-1]) > 1:
        below = found[-1]
        above = [node_hash(left, right) for left, right in zip(below[::2], below[1::2], strict=False)]
        if len(below) % 2:
            above.append(below[-1])
        found.append(above)
    return found


def root(leaves: Sequence[bytes]) -> bytes:
    """The root of a tree of these hashed leaves."""
    return levels(leaves)[-1][0] if leaves else EMPTY_ROOT


def path(tree: Sequence[Sequence[bytes]], index: int) -> list[bytes]:
    """The inclusion proof of a leaf (counted from 0) in a tree from `levels`. Raises IndexError beyond its leaves."""
    if not 0 <= index < len(tree[0]):
        raise IndexError(f"leaf {index} of {len(tree[0])}")
    found = []
    for level in tree[:-1]:
        beside = index ^ 1
        if beside < len(level):
            found.append(level[beside])
        index >>= 1
    return found


def root_of_path(leaf: bytes, index: int, size: int, hashes: Sequence[bytes]) -> bytes | None:
    """The root that an inclusion proof leads to in a tree of `size` leaves; None when the proof has another length."""
    if not 0 <= index < size:
        return None
    node, last, given = leaf, size - 1, iter(hashes)
    while last:
        if index % 2 or index < last:  # otherwise it moves up as it is
            beside = next(given, None)
            if beside is None:
                return None
            node = node_hash(beside, node) if index % 2 else node_hash(node, beside)
        index >>= 1
        last >>= 1
    return node if next(given, None) is None else None
