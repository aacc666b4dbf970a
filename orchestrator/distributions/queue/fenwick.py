"""A Fenwick tree: counts that change one at a time and whose running sums are wanted, both in O(log n)."""

from array import array


class Fenwick:
    """Whole numbers by index from 0, eight bytes each."""

    __slots__ = ("_tree", "total")

    def __init__(self) -> None:
        self._tree = array("q")
        self.total = 0

    def __len__(self) -> int:
        return len(self._tree)

    def append(self, value: int) -> None:
        """Put a number behind the last."""
        tree = self._tree
        at = len(tree) + 1
        node, below = value, at - 1
        stop = at - (at & -at)
        while below > stop:  # a node holds the sum of those that end in it
            node += tree[below - 1]
            below -= below & -below
        tree.append(node)
        self.total += value

    def add(self, index: int, change: int) -> None:
        """Change the number at an index. Raises IndexError beyond the last."""
        tree, size = self._tree, len(self._tree)
        if not 0 <= index < size:
            raise IndexError(index)
        at = index + 1
        while at <= size:
            tree[at - 1] += change
            at += at & -at
        self.total += change

    def before(self, index: int) -> int:
        """The sum of the numbers before an index."""
        tree, found = self._tree, 0
        while index > 0:
            found += tree[index - 1]
            index &= index - 1
        return found
