from collections.abc import Callable

import psycopg
import pytest

from orchestrator.core.addresses import lane_stream, parse_stream
from orchestrator.core.errors import ConfigurationError
from orchestrator.engine.database import Database
from orchestrator.replay import ReplayProgress
from orchestrator.replay.reading import lane_snapshot
from orchestrator.replay.report import DIFFERENCES_MAX
from tests.replay.scenes import BRIEF, COUNTING, PRIVATE, QUIET, TIMING, codes, verify


def stream(customer: str) -> str:
    return f"acme/c/{customer}/toy:t"


def change(dsn: str, statement: str, *params: object) -> int:
    """Change the lane's tables behind everybody's back; how many rows it were."""
    with psycopg.connect(dsn, options="-c search_path=lane_000") as connection:
        return connection.execute(statement, params).rowcount  # type: ignore[arg-type]


async def test_sound_data_has_no_differences(history: str) -> None:
    """Everything live is what the log says it is, whatever happened in it."""
    seen: list[ReplayProgress] = []
    report = await verify(history, progress=seen.append)
    assert report.differences == []
    assert report.ok
    assert report.mode == "verify"
    assert (report.streams, report.journeys_compared, report.timers, report.dead_letters) == (18, 17, 2, 4)
    assert seen[-1].events == seen[-1].events_total == report.events
    assert (seen[-1].lanes_done, seen[-1].lanes_total) == (1, 1)


async def test_folding_alone_finds_a_sound_log_sound(history: str) -> None:
    """Without comparing, a replay still reads the whole log and says so."""
    report = await verify(history, verify=False)
    assert (report.ok, report.mode, report.journeys_compared) == (True, "fold", 0)


Damage = Callable[[str], int]
DAMAGES: dict[str, tuple[set[str], str, Damage]] = {
    "changed bytes of an event": (
        {"journeys.state", "journeys.tail"},
        stream(COUNTING),
        lambda dsn: change(
            dsn,
            "UPDATE stored_events SET state = convert_to(regexp_replace(convert_from(state, 'UTF8'), '\"n\":\\d+', '\"n\":99'),"
            " 'UTF8') WHERE originator_id = %s AND originator_version = 2",
            parse_stream(stream(COUNTING)).id,
        ),
    ),
    "a changed command id": (
        {"keys.lost", "keys.extra"},
        stream(COUNTING),
        lambda dsn: change(
            dsn,
            "UPDATE stored_events SET state = convert_to(replace(convert_from(state, 'UTF8'), '\"twice-False\"', '\"once\"'),"
            " 'UTF8') WHERE originator_id = %s AND position('twice-False' IN convert_from(state, 'UTF8')) > 0",
            parse_stream(stream(COUNTING)).id,
        ),
    ),
    "an event that can't be read": (
        {"log.unreadable"},
        "version 2",
        lambda dsn: change(
            dsn,
            "UPDATE stored_events SET state = substr(state, 1, 40) WHERE originator_id = %s AND originator_version = 2",
            parse_stream(stream(QUIET)).id,
        ),
    ),
    "an event of a later release": (
        {"log.unknown"},
        "version 2",
        lambda dsn: change(
            dsn,
            "UPDATE stored_events SET topic = 'toy.added.v9' WHERE originator_id = %s AND originator_version = 2",
            parse_stream(stream(QUIET)).id,
        ),
    ),
    "an event in a foreign stream": (
        {"log.wrong_stream"},
        stream(QUIET),
        lambda dsn: change(
            dsn,
            "UPDATE stored_events SET state = convert_to(replace(convert_from(state, 'UTF8'), '/c/quiet', '/c/other'), 'UTF8')"
            " WHERE originator_id = %s AND originator_version = 2",
            parse_stream(stream(QUIET)).id,
        ),
    ),
    "a missing event": (
        {"log.version_gap", "log.position_gap"},
        f"{stream(COUNTING)}/9",
        lambda dsn: change(
            dsn,
            "DELETE FROM stored_events WHERE originator_id = %s AND originator_version = 10",
            parse_stream(stream(COUNTING)).id,
        ),
    ),
    "half a command": (
        {"log.torn_command", "log.position_gap"},
        f"{stream(BRIEF)}/1",
        lambda dsn: change(
            dsn,
            "DELETE FROM stored_events WHERE originator_id = %s AND originator_version = 2",
            parse_stream(stream(BRIEF)).id,
        ),
    ),
    "an event of the lane's own stream": (
        {"log.version_gap", "log.position_gap"},
        "/lane/000/lane:log/4",
        lambda dsn: change(
            dsn,
            "DELETE FROM stored_events WHERE originator_id = %s AND originator_version = 5",
            lane_stream(0).id,
        ),
    ),
    "a lost end of the log": (
        {"position.log"},
        "lane_000.positions",
        lambda dsn: change(
            dsn,
            "DELETE FROM stored_events WHERE notification_id = (SELECT max(notification_id) FROM stored_events)",
        ),
    ),
    "a wrong label": (
        {"journeys.label"},
        stream(TIMING),
        lambda dsn: change(dsn, "UPDATE journeys SET label = 'DONE' WHERE stream = %s", stream(TIMING)),
    ),
    "a wrong definition version": (
        {"journeys.definition_version"},
        stream(TIMING),
        lambda dsn: change(
            dsn, "UPDATE journeys SET definition_version = 2 WHERE stream = %s", stream(TIMING)
        ),
    ),
    "a snapshot of another state": (
        {"journeys.state", "journeys.tail"},
        stream(COUNTING),
        lambda dsn: change(
            dsn,
            "UPDATE journeys SET snapshot = convert_to(regexp_replace(convert_from(snapshot, 'UTF8'), '\"total\":\\d+',"
            " '\"total\":5'), 'UTF8') WHERE stream = %s",
            stream(COUNTING),
        ),
    ),
    "a snapshot that can't be opened": (
        {"journeys.snapshot"},
        stream(PRIVATE),
        lambda dsn: change(
            dsn,
            "UPDATE journeys SET snapshot = overlay(snapshot placing 'AAAA'::bytea FROM length(snapshot) - 50)"
            " WHERE stream = %s",
            stream(PRIVATE),
        ),
    ),
    "a missing row": (
        {"journeys.missing", "keys.extra"},
        stream(QUIET),
        lambda dsn: change(dsn, "DELETE FROM journeys WHERE stream = %s", stream(QUIET)),
    ),
    "a row that is behind": (
        {"journeys.behind", "journeys.state", "journeys.timers", "journeys.tail", "keys.extra"},
        stream(QUIET),
        lambda dsn: change(dsn, "UPDATE journeys SET version = 2 WHERE stream = %s", stream(QUIET)),
    ),
    "a row that is ahead": (
        {"journeys.ahead"},
        stream(QUIET),
        lambda dsn: change(dsn, "UPDATE journeys SET version = 99 WHERE stream = %s", stream(QUIET)),
    ),
    "a row without a journey": (
        {"journeys.extra"},
        "acme/c/nobody/toy:t",
        lambda dsn: change(
            dsn,
            "INSERT INTO journeys SELECT gen_random_uuid(), 'acme/c/nobody/toy:t', kind, definition, 1, label, 1, 0, 1,"
            " snapshot FROM journeys LIMIT 1",
        ),
    ),
    "a lost chunk of keys": (
        {"keys.lost"},
        stream(COUNTING),
        lambda dsn: change(
            dsn,
            "DELETE FROM stream_keys WHERE stream_id = %s AND first_version > 1",
            parse_stream(stream(COUNTING)).id,
        ),
    ),
    "a foreign key": (
        {"keys.extra"},
        stream(QUIET),
        lambda dsn: change(
            dsn,
            "UPDATE stream_keys SET packed = packed || '123456789012'::bytea WHERE stream_id = %s AND first_version = 1",
            parse_stream(stream(QUIET)).id,
        ),
    ),
    "a stale timer": (
        {"timers.stale"},
        stream(TIMING),
        lambda dsn: change(
            dsn,
            "INSERT INTO timers VALUES (%s, 'soon', 2, 5, %s)",
            parse_stream(stream(TIMING)).id,
            stream(TIMING),
        ),
    ),
    "a timer of a stranger": (
        {"timers.stale"},
        "acme/c/nobody/toy:t",
        lambda dsn: change(
            dsn, "INSERT INTO timers VALUES (gen_random_uuid(), 't', 1, 5, 'acme/c/nobody/toy:t')"
        ),
    ),
    "a lost timer": (
        {"timers.missing"},
        stream(QUIET),
        lambda dsn: change(dsn, "DELETE FROM timers WHERE stream = %s", stream(QUIET)),
    ),
    "a timer that would be late": (
        {"timers.late"},
        stream(QUIET),
        lambda dsn: change(dsn, "UPDATE timers SET due_ms = due_ms + 1 WHERE stream = %s", stream(QUIET)),
    ),
    "a timer armed elsewhere": (
        {"timers.wrong"},
        stream(QUIET),
        lambda dsn: change(dsn, "UPDATE timers SET armed_at = armed_at + 1 WHERE stream = %s", stream(QUIET)),
    ),
    "a dead letter too many": (
        {"dead_letters.extra"},
        "dead letter made-up",
        lambda dsn: change(
            dsn, "INSERT INTO dead_letters VALUES ('made-up', 3, 't', 'r', 'e', NULL, NULL, NULL, NULL, 0)"
        ),
    ),
    "a lost dead letter": (
        {"dead_letters.missing"},
        "dead letter journeys.commands-0-",
        lambda dsn: change(dsn, "DELETE FROM dead_letters WHERE command_id = 'broken-3'"),
    ),
    "a dead letter with another reason": (
        {"dead_letters.wrong"},
        "dead letter journeys.commands-0-",
        lambda dsn: change(dsn, "UPDATE dead_letters SET reason = 'other' WHERE command_id = 'broken-3'"),
    ),
    "a dead letter discarded by nobody": (
        {"dead_letters.status"},
        "dead letter journeys.commands-0-",
        lambda dsn: change(dsn, "UPDATE dead_letters SET status = 'discarded' WHERE command_id = 'broken-3'"),
    ),
    "a log position set back": (
        {"position.log", "position.follower"},
        "lane_000.positions",
        lambda dsn: change(dsn, "UPDATE positions SET at = at - 3 WHERE name = 'log'"),
    ),
    "a lane said to be paused": (
        {"position.note"},
        "lane_000.positions",
        lambda dsn: change(
            dsn,
            "UPDATE positions SET detail = (detail::jsonb || '{\"paused\": true}')::text WHERE name = 'log'",
        ),
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_each_damage_is_found_and_named(copied: str, damage: str) -> None:
    """Whatever differs from the log is found, with its place and a cure, and nothing else is accused."""
    expected, place, inflict = DAMAGES[damage]
    assert inflict(copied) >= 1
    report = await verify(copied)
    assert not report.ok
    assert codes(report) == expected
    assert any(place in difference.place for difference in report.differences)
    assert all(difference.cure for difference in report.differences)
    assert "canary" not in repr(report)


async def test_differences_are_bounded(copied: str) -> None:
    """However much differs, the report stays short and counts the rest."""
    change(copied, "INSERT INTO timers SELECT gen_random_uuid(), 't', 1, 5, 's' FROM generate_series(1, 500)")
    report = await verify(copied)
    assert len(report.differences) == DIFFERENCES_MAX
    assert report.differences_found == 500


async def test_rows_of_another_fold_version_are_not_compared(copied: str) -> None:
    """A snapshot that workers ignore isn't a difference."""
    change(copied, "UPDATE journeys SET fold_version = 0, label = 'OLD' WHERE stream = %s", stream(COUNTING))
    report = await verify(copied)
    assert (report.ok, report.journeys_outdated, report.journeys_compared) == (True, 1, 16)


async def test_journeys_of_another_lane_are_found(copied: str) -> None:
    """A journey whose owner hashes to another lane doesn't belong here."""
    with psycopg.connect(copied) as connection:
        connection.execute("UPDATE orchestrator.installation SET lanes = 2")
    report = await verify(copied, lanes=[0])
    assert codes(report) == {"log.wrong_lane"}
    assert 0 < report.differences_found < report.streams


async def test_an_unknown_lane_is_refused(history: str) -> None:
    """Asking for a lane that doesn't exist names those that do."""
    with pytest.raises(ConfigurationError, match="no lane 9: this installation has lanes 0 to 0"):
        await verify(history, lanes=[9])


def test_a_replay_could_not_write(history: str) -> None:
    """Everything a replay reads, it reads in a transaction that refuses to write."""
    database = Database(history)
    try:
        with lane_snapshot(database, 0) as snapshot, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            snapshot._connection.execute("DELETE FROM lane_000.timers")
    finally:
        database.close()


async def test_a_replay_writes_nothing(copied: str) -> None:
    """A replay's transaction can't write, and leaves every table as it was."""

    def fingerprint() -> list[object]:
        with psycopg.connect(copied, options="-c search_path=lane_000") as connection:
            tables = (
                "stored_events",
                "positions",
                "journeys",
                "stream_keys",
                "timers",
                "dead_letters",
                "subject_keys",
            )
            return [
                connection.execute(
                    f"SELECT count(*), md5(string_agg(t::text, '' ORDER BY t::text)) FROM {t} t"
                ).fetchone()  # type: ignore[call-overload]
                for t in tables
            ]

    before = fingerprint()
    await verify(copied)
    await verify(copied, verify=False)
    assert fingerprint() == before
