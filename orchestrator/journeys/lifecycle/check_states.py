"""States and transitions: names that exist, children that can be entered, ends that stay ends."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from orchestrator.core.decider import Problem
from orchestrator.core.durations import duration_ms
from orchestrator.journeys.lifecycle.tree import ANY_EVENT, ROOT, Node, escape, nodes, transitions


def check_states(document: Mapping[str, Any]) -> Iterator[Problem]:
    """Problems of states, transitions, triggers and inactivity."""
    tree = nodes(document)
    sent = _sent_types(document)
    listed = set(document["events"])
    yield from _initial_of_root(document, tree)
    for event_type in document.get("record", {}):
        if event_type not in listed | sent:
            yield _unlisted(f"/record/{escape(event_type)}", event_type, listed)
    for node in tree.values():
        yield from _children(node)
        yield from _terminal(node)
        yield from _after(node, tree)
        yield from _transitions(node, tree, listed, sent)
        for n, event_type in enumerate(node.source.get("triggers", {}).get("events", ())):
            if event_type not in listed:
                yield _unlisted(f"{node.pointer}/triggers/events/{n}", event_type, listed)


def _sent_types(document: Mapping[str, Any]) -> set[str]:
    """Event types that actions send to their own journey."""
    found = set()
    for action in document.get("actions", {}).values():
        for moment in ("on_success", "on_failure"):
            if isinstance(action.get(moment), dict):
                found.add(action[moment]["event"])
    return found


def _initial_of_root(document: Mapping[str, Any], tree: Mapping[str, Node]) -> Iterator[Problem]:
    initial = document["initial"]
    if initial not in tree:
        yield _unknown_state("/initial", initial, tree)
    elif tree[initial].terminal:
        yield Problem(
            "/initial", f"journeys would begin in the terminal state {initial}", "name another state"
        )


def _children(node: Node) -> Iterator[Problem]:
    if node.path == ROOT:
        return
    children, initial = node.source.get("states"), node.source.get("initial")
    if children and initial is None:
        cure = f"add `initial:` and one of: {', '.join(children)}"
        yield Problem(node.pointer, f"{node.path} has states inside but no initial one", cure)
    elif children and initial not in children:
        cure = f"write one of: {', '.join(children)}"
        yield Problem(f"{node.pointer}/initial", f"{initial!r} is no state inside {node.path}", cure)
    elif initial is not None and not children:
        cure = "remove `initial`, or add `states`"
        yield Problem(f"{node.pointer}/initial", f"{node.path} has no states inside", cure)


def _terminal(node: Node) -> Iterator[Problem]:
    if not node.terminal:
        return
    for field in ("on", "after", "triggers", "exit", "states"):
        if node.source.get(field):
            message = f"{node.path} is terminal: nothing happens in it any more"
            yield Problem(f"{node.pointer}/{field}", message, f"remove `{field}`, or `terminal`")


def _after(node: Node, tree: Mapping[str, Node]) -> Iterator[Problem]:
    after = node.source.get("after")
    if after is None:
        return
    try:
        duration_ms(after["delay"])
    except ValueError as error:
        yield Problem(f"{node.pointer}/after/delay", str(error), "write a span such as 30d")
    target = after["target"]
    if target not in tree:
        yield _unknown_state(f"{node.pointer}/after/target", target, tree)
    elif (node.path + ".").startswith(target + "."):
        message = f"{node.path} is (in) its own target: its inactivity could never lead anywhere"
        yield Problem(f"{node.pointer}/after/target", message, "name a state outside")


def _transitions(node: Node, tree: Mapping[str, Node], listed: set[str], sent: set[str]) -> Iterator[Problem]:
    for event_type, candidates in transitions(node).items():
        if event_type != ANY_EVENT and event_type not in listed | sent:
            yield _unlisted(f"{node.pointer}/on/{escape(event_type)}", event_type, listed)
        decided = False
        for at, candidate in candidates:
            target = candidate.get("target")
            if target is not None and target not in tree:
                place = f"{at}/target" if not isinstance(node.source["on"][event_type], str) else at
                yield _unknown_state(place, target, tree)
            if decided:
                message = "this transition is never tried: one before it has no condition"
                yield Problem(at, message, "add `when` to the earlier one, or remove this one", "warning")
            decided = decided or "when" not in candidate


def _unlisted(pointer: str, event_type: str, listed: set[str]) -> Problem:
    near = get_close_matches(event_type, sorted(listed), n=1)
    cure = f"did you mean {near[0]}? Otherwise add it to `events`" if near else "add it to `events`"
    return Problem(pointer, f"{event_type} is not among the event types this definition listens to", cure)


def _unknown_state(pointer: str, name: str, tree: Mapping[str, Node]) -> Problem:
    known = [path for path in tree if path]
    near = [path for path in known if path.endswith(f".{name}")] or get_close_matches(name, known, n=1)
    cure = f"did you mean {near[0]}?" if near else f"write one of: {', '.join(known)}"
    return Problem(pointer, f"{name} is no state of this definition", cure)
