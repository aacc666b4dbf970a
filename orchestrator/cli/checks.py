"""The doctor's checks: each looks at one thing and says how it is, never raises, and names the cure."""

import asyncio
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from orchestrator import kafka_access
from orchestrator.cli import kafka, lanes
from orchestrator.cli.failures import dependency_of, innermost, message_of
from orchestrator.cli.queries import Installation, published
from orchestrator.core.addresses import lane_of
from orchestrator.core.errors import ConfigurationError, Malformed
from orchestrator.engine import inbound
from orchestrator.installation import Databases
from orchestrator.settings import Settings

_WITHIN_S = 30.0
_SAMPLE = 2_000
_CLOCK_WARN_MS, _CLOCK_FAIL_MS = 1_000, 60_000
_DISK_WARN, _DISK_FAIL = 2 << 30, 256 << 20
_DATABASE_MIN = 14
_LAG_WARN = 10_000


class Finding(NamedTuple):
    """One line: `status` is ok, warn or fail."""

    status: str
    what: str
    message: str
    cure: str = ""


Findings = AsyncIterator[Finding]


class Patient(NamedTuple):
    """What the checks look at."""

    settings: Settings
    installation: Installation
    data: Path


async def run_all(settings: Settings, data: Path) -> list[Finding]:
    """Every check in turn; those that need an installation are left out where there is none."""
    found = [finding async for finding in _guarded("Kafka", broker(settings))]
    databases = Databases(settings)
    try:
        found += [finding async for finding in _guarded("PostgreSQL", database(databases))]
        if any(finding.status == "fail" for finding in found):
            return found
        try:
            installation = await asyncio.to_thread(Installation, settings, databases)
        except Exception as error:  # noqa: BLE001  a doctor reports, whatever it is
            return [*found, Finding("fail", "installation", message_of(error), "orchestrator init")]
        patient = Patient(settings, installation, data)
        readable = True
        for what, check in CHECKS:
            if readable or check not in {lane_health, strays}:
                found += [finding async for finding in _guarded(what, check(patient))]
            if check is topics:
                readable = not any(finding.what == what and finding.status == "fail" for finding in found)
    finally:
        databases.close()
    return found


async def broker(settings: Settings) -> Findings:
    """Whether Kafka answers, and which brokers there are."""
    await kafka_access.check(settings.kafka())
    async with kafka.administrator(settings) as admin:
        cluster = await admin.describe_cluster()
        nodes = cluster["brokers"]
    yield Finding(
        "ok",
        "Kafka",
        f"cluster {cluster['cluster_id']}, {len(nodes)} broker(s) at {settings.kafka_bootstrap_servers}",
    )
    if len(nodes) < settings.topic_replication:
        cure = "start more brokers, or lower the setting before init"
        yield Finding(
            "warn",
            "Kafka",
            f"topic_replication is {settings.topic_replication}, more than there are brokers",
            cure,
        )


async def database(databases: Databases) -> Findings:
    """Whether PostgreSQL answers, its version, and whether its clock agrees with ours."""
    await asyncio.to_thread(
        databases.main.refuse_wrong_address
    )  # it knows reasons that the pool doesn't tell
    before_ms = time.time() * 1000
    query = (
        "SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int / 10000 AS major,"
        " (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS ms, current_setting('fsync') AS fsync,"
        " current_setting('synchronous_commit') AS synchronous"
    )
    row = (await asyncio.to_thread(databases.main.rows, query))[0]
    now_ms = (before_ms + time.time() * 1000) / 2
    if row["major"] < _DATABASE_MIN:
        yield Finding(
            "fail", "PostgreSQL", f"version {row['version']}", f"upgrade to {_DATABASE_MIN} or newer"
        )
    else:
        yield Finding("ok", "PostgreSQL", f"version {row['version']}")
    if row["fsync"] != "on" or row["synchronous"] == "off":
        told = f"fsync is {row['fsync']}, synchronous_commit {row['synchronous']}: a power loss can lose decided commands"
        yield Finding("warn", "PostgreSQL", told, "set both to on")
    off_ms = abs(now_ms - row["ms"])
    status = "fail" if off_ms > _CLOCK_FAIL_MS else "warn" if off_ms > _CLOCK_WARN_MS else "ok"
    cure = "" if status == "ok" else "keep the clocks of this machine and the database in step (NTP)"
    yield Finding(status, "clocks", f"this machine and PostgreSQL differ by {off_ms:.0f} ms", cure)


async def topics(patient: Patient) -> Findings:
    """Whether each topic exists with a partition a lane, and the broker stamps what it appends."""
    settings, wanted = patient.settings, patient.installation.lanes
    async with kafka.administrator(settings) as admin:
        described = await admin.describe_topics(list(settings.topics.values()))
        found = {t["topic"]: len(t["partitions"]) for t in described if not t["error_code"]}
        read = [
            topic for name, topic in settings.topics.items() if name in {"commands", "raw"} and topic in found
        ]
        configs = await admin.describe_configs(
            [ConfigResource(ConfigResourceType.TOPIC, topic) for topic in read]
        )
    bad = False
    for topic in settings.topics.values():
        if topic not in found:
            bad = True
            yield Finding("fail", "topics", f"{topic} does not exist", "orchestrator init")
        elif found[topic] != wanted:
            bad = True
            told = f"{topic} has {found[topic]} partitions, the database {wanted} lanes: keys land in other lanes"
            yield Finding(
                "fail",
                "topics",
                told,
                f"recreate the topic with {wanted} partitions, or name the right cluster",
            )
    for topic, stamp in _timestamp_types(configs).items():
        if stamp != "LogAppendTime":
            bad = True
            told = f"{topic} has message.timestamp.type={stamp}: producers' clocks would drive lane time and timers"
            yield Finding(
                "fail",
                "topics",
                told,
                f"kafka-configs --alter --topic {topic} --add-config message.timestamp.type=LogAppendTime",
            )
    if not bad:
        yield Finding(
            "ok", "topics", f"{len(found)} topics, {wanted} partitions each, LogAppendTime where lanes read"
        )


async def lane_health(patient: Patient) -> Findings:
    """Whether every lane has an owner, moves on, and finds its position in the log."""
    rows = await lanes.status(patient.settings, patient.installation)
    fine = True
    unowned = [row["lane"] for row in rows if row["state"] == "no owner"]
    if unowned:
        fine = False
        cure = "start a worker: orchestrator worker (or orchestrator up)"
        yield Finding("warn", "lanes", f"{len(unowned)} of {len(rows)} lanes have no owner", cure)
    for row in rows:
        if row["state"] == "paused":
            fine = False
            yield Finding(
                "warn", "lanes", f"lane {row['lane']} is paused", f"orchestrator lanes resume {row['lane']}"
            )
        for topic, at in row["topics"].items():
            cure = f"orchestrator lanes rebase {row['lane']} --topic {topic}"
            if at["first"] > at["handled"] + 1 and at["end"] > at["first"]:
                fine = False
                told = f"lane {row['lane']}: {topic} begins at {at['first']}, handled is {at['handled']}: messages were deleted unread"
                yield Finding("fail", "lanes", told, f"restore them, or accept the loss: {cure}")
            elif at["end"] < at["handled"] + 1:
                fine = False
                told = f"lane {row['lane']}: {topic} ends at {at['end']}, handled is {at['handled']}: recreated, or its tail is lost"
                yield Finding(
                    "warn",
                    "lanes",
                    told,
                    "its owner reads it again from its start by itself; keys make that safe",
                )
        if row["lag"] > _LAG_WARN:
            fine = False
            yield Finding(
                "warn",
                "lanes",
                f"lane {row['lane']} is {row['lag']:,} messages behind",
                "add workers, up to one a lane",
            )
    if fine:
        yield Finding(
            "ok", "lanes", f"{len(rows)} lanes, all owned, {sum(row['lag'] for row in rows)} messages behind"
        )


async def strays(patient: Patient) -> Findings:
    """Producers whose partitioner puts keys into wrong lanes, by source."""
    settings, wanted = patient.settings, patient.installation.lanes
    wrong: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    for name in ("commands", "raw"):
        for record in await kafka.sample(settings, settings.topic(name), wanted, _SAMPLE):
            try:
                command = inbound.decode(
                    record, raw=name == "raw", default_organization=settings.default_organization
                )
            except Malformed:
                continue
            seen[command.source] += 1
            if lane_of(command.owner.text, wanted) != record.partition:
                wrong[command.source] += 1
    for source, count in wrong.most_common(20):
        told = f"{source}: {count} of its last {seen[source]} messages lay in a wrong lane"
        yield Finding(
            "warn", "producers", told, "set its partitioner to murmur2 (docs/publishing.md), key = owner"
        )
    if not wrong:
        yield Finding(
            "ok",
            "producers",
            f"the last {seen.total():,} messages of {len(seen)} source(s) lie in their lanes",
        )


async def definitions(patient: Patient) -> Findings:
    """Whether anything is published, and this release can build it."""
    rows = await asyncio.to_thread(published, patient.installation.databases)
    if not rows:
        yield Finding("warn", "definitions", "none is published", "orchestrator definitions publish FILE")
        return
    try:
        await asyncio.to_thread(patient.installation.catalogue.refresh)
    except Exception as error:  # noqa: BLE001  whatever a compiler raises
        yield Finding(
            "fail",
            "definitions",
            f"one can't be built: {message_of(error)}",
            "upgrade, or publish a corrected version",
        )
        return
    yield Finding(
        "ok", "definitions", ", ".join(f"{row['kind']}:{row['id']} version {row['version']}" for row in rows)
    )


async def dead_letters(patient: Patient) -> Findings:
    """How many dead letters wait for somebody."""
    query = (
        "SELECT reason, count(*) AS letters FROM {lane}.dead_letters WHERE status = 'open' GROUP BY reason"
    )
    open_: Counter[str] = Counter()
    for row in await asyncio.to_thread(patient.installation.rows, query):
        open_[row["reason"]] += row["letters"]
    if not open_:
        yield Finding("ok", "dead letters", "none is open")
        return
    told = ", ".join(f"{reason} {count:,}" for reason, count in open_.most_common())
    yield Finding(
        "warn",
        "dead letters",
        f"{open_.total():,} open: {told}",
        "orchestrator dlq list, then retry or discard",
    )


async def disk(patient: Patient) -> Findings:
    """How much room there is where this machine keeps data."""
    places = {
        "data folder": patient.data,
        "analytics": Path(patient.settings.analytics_dir or "/nonexistent"),
    }
    for name, path in places.items():
        if not path.exists():
            continue
        free = shutil.disk_usage(path).free
        status = "fail" if free < _DISK_FAIL else "warn" if free < _DISK_WARN else "ok"
        cure = "" if status == "ok" else f"make room on the disk of {path}"
        yield Finding(status, "disk", f"{free / (1 << 30):.1f} GiB free at the {name}", cure)


Check = Callable[[Patient], Findings]
CHECKS: tuple[tuple[str, Check], ...] = (
    ("topics", topics),
    ("lanes", lane_health),
    ("producers", strays),
    ("definitions", definitions),
    ("dead letters", dead_letters),
    ("disk", disk),
)


async def _guarded(what: str, check: Findings) -> Findings:
    """A check that can't be done is a finding too."""
    try:
        async with asyncio.timeout(_WITHIN_S):
            async for finding in check:
                yield finding
    except TimeoutError:
        yield Finding(
            "fail", what, f"no answer within {_WITHIN_S:g} s", "is it running, and is its address right?"
        )
    except Exception as error:  # noqa: BLE001  a doctor reports, whatever it is
        error_ = innermost(error)
        cure = {"aiokafka": "check KAFKA_BOOTSTRAP_SERVERS and the broker"}.get(
            dependency_of(error_) or "", "check DATABASE_URL and the database"
        )
        if isinstance(error_, ConfigurationError):  # it names its cure itself
            cure = ""
        yield Finding("fail", what, " ".join(str(error_).split()) or type(error_).__name__, cure)


def _timestamp_types(answers: Any) -> dict[str, str]:
    found = {}
    for answer in answers:
        for _code, _message, _type, name, entries, *_ in answer.resources:
            for entry in entries:
                if entry[0] == "message.timestamp.type":
                    found[name] = entry[1]
    return found
