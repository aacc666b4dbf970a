"""What follows the log: every event, outcome, snapshot and effect, in order and under its own id, over crashes."""

from collections import defaultdict
from typing import Any

import orjson
import pytest

from projections.exactly_once import ExactlyOnce
from projections.sending import send
from tests.support.world import Read, World

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def _log(one: World) -> dict[str, list[tuple[int, str]]]:
    """Version and name of every event, by stream, from the tables."""
    found: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for number in range(one.settings.lanes):
        query = f"SELECT originator_version AS v, topic, state FROM lane_{number:03d}.stored_events ORDER BY notification_id"
        for row in one.rows(query):
            found[orjson.loads(bytes(row["state"]))["stream"]].append((row["v"], row["topic"]))
    return found


def _by_subject(records: list[Read]) -> dict[str, list[Read]]:
    found: dict[str, list[Read]] = defaultdict(list)
    for record in records:
        found[record.header("ce_subject")].append(record)
    return found


# ------------------------------------------------------------------ topics


async def test_events_are_published_in_order_each_under_its_own_id(one: World) -> None:
    """Every event of every journey is published once, in the order of its stream, and so is each command's outcome."""
    await one.start()
    await one.traffic()
    await one.settled()
    log = {s: events for s, events in _log(one).items() if not s.startswith("/")}
    events = _by_subject(await one.read("events"))
    assert {
        s: [(int(r.header("ce_id").rsplit("/", 1)[1]), r.header("ce_type")) for r in e]
        for s, e in events.items()
    } == log
    assert all(r.header("ce_id").startswith(f"{s}/") for s, records in events.items() for r in records)
    outcomes = await one.read("outcomes")
    assert len({r.header("ce_id") for r in outcomes}) == len(outcomes) == 60
    assert {(r.json["source"], r.json["id"]) for r in outcomes} == {
        ("tests", f"{c}-{n}") for c in range(12) for n in range(5)
    }
    for stream, told in _by_subject(outcomes).items():
        assert [r.json["revision"] for r in told] == sorted(r.json["revision"] for r in told)
        assert told[-1].json["revision"] == log[stream][-1][0]
    assert all(r.key == r.header("ce_subject").rsplit("/", 1)[0].encode() for r in outcomes)


async def test_the_last_snapshot_of_each_journey_is_its_state(one: World) -> None:
    """What compaction leaves of the snapshots' topic is every journey as it stands, with its revision."""
    await one.start()
    await one.traffic()
    await one.settled()
    last = {(r.key or b"").decode(): r.json for r in await one.read("snapshots")}
    rows = {
        r["stream"]: r
        for n in range(one.settings.lanes)
        for r in one.rows(
            f"SELECT stream, version, label, definition_version, snapshot FROM lane_{n:03d}.journeys"
        )
    }
    assert set(last) == set(rows)
    for stream, snapshot in last.items():
        row = rows[stream]
        assert (snapshot["revision"], snapshot["state"], snapshot["definitionVersion"]) == (
            row["version"], row["label"], row["definition_version"],
        )  # fmt: skip
        assert snapshot["view"] == {"total": orjson.loads(bytes(row["snapshot"]))["state"]["total"]}


async def test_a_trace_is_carried_to_whatever_follows(one: World) -> None:
    """A command's trace context reaches its events, outcome and effect; a repeat's and a dead letter's outcome too."""
    await one.start()
    traced = {"traceparent": TRACE, "tracestate": "shop=1"}
    await one.send("cus-1", "ask", id="first", headers=traced)
    await one.settled()
    await one.send("cus-1", "ask", id="first", headers={"traceparent": TRACE.replace("-01", "-00")})
    await one.send("cus-1", "misbehave", {"how": "raise"}, id="bad", headers=traced)
    await one.settled()
    events = await one.read("events")
    effects = await one.read("effects")
    assert len(events) == 2
    assert len(effects) == 1
    for record in [*events, *effects]:
        assert (record.header("traceparent"), record.header("tracestate")) == (TRACE, "shop=1")
    told = [
        (r.json["outcome"], r.json.get("duplicate", False), r.header("traceparent"))
        for r in await one.read("outcomes")
    ]
    assert told == [
        ("applied", False, TRACE), ("applied", True, TRACE.replace("-01", "-00")), ("dead_lettered", False, TRACE),
    ]  # fmt: skip


# ------------------------------------------------------------------ crashes of followers


class Crash(RuntimeError):
    """What a follower dies of here."""


async def test_effects_are_sent_exactly_once_over_a_crash_between_sending_and_committing(
    one: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A follower that dies after sending and before committing its transaction leaves nothing behind: sent again, once."""
    crashes = 0

    async def crashing(*arguments: Any, **options: Any) -> None:
        nonlocal crashes
        await send(*arguments, **options)
        if crashes < 3:
            crashes += 1
            raise Crash

    monkeypatch.setattr("projections.exactly_once.send", crashing)
    await one.start()
    for n in range(20):
        await one.send(f"cus-{n % 4}", "ask", id=f"k-{n}")
    await one.until(lambda: crashes == 3, "crashed")
    await one.settled()
    effects = await one.read("effects")
    assert len(effects) == len({r.header("ce_id") for r in effects}) == 20


async def test_effects_are_sent_exactly_once_over_a_crash_right_after_committing(
    one: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A follower that dies once its transaction is committed, before it knows, goes on after it."""
    crashed = 0
    transact = ExactlyOnce._transact

    async def crashing(self: Any, *arguments: Any) -> None:
        nonlocal crashed
        await transact(self, *arguments)
        if crashed < 3:
            crashed += 1
            raise Crash

    monkeypatch.setattr(ExactlyOnce, "_transact", crashing)
    await one.start()
    for n in range(20):
        await one.send(f"cus-{n % 4}", "ask", id=f"k-{n}")
    await one.until(lambda: crashed == 3, "crashed")
    await one.settled()
    effects = await one.read("effects")
    assert len(effects) == len({r.header("ce_id") for r in effects}) == 20


async def test_a_crash_of_the_publisher_repeats_but_skips_nothing(
    one: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A publisher that dies anywhere publishes again from where it had saved: every id is there, first copies in order."""
    calls = 0

    async def crashing(producer: Any, outs: Any, *arguments: Any, **options: Any) -> None:
        nonlocal calls
        calls += 1
        if calls in {1, 3, 4}:
            await send(producer, outs[: len(outs) // 2], *arguments, **options)
            raise Crash
        await send(producer, outs, *arguments, **options)

    monkeypatch.setattr("projections.publisher.send", crashing)
    await one.start()
    await one.traffic(customers=4)
    await one.until(lambda: calls > 4, "crashed")
    await one.settled()
    log = {s: events for s, events in _log(one).items() if not s.startswith("/")}
    for stream, records in _by_subject(await one.read("events")).items():
        first = list(dict.fromkeys(int(r.header("ce_id").rsplit("/", 1)[1]) for r in records))
        assert first == [version for version, _ in log[stream]]
    assert len({r.header("ce_id") for r in await one.read("outcomes")}) == 20


async def test_a_row_written_late_is_caught_up_after_a_crash(one: World) -> None:
    """Journeys changed but not yet written when a worker dies are written by the next owner, keys included."""
    await one.start()
    one.write_no_rows()
    await one.traffic(customers=6)
    await one.handled()
    await one.stop()
    assert not any(one.journey(f"cus-{n}") for n in range(6))
    await one.start()
    await one.settled()
    log = _log(one)
    for n in range(6):
        journey = one.journey(f"cus-{n}")
        assert journey is not None
        assert journey["version"] == log[journey["stream"]][-1][0]
    await one.traffic(customers=6)
    await one.settled()
    assert await _duplicates(one) == 30
    await one.restart()
    await one.traffic(customers=6)
    await one.settled()
    assert await _duplicates(one) == 60


async def _duplicates(one: World) -> int:
    """Outcomes told as duplicates; a publisher that was stopped may tell some of them again, under the same id."""
    return len({r.header("ce_id") for r in await one.read("outcomes") if r.json.get("duplicate")})
