"""Both kinds as the engine decides them: stored bytes, keys, timers and the newest document."""

from typing import Any

from orchestrator.core.addresses import Stream, customer
from orchestrator.core.decider import Definition, JourneyKind
from orchestrator.core.messages import Command
from orchestrator.customers import POINTS, RECORD
from orchestrator.customers.record import shown
from orchestrator.engine.frame import Frame, Snapshot
from tests.customers.specs import LEDGER, PROFILE, document, spec
from tests.support.memory import NOW_MS, Engine, Published, same

ANNA = customer("acme", "anna")
PROFILE_STREAM = Stream(ANNA, "customer", "profile")
LEDGER_STREAM = Stream(ANNA, "points", "ledger")
DAY_MS = 86_400_000


class Customer:
    """One stream of a customer in an engine without servers."""

    def __init__(self, kind: JourneyKind, definition: Definition, stream: Stream) -> None:
        self.published = Published(definition)
        self.engine = Engine(kind, self.published)
        self.frame = Frame(stream, kind)
        self.sent = 0
        self.rows: dict[Any, Any] = {}

    def send(
        self, type: str, data: dict[str, Any], *, raw: bool = False, now_ms: int = NOW_MS, **more: Any
    ) -> Any:
        """The events of one command; what the log holds folds to the frame as it stands."""
        self.sent += 1
        stream = None if raw else self.frame.stream
        batch = self.engine.batch(now_ms)
        batch.decide(self.frame, Command("tests", f"k{self.sent}", type, ANNA, stream, data, **more))
        return self._committed(batch)

    def fire(self, now_ms: int) -> Any:
        """The timers' rows that the last batches left, fired as they fall due."""
        batch = self.engine.batch(now_ms)
        for row in list(self.rows.values()):
            if row is not None and row.due_ms <= now_ms:
                batch.fire(self.frame, row, now_ms)
        return self._committed(batch)

    def _committed(self, batch: Any) -> Any:
        self.rows |= batch.timers
        events = self.engine.commit(batch)
        same(self.engine.rebuilt(self.frame.stream), self.frame)
        return [recorded.envelope.data for recorded in events]


def test_a_record_follows_the_newest_document() -> None:
    """A document published later counts from the next command on, for raw events as well."""
    anna = Customer(RECORD, PROFILE.definition, PROFILE_STREAM)
    anna.send("USER_CREATED", {"payload": {"email": "anna@example.com"}}, raw=True)
    assert anna.frame.definition_version == 0
    newer = document("{kind: customer, id: profile, attributes: {shoe: {type: integer, pii: false}}}")
    anna.published.publish(spec(RECORD, newer, version=2).definition)
    anna.send("identify", {"attributes": {"shoe": 41}})
    assert shown(anna.frame.state)["attributes"] == {"shoe": 41}
    assert anna.send("identify", {"attributes": {"tier": "gold"}})[0].rule == "customer.unknown_attribute"


def test_a_records_log_is_sealed() -> None:
    """No stored byte shows a personal value, and the customer's key opens them."""
    anna = Customer(RECORD, PROFILE.definition, PROFILE_STREAM)
    anna.send("identify", {"attributes": {"email": "anna@example.com", "tier": "gold"}})
    anna.send("suppress", {"channel": "email", "reason": "complaint"})
    anna.send("device_token", {"platform": "fcm", "token": "secret-token", "action": "add"})
    log = b"".join(recorded.stored for recorded in anna.engine.log).decode()
    for secret in (
        "anna@example.com",
        "secret-token",
        next(iter(anna.frame.state.private.suppressed["email"])),
    ):
        assert secret not in log
    assert "gold" in log
    assert shown(anna.engine.rebuilt(PROFILE_STREAM).state)["suppressed"] == {"email": "complaint"}


def test_an_award_told_twice_is_awarded_once() -> None:
    """The engine's keys make it so: the ledger doesn't look for repeats itself."""
    anna = Customer(POINTS, LEDGER.definition, LEDGER_STREAM)
    data = {"points": 100, "reason": "welcome"}
    for _ in range(2):
        anna.sent = 0
        anna.send("award", data)
    assert anna.frame.state.balance == 100


def test_points_expire_by_the_engines_timer() -> None:
    """The row fires at the end of the first award's time, moves when it was spent, and goes when nothing is left."""
    anna = Customer(POINTS, LEDGER.definition, LEDGER_STREAM)
    anna.send("award", {"points": 100, "reason": "a"})
    anna.send("award", {"points": 50, "reason": "b"}, now_ms=NOW_MS + 2 * DAY_MS)
    anna.send("redeem", {"points": 100, "reason": "x"}, now_ms=NOW_MS + 3 * DAY_MS)
    [row] = anna.rows.values()
    assert anna.fire(row.due_ms) == []  # a moved deadline costs no event
    [moved] = anna.rows.values()
    assert moved.due_ms == row.due_ms + 2 * DAY_MS
    names = [event.NAME for event in anna.fire(moved.due_ms)]
    assert names == ["points.expired.v1", "journey.timer_cancelled.v1", "journey.command_sent.v1"]
    assert (anna.frame.state.balance, dict(anna.frame.timers), set(anna.rows.values())) == (0, {}, {None})


def test_imported_awards_bring_their_own_clock() -> None:
    """Points of years ago expire within the import, before the next imported command."""
    anna = Customer(POINTS, LEDGER.definition, LEDGER_STREAM)
    then_ms = NOW_MS - 1_000 * DAY_MS
    anna.send("award", {"points": 100, "reason": "a"}, backfill=True, time_ms=then_ms)
    anna.send("redeem", {"points": 30, "reason": "x"}, backfill=True, time_ms=then_ms + DAY_MS)
    events = anna.send("award", {"points": 5, "reason": "b"}, backfill=True, time_ms=then_ms + 400 * DAY_MS)
    assert [event.points for event in events if hasattr(event, "points")] == [-70, 5]
    assert anna.frame.state.balance == 5


def test_a_records_snapshot_is_sealed() -> None:
    """A snapshot keeps the personal part under the customer's key, and restores the record as it stood."""
    anna = Customer(RECORD, PROFILE.definition, PROFILE_STREAM)
    anna.send("identify", {"attributes": {"email": "anna@example.com", "tier": "gold"}})
    engine, state = anna.engine, anna.frame.state
    snapshot = Snapshot(PROFILE_STREAM.text, NOW_MS, 0, RECORD.dump(state))
    stored = engine.codec.encode_snapshot(snapshot, engine.keys.key_for_writing)
    assert b"anna@example.com" not in stored
    opened = engine.codec.decode_snapshot(stored, engine.keys.key_for_writing)
    assert RECORD.load(opened.state or {}) == state
