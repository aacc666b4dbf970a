"""The search for runs reads the lanes' rows, once they are up to date: each run is found once, in pages."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from orchestrator import running
from orchestrator.journeys.bulk.query import Cursor, Page, Query
from orchestrator.running import RowsBehind
from tests.bulk.scenes import DEFINITION, Lanes, in_thread

LANES = 3
QUERY = Query(DEFINITION)


@pytest.fixture
async def lanes(database: str) -> AsyncIterator[Lanes]:
    made = Lanes(database, LANES)
    await made.open()
    yield made
    made.close()


async def every_page(
    lanes: Lanes, query: Query = QUERY, *, command: str = "cancel", limit: int = 4
) -> list[Page]:
    pages, cursor = [], Cursor()
    while not pages or not pages[-1].last:
        pages.append(await in_thread(lanes.running.page, "acme", command, query, cursor, limit))
        cursor = pages[-1].cursor
        assert len(pages) < 100
    return pages


def found(pages: list[Page]) -> list[tuple[str, str]]:
    return [run for page in pages for run in page.runs]


async def test_every_run_is_found_once_in_pages(lanes: Lanes) -> None:
    """Over all lanes, page after page, with no run left out or found twice; a customer's runs stay together."""
    async with lanes.followed():
        streams = await lanes.send("start", each=7)
        await lanes.send("start", each=2)  # a second run each
        pages = await every_page(lanes)
    runs = found(pages)
    assert len(runs) == len(set(runs)) == LANES * (7 + 2)
    assert {stream for stream, _ in runs} == set(streams)
    assert all(len(page.runs) <= 4 + 1 for page in pages)
    assert [page.last for page in pages] == [False] * (len(pages) - 1) + [True]


async def test_rows_between_pages_may_change(lanes: Lanes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that changed its state behind or before the search is still found once."""
    monkeypatch.setattr(running, "_ROWS_AT_ONCE", 2)
    async with lanes.followed():
        streams = await lanes.send("start", each=6)
        pages, cursor = [], Cursor()
        while not pages or not pages[-1].last:
            pages.append(await in_thread(lanes.running.page, "acme", "cancel", QUERY, cursor, 3))
            cursor = pages[-1].cursor
            await lanes.send("pause" if len(pages) % 2 else "resume", each=3)
            for owner in lanes.owners:
                await in_thread(running._await_rows, owner.store, 30)
    assert sorted(stream for stream, _ in found(pages)) == sorted(streams)


async def test_the_query_narrows_it(lanes: Lanes) -> None:
    """One customer, one node, one version, one organization: nothing else is found."""
    async with lanes.followed():
        streams = await lanes.send("start", each=3)
        await lanes.send("event", {"type": "GO"}, each=1)
        moved = {s for owner in lanes.owners for s in streams if owner.customers(1)[0] == s.split("/")[2]}
        at_more = found(await every_page(lanes, Query(DEFINITION, node="more")))
        assert {stream for stream, _ in at_more} == moved
        name = streams[-1].split("/")[2]
        assert found(await every_page(lanes, Query(DEFINITION, customer=name))) == [(streams[-1], "r1")]
        assert found(await every_page(lanes, Query(DEFINITION, version=2))) == []
        assert found(await every_page(lanes, Query("another"))) == []
        other = await in_thread(lanes.running.page, "acm", "cancel", QUERY, Cursor(), 100)
        assert (other.runs, other.last) == ((), True)


async def test_paused_runs_are_found_to_be_resumed(lanes: Lanes) -> None:
    """What can't be done with a run isn't sent to it."""
    async with lanes.followed():
        await lanes.send("start", each=2)
        await lanes.send("pause", each=1)
        assert len(found(await every_page(lanes, command="resume"))) == LANES
        assert len(found(await every_page(lanes, command="pause"))) == LANES
        assert len(found(await every_page(lanes, command="cancel"))) == 2 * LANES


async def test_it_waits_for_the_rows(lanes: Lanes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs whose rows aren't written yet aren't passed over: the search waits, and says so when nobody writes."""
    monkeypatch.setattr(running, "_LOOK_FOR_S", 0.3)
    await lanes.send("start", each=1)
    with pytest.raises(RowsBehind, match="is its worker running"):
        await in_thread(lanes.running.page, "acme", "cancel", QUERY, Cursor(), 10)
    monkeypatch.setattr(running, "_LOOK_FOR_S", 30)
    async with lanes.followed():
        page: Any = await in_thread(lanes.running.page, "acme", "cancel", QUERY, Cursor(), 10)
    assert len(page.runs) == LANES


async def test_a_page_stays_small_enough_for_an_answer(lanes: Lanes, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many runs are asked for, an answer ends before it would be cut off."""
    monkeypatch.setattr(running, "_PAGE_BYTES_MAX", 100)
    async with lanes.followed():
        await lanes.send("start", each=5)
        pages = await every_page(lanes, limit=1_000)
    assert len(found(pages)) == 5 * LANES
    assert max(len(page.runs) for page in pages) < 5
