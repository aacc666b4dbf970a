"""Real shop sessions through the cart-abandonment flow, against a count made from the raw file without it."""

import json
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

from orchestrator.core.events import EffectRequested
from orchestrator.journeys.flow.commands import HandleEvent
from orchestrator.journeys.flow.events import BranchTaken, GoalReached, RunEnded, RunStarted
from tests.cli.otto import sessions_file
from tests.flow.world import DAY, HOUR, World, example

TYPES = {"carts": "ITEM_ADDED_TO_CART", "orders": "ORDER_PLACED"}
SUMMER = timezone(timedelta(hours=2))  # Berlin's, all through the data set
COPIES = 25


class Counted(NamedTuple):
    """Of one session: when runs began, when reminders went out, how runs ended, how many orders converted."""

    begun: list[int]
    reminded: list[int]
    ended: list[str]
    converted: int


def expected(events: list[tuple[int, str]], *, holdout: bool) -> Counted:
    """The flow in words: an hour after the cart a reminder outside the night, another at the next 18:00 that is no
    Sunday, given up at the one after that; an order ends it; the first order within three days of a run converts.
    """
    counted = Counted([], [], [], 0)
    plan: list[tuple[int, str]] = []
    open_goals: list[int] = []
    converted = 0
    for at, kind in [*events, (events[-1][0] + 30 * DAY, "the end")]:
        while plan and plan[0][0] <= at:
            due, what = plan.pop(0)
            (counted.reminded.append(due) if what == "remind" else counted.ended.append(what))
        if kind == "orders":
            converted += sum(begun + 3 * DAY > at for begun in open_goals)
            open_goals = []
            if plan:
                plan = []
                counted.ended.append("ordered")
        elif kind == "carts" and not plan:
            counted.begun.append(at)
            open_goals.append(at)
            plan = [(at + HOUR, "holdout")] if holdout else _plan(at + HOUR)
    return counted._replace(converted=converted)


def _plan(at: int) -> list[tuple[int, str]]:
    first = _awake(at)
    second = _evening(first)
    return [(first, "remind"), (second, "remind"), (_evening(second), "abandoned")]


def _awake(at: int) -> int:
    local = datetime.fromtimestamp(at / 1000, SUMMER)
    morning = local.replace(hour=7, minute=30, second=0, microsecond=0)
    if local < morning:
        return round(morning.timestamp() * 1000)
    return round((morning + timedelta(days=1)).timestamp() * 1000) if local.hour >= 22 else at


def _evening(after: int) -> int:
    evening = datetime.fromtimestamp(after / 1000, SUMMER).replace(hour=18, minute=0, second=0, microsecond=0)
    while evening.timestamp() * 1000 <= after or evening.weekday() == 6:
        evening += timedelta(days=1)
    return round(evening.timestamp() * 1000)


def walked(flow: World, events: list[tuple[int, str]]) -> Counted:
    """What the flow made of a session; each reminder is answered at once."""
    flow.now_ms = events[0][0]
    reminded: list[int] = []
    for at, kind in [*events, (events[-1][0] + 30 * DAY, "the end")]:
        while flow.timers and min(flow.timers.values()) <= at:
            flow.wait(max(min(flow.timers.values()) - flow.now_ms, 0))
            if flow.of(EffectRequested):
                reminded.append(flow.now_ms)
                flow.answer("reminder")
        flow.wait(at - flow.now_ms)
        if kind in TYPES:
            flow.do(HandleEvent(TYPES[kind], {}), occurred_ms=at)
    ended = [event.result or event.reason for event in flow.all(RunEnded)]
    begun = [event.at_ms for event in flow.all(RunStarted)]
    return Counted(begun, reminded, ended, len(flow.all(GoalReached)))


def test_real_sessions_are_reminded_as_the_document_says() -> None:
    """Each session's runs, reminders, endings and conversions are those of the count, for reminded and held out."""
    definition = example("cart-abandonment")
    seen: set[str] = set()
    runs = 0
    for line in sessions_file().read_text().splitlines():
        session = json.loads(line)
        events = [(event["ts"], event["type"]) for event in session["events"] if event["type"] in TYPES]
        for copy in (
            range(COPIES) if events else ()
        ):  # each under several names, so that both branches are met
            flow = World(definition, customer=f"session-{session['session']}-{copy}", careful=False)
            found = walked(flow, events)
            branches = {event.branch for event in flow.all(BranchTaken) if event.bucket >= 0}
            assert len(branches) <= 1, "a customer stays in one branch"
            assert found == expected(events, holdout=branches == {"holdout"}), session["session"]
            seen |= branches
            runs += len(found.begun)
    assert seen == {"reminded", "holdout"}
    assert runs >= COPIES
