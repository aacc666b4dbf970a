"""From a document to what `decide` reads. Expects a document that fits the schema and passed the checks."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from orchestrator.core.durations import duration_ms
from orchestrator.core.rules import Rule, counter_of
from orchestrator.core.templates import Template
from orchestrator.journeys.effects import EffectPolicy
from orchestrator.journeys.lifecycle.model import (
    Action,
    Assignments,
    Branch,
    Change,
    Compiled,
    Guard,
    Leaf,
)
from orchestrator.journeys.lifecycle.tree import ANY_EVENT, Node, chain, nodes, resolve, transitions
from orchestrator.journeys.paths import leaves, overlaps

STANDARD_CONTEXT: Final[Mapping[str, Any]] = {
    "stepIndex": 0,
    "metadata": {"source": "unknown", "deviceType": "unknown", "entitlements": []},
}
_PARAMS = {
    "webhook": ("url", "method", "headers", "body", "secret", "at_most_once"),
    "publish": ("topic", "key", "value", "headers", "at_most_once"),
    "log": ("message", "level", "fields", "at_most_once"),
}
_NO_ASSIGNMENTS = Assignments()


def compile_document(document: Mapping[str, Any]) -> Compiled:
    """The compiled form; called once per version and process."""
    return _Compiler(document).compile()


def default_context(document: Mapping[str, Any]) -> dict[str, Any]:
    """The context a journey begins with: the standard one, overlaid by the document's."""
    given = document.get("context", {})
    metadata = given.get("metadata", {})
    standard = STANDARD_CONTEXT["metadata"]
    merged = {**standard, **metadata} if isinstance(metadata, dict) else metadata
    return {**STANDARD_CONTEXT, **given, "metadata": merged}


def policy_of(action: Mapping[str, Any]) -> EffectPolicy:
    """The retry policy of a document's action."""
    retry = action.get("retry", {})
    standard = EffectPolicy()
    return EffectPolicy(
        attempts=retry.get("attempts", standard.attempts),
        initial_ms=_span(retry, "initial", standard.initial_ms),
        factor=float(retry.get("factor", standard.factor)),
        max_ms=_span(retry, "max", standard.max_ms),
        jitter=float(retry.get("jitter", standard.jitter)),
        timeout_ms=_span(action, "timeout", standard.timeout_ms),
        answer_within_ms=_span(action, "answer_within", standard.answer_within_ms),
        unknown=action.get("unknown", standard.unknown),
        on_success=_event_of(action.get("on_success")),
        on_failure=_event_of(action.get("on_failure")),
    )


class _Compiler:
    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self.personal = tuple(document.get("pii", ()))
        self.actions = {
            name: self._action(name, source) for name, source in document.get("actions", {}).items()
        }
        self.nodes = nodes(document)
        self.leaves = [node for node in self.nodes.values() if node.leaf]
        self.timers = {leaf.path: self._timers(leaf) for leaf in self.leaves}

    def compile(self) -> Compiled:
        document = self.document
        initial = resolve(self.nodes, document["initial"])
        public, private = self._split(default_context(document))
        begin = [self._bound(level, "entry") for level in chain(initial.path)]
        return Compiled(
            events=frozenset(document["events"]),
            initial=initial.path,
            begin=tuple(action for level in begin for action in level),
            context={"state": initial.path, **public},
            private=private,
            personal=self.personal,
            declared=frozenset(default_context(document)),
            record={type: self._assignments(values) for type, values in document.get("record", {}).items()},
            leaves={leaf.path: self._leaf(leaf) for leaf in self.leaves},
            policies={name: action.policy for name, action in self.actions.items()},
        )

    def _leaf(self, leaf: Node) -> Leaf:
        on: dict[str, list[Branch]] = {}
        for level in [leaf.path, *self._above(leaf.path)]:  # the innermost state's candidates are tried first
            for event_type, candidates in self._expanded(level):
                branches = [self._branch(leaf, at, candidate) for at, candidate in candidates]
                on.setdefault(event_type, []).extend(branches)
        guards = [self._guard(level) for level in [leaf.path, *self._above(leaf.path)]]
        guard = next((guard for guard in guards if guard is not None), None)
        return Leaf(
            name=leaf.path,
            terminal=leaf.terminal,
            guard=guard,
            on={event_type: tuple(branches) for event_type, branches in on.items()},
            needs={
                type: self._needs(type, guard, on.get(type, ())) for type in {*on, *self.document["events"]}
            },
            timers=self.timers[leaf.path],
            expiries={timer: self._expiry(leaf, timer) for timer in self.timers[leaf.path]},
        )

    def _needs(
        self, event_type: str, guard: Guard | None, branches: Iterable[Branch]
    ) -> frozenset[str] | None:
        """The variables a decision's rules can read: only these are handed to the rule engine."""
        rules = [guard.when] if guard is not None and guard.when is not None else []
        sets = [self._assignments(self.document.get("record", {}).get(event_type, {}))]
        for branch in branches:
            sets.append(branch.assign)
            rules += [branch.when] if branch.when is not None else []
        rules += [rule for each in sets for _, template, _ in each.computed for rule in template.rules]
        if not all(rule.reads_all and all(rule.reads) for rule in rules):
            return None
        return frozenset(path[0] for rule in rules for path in rule.reads)

    def _above(self, path: str) -> list[str]:
        return [*reversed(chain(path)[:-1]), ""]

    def _expanded(self, level: str) -> Iterable[tuple[str, list[tuple[str, Mapping[str, Any]]]]]:
        """Each event type's candidates of one level; those under `*` come after the type's own."""
        own = transitions(self.nodes[level])
        for event_type in sorted(
            {*own, *(self.document["events"] if ANY_EVENT in own else ())} - {ANY_EVENT}
        ):
            listed = event_type in self.document["events"]
            yield event_type, own.get(event_type, []) + (own.get(ANY_EVENT, []) if listed else [])

    def _branch(self, leaf: Node, at: str, source: Mapping[str, Any]) -> Branch:
        change = self._change(leaf, source["target"]) if "target" in source else None
        actions = self._named(source.get("actions", ()))
        return Branch(
            id=at,
            when=Rule(source["when"]) if "when" in source else None,
            assign=self._assignments(source.get("set", {})),
            actions=actions,
            change=change,
            plain=not actions
            and (change is None or not (change.left or change.entered or change.cancel or change.arm)),
        )

    def _change(self, leaf: Node, target: str) -> Change | None:
        reached = resolve(self.nodes, target)
        if reached.path == leaf.path:
            return None  # nothing is left, nothing is entered
        old, new = chain(leaf.path), chain(reached.path)
        shared = sum(1 for one, other in zip(old, new, strict=False) if one == other)
        before, after = self.timers[leaf.path], self.timers[reached.path]
        return Change(
            target=reached.path,
            left=tuple(action for level in reversed(old[shared:]) for action in self._bound(level, "exit")),
            entered=tuple(action for level in new[shared:] for action in self._bound(level, "entry")),
            cancel=tuple(timer for timer in before if timer not in after),
            arm=tuple((timer, ms) for timer, ms in after.items() if timer not in before),
        )

    def _timers(self, leaf: Node) -> dict[str, int]:
        """Inactivity counts at every level that says so, but not in its own target or in a terminal state."""
        if leaf.terminal:
            return {}
        found = {}
        for level in chain(leaf.path, root=True):
            after = self.nodes[level].source.get("after")
            if after is not None and not (leaf.path + ".").startswith(after["target"] + "."):
                found[f"after:{level or '*'}"] = duration_ms(after["delay"])
        return found

    def _expiry(self, leaf: Node, timer: str) -> Branch:
        level = self.nodes[timer.removeprefix("after:").replace("*", "")]
        return self._branch(leaf, f"{level.pointer}/after", level.source["after"])

    def _guard(self, level: str) -> Guard | None:
        node = self.nodes[level]
        source = node.source.get("triggers")
        if source is None:
            return None
        return Guard(
            id=source.get("id", f"{node.pointer}/triggers"),
            pointer=f"{node.pointer}/triggers",
            events=frozenset(source["events"]),
            when=Rule(source["when"]) if "when" in source else None,
            actions=self._named(source.get("actions", ())),
        )

    def _action(self, name: str, source: Mapping[str, Any]) -> Action:
        params = {key: Template(source[key]) for key in _PARAMS[source["type"]] if key in source}
        private = frozenset(key for key, template in params.items() if self._reads_personal(template))
        return Action(name, source["type"], params, private, policy_of(source))

    def _assignments(self, source: Mapping[str, Any]) -> Assignments:
        if not source:
            return _NO_ASSIGNMENTS
        constant: dict[str, Any] = {}
        constant_private: dict[str, Any] = {}
        computed: list[tuple[str, Template, bool]] = []
        counters: list[tuple[str, tuple[str, ...], int]] = []
        for path, value in source.items():
            template = Template(value)
            personal = any(overlaps(path, own) for own in self.personal)
            if template.constant:
                (constant_private if personal else constant)[path] = template.value
            else:
                computed.append((path, template, personal))
                counter = None if personal else counter_of(value)
                counters += [] if counter is None else [(path, *counter)]
        counts_only = len(counters) == len(computed)
        return Assignments(
            constant, constant_private, tuple(computed), tuple(counters) if counts_only else ()
        )

    def _reads_personal(self, template: Template) -> bool:
        if not self.personal or template.constant:
            return False
        read = [".".join(path) for path in template.reads]
        return not template.reads_all or any(
            not path or overlaps(path, own) for path in read for own in self.personal
        )

    def _split(self, context: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        private: dict[str, Any] = {}
        public = dict(context)
        for path, value in leaves(context).items():
            if any(overlaps(path, own) for own in self.personal):
                private[path] = value
                public = _without(public, path.split("."))
        return public, {path: value for path, value in private.items() if value is not None}

    def _bound(self, level: str, moment: str) -> tuple[Action, ...]:
        return self._named(self.nodes[level].source.get(moment, ()))

    def _named(self, names: Iterable[str]) -> tuple[Action, ...]:
        return tuple(self.actions[name] for name in names)


def _without(tree: dict[str, Any], steps: list[str]) -> dict[str, Any]:
    copy = dict(tree)
    if len(steps) == 1:
        copy.pop(steps[0], None)
    else:
        copy[steps[0]] = _without(copy[steps[0]], steps[1:])
    return copy


def _span(source: Mapping[str, Any], name: str, standard_ms: int) -> int:
    return duration_ms(source[name]) if name in source else standard_ms


def _event_of(source: Any) -> str:
    return source["event"] if isinstance(source, dict) else ""
