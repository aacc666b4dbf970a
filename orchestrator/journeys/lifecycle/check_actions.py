"""Actions: bound to names in use, with parameters and policies that make sense together."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final

from orchestrator.core.decider import Problem
from orchestrator.core.durations import duration_ms
from orchestrator.journeys.lifecycle.compile import policy_of
from orchestrator.journeys.lifecycle.places import action_names
from orchestrator.journeys.lifecycle.tree import nodes

_SECRET_HEADERS: Final = frozenset(
    {"authorization", "cookie", "proxy-authorization", "x-api-key", "x-auth-token"}
)

_OWN_TOPICS: Final = ("journeys.", "__")


def check_actions(document: Mapping[str, Any]) -> Iterator[Problem]:
    """Problems of the actions and of the places that name them."""
    actions = document.get("actions", {})
    used = set()
    for pointer, name in action_names(document):
        used.add(name)
        if name not in actions:
            near = get_close_matches(name, list(actions), n=1)
            cure = f"did you mean {near[0]}?" if near else "add it to `actions`"
            yield Problem(pointer, f"no action is called {name}", cure)
    for name, action in actions.items():
        if name not in used:
            message = f"the action {name} is never used"
            yield Problem(
                f"/actions/{name}", message, "name it in entry, exit, actions or triggers", "warning"
            )
        yield from _policy(f"/actions/{name}", action)
        yield from _target(f"/actions/{name}", action)
    for node in nodes(document).values():
        triggers = node.source.get("triggers", {})
        if "when" in triggers and not triggers.get("actions"):
            message = "the condition of triggers gates their actions, and there are none"
            yield Problem(
                f"{node.pointer}/triggers/when", message, "add `actions`, or remove `when`", "warning"
            )


def _policy(pointer: str, action: Mapping[str, Any]) -> Iterator[Problem]:
    spans = [("timeout", action), ("answer_within", action)]
    spans += [("initial", action.get("retry", {})), ("max", action.get("retry", {}))]
    wrong = False
    for name, source in spans:
        if name in source:
            try:
                duration_ms(source[name])
            except ValueError as error:
                wrong = True
                place = f"{pointer}/{name}" if source is action else f"{pointer}/retry/{name}"
                yield Problem(place, str(error), "write a span such as 10s")
    if wrong:
        return
    policy = policy_of(action)
    if policy.max_ms < policy.initial_ms:
        yield Problem(f"{pointer}/retry", "the longest delay is shorter than the first", "raise `max`")
    if policy.answer_within_ms < policy.timeout_ms:
        message = "the journey gives up before the call's own timeout"
        yield Problem(pointer, message, "raise `answer_within` above `timeout`")


def _target(pointer: str, action: Mapping[str, Any]) -> Iterator[Problem]:
    if action.get("topic", "").startswith(_OWN_TOPICS):
        message = f"{action['topic']} is one of the engine's own topics"
        yield Problem(f"{pointer}/topic", message, "publish to a topic of your own")
    url = action.get("url")
    if isinstance(url, str) and not url.startswith(("https://", "http://")):
        yield Problem(f"{pointer}/url", f"{url[:100]!r} is no web address", "begin with https://")
    for header in action.get("headers", {}):
        if header.lower() in _SECRET_HEADERS:
            message = f"the header {header} would put a secret into every event"
            yield Problem(f"{pointer}/headers/{header}", message, "sign with `secret` instead", "warning")
