"""How a definition behaves as a whole: circles, dead ends, conditions no journey can ever meet."""

from collections.abc import Iterator
from itertools import product
from typing import Any

from orchestrator.core.decider import Problem
from orchestrator.core.rules import Rule
from orchestrator.journeys.lifecycle.model import Compiled
from orchestrator.journeys.lifecycle.reach import Values, known_values, reach, truths


def check_flow(compiled: Compiled) -> Iterator[Problem]:
    """Problems of a definition that compiled."""
    circle = _circle(compiled)
    if circle is not None:
        yield circle
        return
    reached = reach(compiled)
    for name in compiled.leaves:
        if name not in reached:
            message = f"no event leads to {name}; only a journey started there can be in it"
            yield Problem(_pointer(name), message, "add a transition to it, or remove it", "warning")
    yield from _repeats(compiled)
    yield from _blocked(compiled)
    yield from _never(compiled, reached)


def _circle(compiled: Compiled) -> Problem | None:
    """Inactivity that leads back to itself would fire for ever: none of its moves is an event of the customer."""
    for start, leaf in compiled.leaves.items():
        todo = [branch.change.target for branch in leaf.expiries.values() if branch.change is not None]
        seen: set[str] = set()
        while todo:
            name = todo.pop()
            if name == start:
                at = next(iter(leaf.expiries.values())).id
                message = f"inactivity in {start} leads back to {start} without any event"
                return Problem(at, message, "let one of the states on the way have no `after`")
            if name not in seen:
                seen.add(name)
                expiries = compiled.leaves[name].expiries.values()
                todo += [branch.change.target for branch in expiries if branch.change is not None]
    return None


def _repeats(compiled: Compiled) -> Iterator[Problem]:
    """Actions that on their end send the very event which runs them again."""
    told: set[tuple[str, str]] = set()
    for leaf, (name, policy) in product(compiled.leaves.values(), compiled.policies.items()):
        for event_type in {policy.on_success, policy.on_failure} - {""}:
            for branch in leaf.on.get(event_type, ()):
                change = branch.change
                again = [
                    *branch.actions,
                    *(change.entered if change else ()),
                    *(change.left if change else ()),
                ]
                if branch.when is None and (branch.id, name) not in told and name in {a.name for a in again}:
                    told.add((branch.id, name))
                    message = (
                        f"{name} sends {event_type}, which runs {name} again in {leaf.name}, without end"
                    )
                    cure = "add a condition that ends it, such as a counter"
                    yield Problem(branch.id, message, cure, "warning")


def _blocked(compiled: Compiled) -> Iterator[Problem]:
    free: set[str] = set()
    blocked: dict[str, tuple[str, str]] = {}
    for leaf in compiled.leaves.values():
        for event_type, branches in leaf.on.items() if not leaf.terminal else ():
            stopped = (
                leaf.guard is not None
                and event_type in compiled.events
                and event_type not in leaf.guard.events
            )
            for branch in branches:
                if stopped:
                    blocked.setdefault(branch.id, (leaf.name, event_type))
                else:
                    free.add(branch.id)
    for at, (state, event_type) in blocked.items():
        if at not in free:
            message = f"never taken: the triggers of {state} reject {event_type}"
            yield Problem(at, message, f"add {event_type} to the triggers' events, or remove this", "warning")


def _never(compiled: Compiled, reached: dict[str, Values]) -> Iterator[Problem]:
    """Conditions that fail in every state they are asked in."""
    hopes: dict[str, bool] = {}
    reasons: dict[str, str] = {}

    def ask(pointer: str, rule: Rule, leaf: str, values: Values) -> None:
        possible = True in truths(rule.source, values, leaf)
        hopes[pointer] = hopes.get(pointer, False) or possible
        reasons.setdefault(pointer, _because(rule, values, leaf))

    for name, reach_in in reached.items():
        leaf = compiled.leaves[name]
        if leaf.terminal:
            continue
        if leaf.guard is not None and leaf.guard.when is not None:
            ask(f"{leaf.guard.pointer}/when", leaf.guard.when, name, reach_in)
        for event_type, branches in leaf.on.items():
            record = compiled.record.get(event_type)
            values = reach_in if record is None else reach_in.after(record, name)
            for branch in branches:
                if branch.when is not None:
                    ask(f"{branch.id}/when", branch.when, name, values)
    for pointer, possible in hopes.items():
        if not possible:
            cure = "compare with what can be there, or correct the transitions that lead here"
            yield Problem(pointer, f"this condition can never hold: {reasons[pointer]}", cure, "warning")


def _because(rule: Rule, values: Values, leaf: str) -> str:
    parts = []
    for path in rule.reads:
        possible = known_values(path, values, leaf)
        if possible is not None:
            parts.append(f"{'.'.join(path)} is {' or '.join(sorted(map(_show, possible)))}")
    return f"in {leaf} " + (" and ".join(parts) or "it is false whatever happens")


def _show(value: Any) -> str:
    return repr(value)


def _pointer(name: str) -> str:
    return "".join(f"/states/{step}" for step in name.split("."))
