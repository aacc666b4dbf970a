"""Which states journeys reach by events, and which values their variables can have there.

An abstract interpretation: each state holds, for every variable that only transitions set, the finite set of its
possible values; sets only grow, and one that grows too large is given up (`None`: anything). Variables which
services set from outside, and events, can be anything. Triggers are ignored: they say what is let in, not what
would follow. All of it over-approximates, so 'never' means never.
"""

import json
from functools import lru_cache
from itertools import product
from typing import Any, Final

from msgspec import Struct

from orchestrator.core.rules import Data, Rule, RuleFailed
from orchestrator.journeys.lifecycle.model import Assignments, Compiled
from orchestrator.journeys.paths import assign, overlaps, read

VALUES_MAX: Final = 32
COMBINATIONS_MAX: Final = 256
_EITHER: Final = frozenset({True, False})

Possible = frozenset[str] | None  # JSON texts; None: anything


class Values(Struct, frozen=True):
    """The possible values of the tracked paths in one state."""

    paths: dict[str, Possible]

    def join(self, other: "Values") -> "Values":
        joined: dict[str, Possible] = {}
        for path, one in self.paths.items():
            two = other.paths[path]
            both = None if one is None or two is None else one | two
            joined[path] = None if both is None or len(both) > VALUES_MAX else both
        return Values(joined)

    def after(self, assignments: Assignments, leaf: str) -> "Values":
        """The values after a transition's assignments in `leaf`."""
        changed = dict(self.paths)
        for path, value in {**assignments.constant, **assignments.constant_private}.items():
            if path in changed:
                changed[path] = frozenset({_text(value)})
        for path, template, _ in assignments.computed:
            if path in changed:
                changed[path] = _computed(template.rules, template.reads_all, template.render, self, leaf)
        return Values(changed)


def reach(compiled: Compiled) -> dict[str, Values]:
    """The possible values in each leaf that events lead to."""
    reached = {compiled.initial: _first(compiled)}
    todo = [compiled.initial]
    while todo:
        name = todo.pop()
        for target, values in _steps(compiled, name, reached[name]):
            joined = values if target not in reached else reached[target].join(values)
            if target not in reached or joined != reached[target]:
                reached[target] = joined
                todo.append(target)
    return reached


def truths(source: Any, values: Values, leaf: str) -> frozenset[bool]:
    """Which truth values a rule can have."""
    exact = _exact(source, values, leaf)
    if exact is not None:
        return exact
    if not isinstance(source, dict) or len(source) != 1:
        return _EITHER
    ((operator, arguments),) = source.items()
    parts = [
        truths(part, values, leaf) for part in (arguments if isinstance(arguments, list) else [arguments])
    ]
    match operator:
        case "and":
            if any(part == {False} for part in parts):
                return frozenset({False})
            return frozenset({True}) if all(part == {True} for part in parts) else _EITHER
        case "or":
            if any(part == {True} for part in parts):
                return frozenset({True})
            return frozenset({False}) if all(part == {False} for part in parts) else _EITHER
        case "!" if len(parts) == 1:
            return frozenset(not truth for truth in parts[0])
        case "!!" if len(parts) == 1:
            return parts[0]
    return _EITHER


def known_values(path: tuple[str, ...], values: Values, leaf: str) -> list[Any] | None:
    """What a rule can find at a path; None for anything."""
    name = ".".join(path)
    if name == "state":
        return [leaf]
    possible = values.paths.get(name)
    return None if possible is None else [json.loads(text) for text in possible]


def _steps(compiled: Compiled, name: str, values: Values) -> list[tuple[str, Values]]:
    leaf = compiled.leaves[name]
    if leaf.terminal:
        return []
    found: list[tuple[str, Values]] = []
    for event_type in {*compiled.events, *leaf.on, *compiled.record}:
        record = compiled.record.get(event_type)
        heard = values if record is None else values.after(record, name)
        found.append((name, heard))
        for branch in leaf.on.get(event_type, ()):
            if branch.when is None or True in truths(branch.when.source, heard, name):
                target = name if branch.change is None else branch.change.target
                found.append((target, heard.after(branch.assign, name)))
    found += [
        (branch.change.target, values.after(branch.assign, name))
        for branch in leaf.expiries.values()
        if branch.change is not None
    ]
    return found


def _first(compiled: Compiled) -> Values:
    sets = list(compiled.record.values())
    for leaf in compiled.leaves.values():
        branches = [branch for candidates in leaf.on.values() for branch in candidates]
        sets += [branch.assign for branch in (*branches, *leaf.expiries.values())]
    paths = {path for one in sets for path in (*one.constant, *one.constant_private)}
    paths |= {path for one in sets for path, _, _ in one.computed}
    defaults = assign(compiled.context, compiled.private)
    clear = [path for path in paths if not any(path != other and overlaps(path, other) for other in paths)]
    return Values({path: frozenset({_text(read(defaults, path.split(".")))}) for path in sorted(clear)})


def _exact(source: Any, values: Values, leaf: str) -> frozenset[bool] | None:
    """The truth values over all combinations of what the rule reads; None if something can be anything."""
    rule = _compiled(json.dumps(source))
    combinations = _combinations(rule.reads, values, leaf) if rule is not None and rule.reads_all else None
    if rule is None or combinations is None:
        return None
    found = set()
    for data in combinations:
        try:
            found.add(rule.holds(Data(data)))
        except RuleFailed:
            return None
    return frozenset(found)


@lru_cache(maxsize=1_024)
def _compiled(source: str) -> Rule | None:
    try:
        return Rule(json.loads(source))
    except RuleFailed:  # a part that is no rule by itself
        return None


def _computed(rules: list[Rule], reads_all: bool, render: Any, values: Values, leaf: str) -> Possible:  # noqa: FBT001
    reads = tuple({path for rule in rules for path in rule.reads})
    combinations = _combinations(reads, values, leaf) if reads_all else None
    if combinations is None:
        return None
    found = set()
    for data in combinations:
        try:
            found.add(_text(render(Data(data))))
        except RuleFailed:
            return None
    return frozenset(found) if len(found) <= VALUES_MAX else None


def _combinations(
    reads: tuple[tuple[str, ...], ...], values: Values, leaf: str
) -> list[dict[str, Any]] | None:
    choices: list[list[tuple[str, Any]]] = []
    size = 1
    for path in reads:
        possible = known_values(path, values, leaf)
        if possible is None:
            return None
        size *= len(possible)
        if size > COMBINATIONS_MAX:
            return None
        choices.append([(".".join(path), value) for value in possible])
    return [assign({}, dict(choice)) for choice in product(*choices)]


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
