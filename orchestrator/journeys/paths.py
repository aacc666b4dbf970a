"""Dotted paths into JSON objects, such as `metadata.source`. Nothing here changes what it is given."""

from collections.abc import Iterable, Mapping
from typing import Any


def assign(tree: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`tree` with each path of `changes` set; only the objects on the way to a change are copied."""
    new = dict(tree)
    for path, value in changes.items():
        if "." in path:
            _assign_below(new, path.split("."), value)
        else:
            new[path] = value
    return new


def read(tree: Any, path: Iterable[str]) -> Any:
    """The value at `path`, None where there is none."""
    for step in path:
        if isinstance(tree, dict):
            tree = tree.get(step)
        elif isinstance(tree, list) and step.isdecimal() and int(step) < len(tree):
            tree = tree[int(step)]
        else:
            return None
    return tree


def overlaps(one: str, other: str) -> bool:
    """Whether two paths are the same or one leads to the other."""
    return one == other or one.startswith(other + ".") or other.startswith(one + ".")


def leaves(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Every path to a value that is no object (or an empty one), with the value."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            found |= leaves(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found


def _assign_below(owned: dict[str, Any], steps: list[str], value: Any) -> None:
    for step in steps[:-1]:
        below = owned.get(step)
        copy = dict(below) if isinstance(below, dict) else {}
        owned[step] = copy
        owned = copy
    owned[steps[-1]] = value


def overlay(flat: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Values by path with newer ones on top: a value replaces those below its path and is applied after those above."""
    kept = {
        path: value
        for path, value in flat.items()
        if path not in changes and not any(path.startswith(change + ".") for change in changes)
    }
    return {**kept, **changes}
