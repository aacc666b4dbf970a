"""What the shop definition should make of the data set's sessions, computed from the raw file without the product."""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import pytest

HOW = "set OTTO_SESSIONS to a file of the OTTO dataset (otto-de/recsys-dataset), one session a line"
SILENCE_MS = 30 * 86_400_000


class Expected(NamedTuple):
    """Counters, the states passed through, and the last event of a session."""

    views: int
    carts: int
    orders: int
    returns: int
    states: list[str]
    last_ms: int
    events: int


def sessions_file() -> Path:
    """The data, from where it is kept beside the project; missing, the test says so."""
    here = Path(__file__).resolve()
    named = os.environ.get("OTTO_SESSIONS")
    places = (
        [Path(named)] if named else [parent / "shared/data/otto-sessions.jsonl" for parent in here.parents]
    )
    for place in places:
        if place.exists():
            return place
    pytest.skip(f"the data of real shop sessions is missing: {HOW}")


def expected(path: Path) -> dict[str, Expected]:
    """By customer. The rules, in words: a view or a cart begins browsing or considering; a cart is considering from
    browsing on; an order makes a subscriber from anywhere, for good until silence; thirty days of silence churn;
    whoever comes back browses again.
    """
    found = {}
    for line in path.read_text().splitlines():
        session = json.loads(line)
        found[f"session-{session['session']}"] = _walk(session["events"])
    return found


def _walk(events: list[dict[str, Any]]) -> Expected:
    counts = {"clicks": 0, "carts": 0, "orders": 0}
    state, states, returns, last_ms = "ONBOARDING", ["ONBOARDING"], 0, events[0]["ts"]
    for event in events:
        if event["ts"] - last_ms >= SILENCE_MS and state != "CHURNED":
            state = "CHURNED"
            states.append(state)
        counts[event["type"]] += 1
        following = _next(state, event["type"])
        returns += state == "CHURNED"
        if following != state:
            states.append(following)
        state, last_ms = following, max(last_ms, event["ts"])
    return Expected(
        counts["clicks"], counts["carts"], counts["orders"], returns, states, last_ms, len(events)
    )


def _next(state: str, event: str) -> str:
    if event == "orders":
        return "ACTIVE_SUBSCRIBER"
    if state == "CHURNED" or (state == "ONBOARDING" and event == "clicks"):
        return "BROWSING"
    if state in {"ONBOARDING", "BROWSING"} and event == "carts":
        return "CONSIDERATION"
    return state


def total(found: dict[str, Expected]) -> int:
    """Events in the file."""
    return sum(one.events for one in found.values())
