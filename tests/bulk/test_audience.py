"""Who would enter a flow, judged from customer records before it is published."""

from math import comb
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.addresses import customer
from orchestrator.journeys.audience import Audience, Verdict, interval
from tests.flow.graphs import LOG, document
from tests.flow.world import definition

NOW_MS = 1_767_607_200_000
GOLD = {"==": [{"var": "customer.tier"}, "gold"]}
LARGE = {">": [{"var": "event.payload.total"}, 100]}


def audience(*entries: dict[str, Any], **more: Any) -> Audience:
    return Audience(definition(document({"act": LOG}, entry=list(entries), events=["ORDER"], **more)))


def judged(one: Audience, **attributes: Any) -> tuple[bool, ...]:
    record = {"attributes": attributes, "private": {}, "consent": {}, "suppressed": {}, "addresses": {}}
    return tuple(v.enters for v in one.judge(customer("acme", "anna"), record, NOW_MS))


def test_a_condition_on_the_record_is_judged() -> None:
    """Each entry has its own verdict; an entry without a condition lets everybody in."""
    one = audience({"event": "ORDER", "when": GOLD}, {"segment": "new"}, {"manual": True})
    assert judged(one, tier="gold") == (True, True, True)
    assert judged(one, tier="silver") == (False, True, True)
    assert [entry.on for entry in one.entries] == ["event ORDER", "segment new", "by hand"]


def test_what_only_the_event_knows_is_named_and_left_out() -> None:
    """Of conditions that all have to hold the record's own are judged; the rest is listed by path."""
    one = audience(
        {"event": "ORDER", "when": {"and": [GOLD, {"and": [LARGE, {"!!": [{"var": "event.type"}]}]}]}}
    )
    (entry,) = one.entries
    assert entry.not_judged == ("to whom ORDER happens", "event.payload.total", "event.type")
    assert judged(one, tier="gold") == (True,)
    assert judged(one, tier="silver") == (False,)


def test_a_choice_that_needs_the_event_is_not_judged() -> None:
    """`or` with an unknown side says nothing about who stays out: it is left out whole."""
    one = audience({"event": "ORDER", "when": {"or": [GOLD, LARGE]}})
    assert judged(one, tier="silver") == (True,)
    assert "event.payload.total" in one.entries[0].not_judged


def test_the_first_values_of_the_context_are_known_unless_a_start_gives_them() -> None:
    """An event's run begins with the document's values; a start by hand may bring its own."""
    when = {">": [{"var": "risk"}, 0.5]}
    one = audience({"event": "ORDER", "when": when}, {"manual": True, "when": when}, context={"risk": 0})
    assert judged(one) == (False, True)
    assert one.entries[1].not_judged == ("who is started by hand", "risk")


def test_a_condition_that_fails_lets_nobody_in() -> None:
    """As in the flow itself: what can't be evaluated is no entry, and is counted apart."""
    when = {">": [{"+": [{"var": "customer.tier"}, 1]}, 0]}
    one = audience({"event": "ORDER", "when": when})
    record = {"attributes": {"tier": {"a": 1}}, "private": {}}
    assert one.judge(customer("acme", "anna"), record, NOW_MS) == (Verdict(enters=False, failed=True),)


@given(st.integers(1, 10_000), st.data())
def test_an_interval_holds_what_is_certain(total: int, data: st.DataObject) -> None:
    """It never leaves out what was seen, is exact when all were looked at, and everything when none was."""
    looked_at = data.draw(st.integers(0, total))
    hits = data.draw(st.integers(0, looked_at))
    low, high = interval(hits, looked_at, total)
    assert hits <= low <= high <= total - (looked_at - hits)
    assert (looked_at < total) or low == high == hits


@pytest.mark.parametrize(("total", "looked_at"), [(60, 20), (200, 40), (1_000, 100)])
def test_an_interval_holds_the_truth_as_often_as_it_says(total: int, looked_at: int) -> None:
    """Over every sample that could be drawn, 95 of 100 intervals hold the true number on average, 90 at the worst."""
    shares = []
    for truth in range(0, total + 1, max(1, total // 50)):
        held = 0
        for hits in range(max(0, looked_at - (total - truth)), min(truth, looked_at) + 1):
            low, high = interval(hits, looked_at, total)
            if low <= truth <= high:
                held += comb(truth, hits) * comb(total - truth, looked_at - hits)
        shares.append(held / comb(total, looked_at))
    assert sum(shares) / len(shares) >= 0.95
    assert min(shares) >= 0.90
