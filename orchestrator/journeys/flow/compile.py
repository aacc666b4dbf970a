"""From a document to what `decide` reads. Expects a document that fits the schema and passed the checks."""

from collections.abc import Iterable, Mapping
from datetime import UTC
from typing import Any, TypeVar

from orchestrator.core.durations import duration_ms
from orchestrator.core.rules import Rule
from orchestrator.core.templates import Template
from orchestrator.journeys.effects import EffectPolicy
from orchestrator.journeys.flow.action_types import BY_CHANNEL, CHANNELS, HTML, reads_liquid
from orchestrator.journeys.flow.commands import SEGMENT_ENTERED, SEGMENT_LEFT
from orchestrator.journeys.flow.graph import edges_of
from orchestrator.journeys.flow.local_time import DAYS, Quiet, instant_ms, minute_of
from orchestrator.journeys.flow.model import (
    Action,
    Branch,
    Bucket,
    Compiled,
    Local,
    Node,
    Reach,
    Reentry,
    Trigger,
    WaitPlan,
)
from orchestrator.journeys.flow.placeholders import Param
from orchestrator.journeys.flow.state import RUNS_MAX
from orchestrator.journeys.flow.values import RESULT_PREFIX, ROOTS
from orchestrator.journeys.paths import leaves, overlaps

BUCKETS = 10_000
HOLD_MS = 7 * 86_400_000  # where the document doesn't say how long a used-up cap is waited for
MANUAL = "manual"
_Asked = TypeVar("_Asked", Rule, Template)


def compile_document(document: Mapping[str, Any]) -> Compiled:
    """The compiled form; called once per version and process."""
    return _Compiler(document).compile()


def listened(document: Mapping[str, Any]) -> frozenset[str]:
    """Raw event types of a document, those about segments included."""
    types = set(document.get("events", ()))
    if any("segment" in entry for entry in document.get("entry", ())):
        types.add(SEGMENT_ENTERED)
    if any("segment_left" in one for one in document.get("exit", ())):
        types.add(SEGMENT_LEFT)
    return frozenset(types)


def action_of(document: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The action of a node: a named one, or the node's own; None when neither is there."""
    if "action" in node:
        named: Mapping[str, Any] | None = document.get("actions", {}).get(node["action"])
        return named
    return node if "type" in node else None


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
        unknown="retry" if action.get("unknown") == "retry" else "fail",
    )


def scope(document: Mapping[str, Any]) -> frozenset[str]:
    """The names rules and placeholders may begin with."""
    results = (RESULT_PREFIX + id for id, node in document["nodes"].items() if node["kind"] == "action")
    return frozenset((*ROOTS, *document.get("context", {}), *results))


def quiet_of(document: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """A node's quiet hours: its own, or the document's if it says `true`."""
    own = node.get("quiet_hours")
    found: Mapping[str, Any] | None = document.get("quiet_hours") if own is True else own or None
    return found


class _Compiler:
    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self.personal = tuple(document.get("pii", ()))
        self.scope = scope(document)
        self.reads: list[tuple[str, ...]] = []  # of what is asked after the entry
        self.reads_all = True

    def compile(self) -> Compiled:
        document = self.document
        nodes = {id: self._node(id, source) for id, source in document["nodes"].items()}
        public, private = self._split(document.get("context", {}))
        entries = [
            self._trigger("entry", n, one) for n, one in enumerate(document.get("entry", [{MANUAL: True}]))
        ]
        exits = [self._later("exit", n, one) for n, one in enumerate(document.get("exit", ()))]
        goals = [self._later("goals", n, one) for n, one in enumerate(document.get("goals", ()))]
        record = {
            type: {path: self._about(Template(value)) for path, value in values.items()}
            for type, values in document.get("record", {}).items()
        }
        names = {path[0] if path else "" for path in self.reads}
        return Compiled(
            events=listened(document),
            start=next(id for id, node in nodes.items() if node.kind == "start"),
            nodes=nodes,
            entries=tuple(one for one in entries if one.type != MANUAL),
            manual=next((one for one in entries if one.type == MANUAL), None),
            reentry=self._reentry(),
            start_ms=self._instant("start_at", 0),
            stop_ms=self._instant("stop_at", 0),
            exits=tuple(exits),
            goals=tuple(goals),
            context=public,
            private=private,
            personal=self.personal,
            declared=frozenset(document.get("context", {})),
            record=record,
            policies={id: node.action.policy for id, node in nodes.items() if node.action is not None},
            zone=document.get("zone", "UTC"),
            keeps_entry=not self.reads_all or bool(names & {"", "entry", "event"}),
            keeps_event=not self.reads_all or bool(names & {"", "event"}),
        )

    def _node(self, id: str, source: Mapping[str, Any]) -> Node:
        kind, pointer = source["kind"], f"/nodes/{id}"
        quiet = quiet_of(self.document, source)
        branches = source.get("branches", ())
        return Node(
            id=id,
            kind=kind,
            pointer=pointer,
            edges=edges_of(self.document, id),
            max_visits=source.get("max_visits", 0),
            zone=source.get("zone", ""),
            quiet=None if quiet is None else Quiet(minute_of(quiet["from"]), minute_of(quiet["to"])),
            action=self._action(source) if kind == "action" else None,
            branches=tuple(
                Branch(branch["id"], f"{pointer}/branches/{n}/when", self._rule(branch["when"]))
                for n, branch in enumerate(branches)
                if kind == "condition"
            ),
            buckets=tuple(_buckets(branches)) if kind == "split" else (),
            salt=source.get("salt", ""),
            wait=self._wait(source, pointer) if kind == "wait" else None,
            result=source.get("result", "") if kind == "end" else "",
        )

    def _action(self, node: Mapping[str, Any]) -> Action:
        source = action_of(self.document, node)
        assert source is not None
        type, params = source["type"], dict(source.get("params", {}))
        if type in CHANNELS:
            params.setdefault("to", f"{{{{customer.addresses.{CHANNELS[type]}}}}}")
        if type in BY_CHANNEL:
            params.setdefault("to", {"var": "customer.addresses"})
        if "at_most_once" in source:
            params["at_most_once"] = source["at_most_once"]
        compiled = {
            # HTML is left to the performer as it is: it escapes the `variables`, which nobody does here.
            name: Param(value, () if name == HTML else self.scope, liquid=reads_liquid(type, name))
            for name, value in params.items()
        }
        for param in compiled.values():
            self._note(param.reads, complete=param.reads_all)
        return Action(
            type=type,
            params=compiled,
            policy=policy_of(source),
            unknown=source.get("unknown", "fail"),
            wait=node.get("wait", True),
            reach=_reach(node),
        )

    def _wait(self, source: Mapping[str, Any], pointer: str) -> WaitPlan:
        event, local = source.get("event", {}), source.get("local")
        return WaitPlan(
            for_ms=duration_ms(source["for"]) if "for" in source else None,
            until=self._template(source["until"]) if "until" in source else None,
            local=None
            if local is None
            else Local(
                minute_of(local["at"]),
                frozenset(DAYS.index(day) for day in local.get("weekdays", DAYS)),
            ),
            type=event.get("type", ""),
            match=self._about(Rule(event["match"])) if "match" in event else None,
            pointer=f"{pointer}/event/match",
            timeout_ms=duration_ms(source["timeout"]) if "timeout" in source else None,
        )

    def _later(self, field: str, n: int, source: Mapping[str, Any]) -> Trigger:
        trigger = self._trigger(field, n, source)
        if trigger.when is not None:
            if trigger.type:
                self._about(trigger.when)
            else:
                self._note(trigger.when.reads, complete=trigger.when.reads_all)
        return trigger

    def _trigger(self, field: str, n: int, source: Mapping[str, Any]) -> Trigger:
        pointer = f"/{field}/{n}"
        type, segment = source.get("event", ""), ""
        if "segment" in source:
            type, segment = SEGMENT_ENTERED, source["segment"]
        elif "segment_left" in source:
            type, segment = SEGMENT_LEFT, source["segment_left"]
        elif source.get(MANUAL):
            type = MANUAL
        return Trigger(
            id=source.get("id", pointer),
            pointer=pointer,
            type=type,
            when=Rule(source["when"]) if "when" in source else None,
            segment=segment,
            reason=source.get("reason", "exit"),
            within_ms=duration_ms(source["within"]) if "within" in source else 0,
            ends=source.get("ends", False),
        )

    def _reentry(self) -> Reentry:
        source = self.document.get("reentry", "once")
        at_once = self.document.get("runs_at_once", 1)
        if source in {"once", "always"} if isinstance(source, str) else False:
            return Reentry(source, at_once=at_once)
        if "after" in source:
            return Reentry("after", after_ms=duration_ms(source["after"]), at_once=at_once)
        at_once = self.document.get("runs_at_once", RUNS_MAX)
        return Reentry("key", key=Template(source["key"]), at_once=at_once)

    def _instant(self, field: str, standard: int) -> int:
        return instant_ms(self.document[field], UTC) or 0 if field in self.document else standard

    def _rule(self, source: Any) -> Rule:
        rule = Rule(source)
        self._note(rule.reads, complete=rule.reads_all)
        return rule

    def _about(self, asked: _Asked) -> _Asked:
        """What is asked about an event at hand doesn't need the one that came before."""
        self._note([path for path in asked.reads if not path or path[0] != "event"], complete=asked.reads_all)
        return asked

    def _template(self, source: Any) -> Template:
        template = Template(source)
        self._note(template.reads, complete=template.reads_all)
        return template

    def _note(self, reads: Iterable[tuple[str, ...]], *, complete: bool) -> None:
        self.reads.extend(reads)
        self.reads_all = self.reads_all and complete

    def _split(self, context: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        private = {
            path: value
            for path, value in leaves(context).items()
            if any(overlaps(path, own) for own in self.personal)
        }
        public = _without(context, private)
        return public, {path: value for path, value in private.items() if value is not None}


def _reach(node: Mapping[str, Any]) -> Reach | None:
    if "contact" not in node:
        return Reach(node["consent"]) if node.get("consent") else None
    hold_ms = _span(node, "hold_for", HOLD_MS) if node.get("over_cap") == "hold" else 0
    return Reach(node["contact"], True, node.get("class", ""), hold_ms)


def _buckets(branches: Iterable[Mapping[str, Any]]) -> Iterable[Bucket]:
    below = 0
    for branch in branches:
        below += round(branch["weight"] * BUCKETS / 100)
        yield Bucket(branch["id"], below, branch.get("holdout", False))


def _without(tree: Mapping[str, Any], paths: Iterable[str], prefix: str = "") -> dict[str, Any]:
    """The tree without the values at the paths."""
    gone = set(paths)
    kept: dict[str, Any] = {}
    for key, value in tree.items():
        path = prefix + key
        if path in gone:
            continue
        nested = isinstance(value, dict) and value
        kept[key] = _without(value, gone, f"{path}.") if nested else value
    return kept


def _span(source: Mapping[str, Any], name: str, standard_ms: int) -> int:
    return duration_ms(source[name]) if name in source else standard_ms
