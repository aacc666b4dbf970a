"""Every mechanism but the queue on a real Kafka and PostgreSQL, its worker killed again and again while it serves.

Each mechanism is played once, by thirty fans and an operator; the tests then look at what is left. The queue's own
crash is among the tests of `test_on_servers`.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from orchestrator import embedded
from orchestrator.distributions.auction import verifying as auction_verifying
from orchestrator.distributions.draw.proof import proof_of
from orchestrator.distributions.fairness.checking import check as verify_proof
from orchestrator.journeys.experience import EXPERIENCE
from tests.experience.books import discrepancies, grants_of, list_of, state_of
from tests.experience.crashes import FANS, ID, MAIN, Evidence, by_stream, decisions, performed, room_of, told
from tests.experience.plays import PLAYS, PRIZES, PUT_UP, STOCK, Play
from tests.support.servers import MakeDatabase, delete_topics


class Played:
    """A play and what is left of it."""

    def __init__(self, play: Play, evidence: Evidence) -> None:
        self.play = play
        self.mechanism = play.mechanism
        self.evidence = evidence
        self.room = room_of(MAIN, play.mechanism)
        self.events = evidence.of(self.room)

    def journey(self, fan: str) -> Any:
        """A fan's journey, folded from the log."""
        state = None
        for event in self.evidence.of(f"acme/c/{fan}/experience:{ID}"):
            state = EXPERIENCE.evolve(state, event)
        return state

    @property
    def grants(self) -> Any:
        """The books of the distribution that grants: a waitlist's fans go on to the one behind it."""
        if self.mechanism != "waitlist":
            return grants_of(self.events)
        return grants_of(self.evidence.of(room_of("behind", "timed_release")))


_TAKES = ("timed_release.entered.v1", "appointment.slot_booked.v1")


@pytest.fixture(scope="module", params=PLAYS, ids=lambda play: play.mechanism)
def played(
    request: pytest.FixtureRequest,
    servers: embedded.Servers,
    make_database: MakeDatabase,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Played]:
    play = request.param
    prefix, log_path = f"t{secrets.token_hex(5)}.", tmp_path_factory.mktemp("crashes") / "worker.log"
    evidence = performed(servers, make_database(), prefix, log_path, play.distributions, play.perform)
    try:
        yield Played(play, asyncio.run(evidence))
    finally:
        delete_topics(servers.bootstrap, prefix)


def test_the_worker_died_with_work_done_and_work_to_do(played: Played) -> None:
    """Each death came in the middle: commands were decided by then, others, and what streams had told, only later."""
    deaths = played.evidence.deaths
    assert len(deaths) == len(played.play.scenes) >= 2
    assert all(death.decided and death.to_come for death in deaths), deaths
    assert any(death.on_the_way for death in deaths), deaths


def test_every_key_is_decided_once(played: Played) -> None:
    """Whatever was published once, twice or thrice has one decision in the log, and one decided outcome telling of it."""
    evidence = played.evidence
    found = decisions(evidence.log)
    assert [key for key in evidence.published if found[key] != 1] == []
    assert [key for key, times in found.items() if times != 1] == []
    keys = {f"{entry.stream}/{entry.version}": entry.key for entry in evidence.log}
    outcomes = {record.header("ce_id"): record.json for record in evidence.outcomes}
    decided = {id: one for id, one in outcomes.items() if not one.get("duplicate")}
    heard = Counter((one["stream"], one["source"], one["id"]) for one in decided.values())
    assert [key for key in evidence.published if heard[key] != 1] == []
    assert [id for id, one in decided.items() if keys[id] != (one["stream"], one["source"], one["id"])] == []


def test_every_copy_is_answered(played: Played) -> None:
    """Each copy of a command has an outcome of its own; all but the first say that they are duplicates."""
    outcomes = {record.header("ce_id"): record.json for record in played.evidence.outcomes}
    copies = Counter((one["stream"], one["source"], one["id"]) for one in outcomes.values())
    published = played.evidence.published
    assert {key: copies[key] for key in published} == dict(published)
    assert not played.evidence.dead_letters


def test_the_log_has_no_gaps(played: Played) -> None:
    """A stream's versions and a lane's positions count up by one, and a command's events stand together."""
    log = played.evidence.log
    for stream, entries in by_stream(log).items():
        assert [entry.version for entry in entries] == list(range(1, len(entries) + 1)), stream
    for lane in {entry.lane for entry in log}:
        positions = [entry.position for entry in log if entry.lane == lane]
        assert positions == list(range(1, len(positions) + 1))
    torn = [
        (one.stream, one.version)
        for before, one in pairwise(log)
        if one.envelope.index and (before.key, before.envelope.index + 1) != (one.key, one.envelope.index)
    ]
    assert torn == []


def test_what_streams_tell_each_other_is_heard_once(played: Played) -> None:
    """Every ask and every answer of the log was decided by whom it was told to: none is lost, none heard twice."""
    log = played.evidence.log
    expected = told(log)
    found = Counter({key: times for key, times in decisions(log).items() if key[1] == "engine/streams"})
    assert len(expected) > len(FANS)
    assert found == Counter(expected)


def test_it_all_adds_up_after_every_event(played: Played) -> None:
    """Nothing is granted beyond the stock or twice to one fan, and held, sold and free are the stock, at every step."""
    assert list(discrepancies(played.mechanism, played.events)) == []


def test_nothing_is_left_over(played: Played) -> None:
    """More fans want something than there is, so in the end all of it is theirs: a crash withholds nothing."""
    grants = played.grants
    match played.mechanism:
        case "draw" | "auction":
            assert (grants.held + grants.sold, grants.sold) == (PRIZES, played.play.sold)
        case "timed_release":
            assert (grants.held + grants.sold, grants.sold) == (STOCK, played.play.sold)
        case "appointment":
            slots = state_of(played.mechanism, played.events).slots.values()
            assert [places.free for places in slots] == [0, 0]
        case "waitlist":
            books = list_of(played.events)
            assert (books.promised, books.free, books.offered) == (PUT_UP, 0, set())
            assert sorted(books.claimed) == sorted(grants.live), "who claimed was let in behind the list"


def test_the_journeys_say_what_the_distribution_says(played: Played) -> None:
    """Who holds a grant is admitted by that grant, who used it has it used, and nobody else is admitted."""
    grants, wrong = played.grants, []
    for fan in FANS:
        journey = played.journey(fan)
        admission = journey.admission
        shown = None if admission is None else (admission.jti, admission.redeemed)
        live, used = grants.live.get(fan), grants.used.get(fan)
        if live is not None:
            expected, stages = (live.jti, False), {"admitted"}
        elif used is not None and journey.stage == "admitted":
            expected, stages = (used, True), {"admitted"}
        else:
            expected, stages = None, played.play.stages
        if shown != expected or journey.stage not in stages or journey.question is not None:
            wrong.append((fan, journey.stage, shown, expected, journey.question))
        if played.evidence.stages[fan] != journey.stage:
            wrong.append((fan, journey.stage, played.evidence.stages[fan]))
    assert wrong == []


def test_the_result_can_be_recomputed(played: Played) -> None:
    """A draw's proof verifies and names its winners, an auction's follow from its bids; else who comes first is served."""
    events, grants = played.events, played.grants
    match played.mechanism:
        case "draw":
            state = state_of("draw", events)
            proof = proof_of(state, [1, state.size])
            report = verify_proof(proof)
            assert report.passed, report.findings
            assert len(report.winners) == PRIZES
            drawn = [*report.winners, *report.replacements]
            assert grants.granted == [state.participants[ticket - 1] for ticket in drawn]
        case "auction":
            assert list(auction_verifying.verify(events)) == []
            bids = [event.bid for event in events if event.NAME == "auction.bid_placed.v1"]
            best = {bid.participant: bid for bid in bids}  # a fan's bids only rise
            order = sorted(best.values(), key=lambda bid: (-bid.amount, bid.sequence))
            [closed] = [event for event in events if event.NAME == "auction.closed.v1"]
            assert list(closed.winners) == order[:PRIZES]
            assert grants.granted == [bid.participant for bid in order[: len(grants.granted)]]
        case "waitlist":
            entered = [event.participant for event in events if event.NAME == "waitlist.entered.v1"]
            offers = [e.participants for e in events if e.NAME == "waitlist.offered.v1"]
            offered = [who for participants in offers for who in participants]
            assert offered == [who for who in entered if who in set(offered)]
        case "timed_release" | "appointment":
            assert grants.granted == [event.participant for event in events if event.NAME in _TAKES]


def test_a_replay_agrees(played: Played) -> None:
    """Rebuilt from the log, everything stands where the worker left it, and nobody is told anything."""
    evidence = played.evidence
    assert (evidence.report.differences, evidence.report.ok) == ([], True)
    assert evidence.report.journeys_compared >= len(FANS)
    assert evidence.commands_before == evidence.commands_after
