"""Actions: names that exist, parameters of the right types, policies that make sense together."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final

from orchestrator.core.decider import Problem
from orchestrator.core.rules import is_rule
from orchestrator.core.templates import LITERAL
from orchestrator.journeys.flow.action_types import CHANNELS, HTML, KNOWN, fits, named
from orchestrator.journeys.flow.check_nodes import span
from orchestrator.journeys.flow.compile import policy_of
from orchestrator.journeys.flow.placeholders import placeholders_in

_OWN_TOPICS: Final = ("journeys.", "__")
_POLICY: Final = ("type", "params", "retry", "timeout", "answer_within", "unknown", "at_most_once")
_SECRET_HEADERS: Final = ("authorization", "cookie", "proxy-authorization", "x-api-key", "x-auth-token")


def check_actions(document: Mapping[str, Any]) -> Iterator[Problem]:
    """Problems of actions, named or written inside a node."""
    actions = document.get("actions", {})
    used: set[str] = set()
    for id, node in document["nodes"].items():
        if node["kind"] != "action":
            continue
        pointer = f"/nodes/{id}"
        if "action" in node:
            used.add(node["action"])
            yield from _named(pointer, node, actions)
        elif "type" in node:
            yield from _action(pointer, node)
        else:
            message = f"{id} doesn't say what it does"
            yield Problem(pointer, message, "add `action` with a name, or `type` and `params`")
    for name, action in actions.items():
        if name not in used:
            message = f"the action {name} is never used"
            yield Problem(f"/actions/{name}", message, "name it in a node, or remove it", "warning")
        yield from _action(f"/actions/{name}", action)


def _named(pointer: str, node: Mapping[str, Any], actions: Mapping[str, Any]) -> Iterator[Problem]:
    name = node["action"]
    if name not in actions:
        near = get_close_matches(name, list(actions), n=1)
        cure = f"did you mean {near[0]}?" if near else "add it to `actions`"
        yield Problem(f"{pointer}/action", f"no action is called {name}", cure)
    both = [field for field in _POLICY if field in node]
    if both:
        message = f"the node names an action and says {both[0]} itself"
        yield Problem(f"{pointer}/{both[0]}", message, "say it in `actions`, or don't name one")


def _action(pointer: str, action: Mapping[str, Any]) -> Iterator[Problem]:
    yield from _policy(pointer, action)
    known = KNOWN.get(action["type"])
    params = action.get("params", {})
    if known is None:
        near = get_close_matches(action["type"], list(KNOWN), n=1, cutoff=0.8)
        if near:
            message = f"{action['type']} is no built-in action; somebody else has to perform it"
            yield Problem(f"{pointer}/type", message, f"did you mean {near[0]}?", "warning")
        return
    for name in known.needed:
        if name not in params:
            yield Problem(
                pointer, f"{action['type']} needs the parameter {name}", f"add `{name}` to `params`"
            )
    for name, value in params.items():
        place = f"{pointer}/params/{name.replace('~', '~0').replace('/', '~1')}"
        types = known.params.get(name)
        if types is None:
            if known.closed:
                allowed = ", ".join(known.params)
                yield Problem(place, f"{action['type']} has no parameter {name}", f"it has: {allowed}")
        elif not _computed(value) and not fits(value, types):
            yield Problem(place, f"{name} must be {named(types)}", f"write {named(types)}, or a rule")
    if action["type"] in CHANNELS:
        yield from _html(f"{pointer}/params", params)
    yield from _target(pointer, params)


def _html(pointer: str, params: Mapping[str, Any]) -> Iterator[Problem]:
    html, variables = params.get(HTML), params.get("variables")
    cure = "hand the value over in `variables`, which are escaped"
    if html is not None and _computed(html):
        yield Problem(f"{pointer}/{HTML}", "a rule's value would stand in the HTML unescaped", cure)
    elif isinstance(html, str) and isinstance(variables, dict | None):
        for place, path in placeholders_in(html, f"{pointer}/{HTML}"):
            if path.split(".")[0] not in (variables or {}):
                yield Problem(place, f"{{{{{path}}}}} is none of the message's variables", cure)


def _computed(value: Any) -> bool:
    return is_rule(value) or (isinstance(value, dict) and LITERAL in value)


def _policy(pointer: str, action: Mapping[str, Any]) -> Iterator[Problem]:
    retry = action.get("retry", {})
    wrong = [
        *(problem for name in ("timeout", "answer_within") if name in action
          for problem in span(f"{pointer}/{name}", action[name])),
        *(problem for name in ("initial", "max") if name in retry
          for problem in span(f"{pointer}/retry/{name}", retry[name])),
    ]  # fmt: skip
    yield from wrong
    if wrong:
        return
    policy = policy_of(action)
    if policy.max_ms < policy.initial_ms:
        yield Problem(f"{pointer}/retry", "the longest delay is shorter than the first", "raise `max`")
    if policy.answer_within_ms < policy.timeout_ms:
        message = "the run gives up before the call's own timeout"
        yield Problem(pointer, message, "raise `answer_within` above `timeout`")


def _target(pointer: str, params: Mapping[str, Any]) -> Iterator[Problem]:
    topic, url, headers = params.get("topic"), params.get("url"), params.get("headers")
    if isinstance(topic, str) and topic.startswith(_OWN_TOPICS):
        message = f"{topic} is one of the engine's own topics"
        yield Problem(f"{pointer}/params/topic", message, "publish to a topic of your own")
    if isinstance(url, str) and not url.startswith(("https://", "http://", "{{")):
        yield Problem(f"{pointer}/params/url", f"{url[:100]!r} is no web address", "begin with https://")
    for header in headers if isinstance(headers, dict) else ():
        if header.lower() in _SECRET_HEADERS:
            message = f"the header {header} would put a secret into every event"
            yield Problem(
                f"{pointer}/params/headers/{header}", message, "sign with `secret` instead", "warning"
            )
