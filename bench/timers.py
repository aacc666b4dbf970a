"""`python -m bench.timers`: timers due all at once beside commands, and a million that wait.

On the embedded servers, with the engine's workers as processes of their own. First a hundred thousand runs of a flow
arrive at a wait for one and the same instant; commands of other customers flow steadily, before it (quiet) and while all
the timers fire. Then a million rows of timers that are not due yet are put beside them.
"""

import argparse
import json
import os
import platform
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import psycopg
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from psycopg import conninfo, sql
from rich.console import Console
from rich.table import Table

from bench import load, measure
from bench.figures import Ratio
from bench.scene import Scene, scene
from orchestrator import embedded
from orchestrator.embedded import Servers
from orchestrator.engine.catalogue import publish
from orchestrator.engine.database import Database
from orchestrator.settings import Settings

_FLOW = "waiting"
_DEFAULT_ORGANIZATION = "default"
_FIRED = "engine/timers"
_QUIET, _FIRING = "quiet", "firing"
_LEAST_RATE = 5_000.0
_MOST_SLOWDOWN = 2.0
_MOST_GROWTH_MB = 32.0
_SETTLE_TIMEOUT_S = 300.0
_YEAR_MS = 365 * 86_400_000


class Found(NamedTuple):
    """What a run measured. Times are the broker's, in milliseconds."""

    timers: int
    fired: int  # by the log
    twice: int  # journeys whose timer fired more than once
    early: int  # timers that fired before their time
    per_second: float  # over the middle nine tenths
    all_within_s: float  # from the instant they were due to the last one's outcome
    commands_per_second: float
    commands_while_firing: int
    quiet: measure.Latencies
    firing: measure.Latencies
    pending: int
    before_mb: float
    after_mb: float

    def ratios(self) -> list[Ratio]:
        """What has to hold."""
        wrong = abs(self.fired - self.timers) + self.twice + self.early
        found = [
            Ratio("timers lost, doubled or early", wrong, 0, at_least=False),
            Ratio("timers fired a second", self.per_second, _LEAST_RATE, at_least=True),
            Ratio("p99 of commands, firing / quiet", self._slowdown(), _MOST_SLOWDOWN, at_least=False),
        ]
        if self.pending:
            grown = self.after_mb - self.before_mb
            found.append(
                Ratio(f"MB more with {self.pending:,} pending", grown, _MOST_GROWTH_MB, at_least=False)
            )
        return found

    def _slowdown(self) -> float:
        return self.firing.p99_ms / max(1, self.quiet.p99_ms)


class TimerBench:
    """One run on one installation."""

    def __init__(self, place: Scene, dsn: str, settings: Settings, options: Any, console: Console) -> None:
        self._place = place
        self._dsn = dsn
        self._settings = settings
        self._options = options
        self._console = console
        self._keys = load.Keys("uniform", options.journeys)

    def run(self) -> Found:
        """Arm, measure quiet, fire, measure again; then let a million wait."""
        options = self._options
        due_ms = self._arm()
        self._steady("warm", 3.0)
        self._steady(_QUIET, options.seconds)
        if time.time() * 1000 > due_ms - 1_000:
            raise RuntimeError("the timers became due before the quiet part was over: raise --arm-seconds")
        time.sleep(max(0.0, due_ms / 1000 - time.time() - 1.0))
        self._steady(_FIRING, 1.5 + 1.3 * options.timers / _LEAST_RATE)
        self._await(lambda: self._count("timers", "due_ms <= %s", due_ms) == 0, "all timers fired")
        sent, told, fired = self._read()
        last_ms = max(fired)
        during = {i: t for i, t in sent[_FIRING].items() if due_ms <= t <= last_ms}
        before_mb, after_mb = self._pend() if options.pending else (0.0, 0.0)
        log = self._log()
        return Found(
            timers=options.timers,
            fired=log["fired"],
            twice=log["twice"],
            early=log["early"],
            per_second=measure.rates({str(n): t for n, t in enumerate(fired)}).per_second,
            all_within_s=(last_ms - due_ms) / 1000,
            commands_per_second=options.rate,
            commands_while_firing=len(during),
            quiet=_latencies(sent[_QUIET], told),
            firing=_latencies(during, told),
            pending=options.pending,
            before_mb=before_mb,
            after_mb=after_mb,
        )

    def _arm(self) -> int:
        """Runs of a flow, all at a wait for one instant; that instant (ms)."""
        options = self._options
        arm_s = options.arm_seconds or 20 + options.timers / 2_000
        due_ms = int((time.time() + arm_s + options.seconds + 8) * 1000)
        until = datetime.fromtimestamp(due_ms / 1000, UTC).isoformat(timespec="milliseconds")
        flow = {
            "kind": "flow",
            "id": _FLOW,
            "entry": [{"manual": True}],
            "nodes": {
                "begin": {"kind": "start"},
                "wait": {"kind": "wait", "until": until.replace("+00:00", "Z")},
                "done": {"kind": "end"},
            },
            "edges": [{"from": "begin", "to": "wait"}, {"from": "wait", "to": "done"}],
        }
        database = Database(self._dsn, pool_size=1)
        try:
            publish(database, "flow", _FLOW, json.dumps(flow))
        finally:
            database.close()
        self._say(f"arming {options.timers:,} timers, due in {due_ms / 1000 - time.time():.0f} s")
        out = load.producer(self._place.bootstrap)
        for n in range(options.timers):
            owner = f"{_DEFAULT_ORGANIZATION}/c/waiting-{n}"
            headers = {
                "ce_specversion": "1.0", "ce_id": f"start-{n}", "ce_source": "bench", "ce_type": "start",
                "ce_subject": f"{owner}/flow:{_FLOW}", "content-type": "application/json",
            }  # fmt: skip
            while True:
                try:
                    out.produce(
                        self._settings.topic("commands"), b"{}", owner.encode(), headers=dict(headers)
                    )
                    break
                except BufferError:
                    out.poll(0.05)
            if n % 1_000 == 0:
                out.poll(0)
        if out.flush(120):
            raise TimeoutError("the broker did not take the commands in 120 s")
        self._await(lambda: self._count("timers", "due_ms = %s", due_ms) == options.timers, "armed")
        self._await(lambda: measure.followed(self._dsn, self._place.lanes), "events told and rows written")
        return due_ms

    def _steady(self, tag: str, seconds: float) -> None:
        """Shop events of other customers at the chosen rate."""
        rate = self._options.rate
        self._say(f"{tag}: {rate:,.0f} commands a second for {seconds:.0f} s")
        made = list(load.events(self._keys, int(rate * seconds), len(tag), tag))
        load.steady(self._place.bootstrap, self._place.commands, made, rate)

    def _pend(self) -> tuple[float, float]:
        """Resident memory of the workers before and after a million timers that aren't due were put into the tables."""
        options, lanes = self._options, self._place.lanes
        before_mb = self._place.contender.resident_mb()
        each = -(-options.pending // lanes)
        self._say(f"{each * lanes:,} timers that are not due")
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            for lane in range(lanes):
                connection.execute(
                    sql.SQL(
                        "INSERT INTO {}.timers (stream_id, timer, armed_at, due_ms, stream) SELECT gen_random_uuid(),"
                        " 'run:1:wait:1', 3, %s + n * 1000, 'default/c/pending-' || n || '/flow:waiting'"
                        " FROM generate_series(1, %s) AS n"
                    ).format(sql.Identifier(f"lane_{lane:03d}")),
                    (int(time.time() * 1000) + _YEAR_MS, each),
                )
        self._steady("pending", options.seconds)
        return before_mb, self._place.contender.resident_mb()

    def _read(self) -> tuple[dict[str, dict[str, int]], dict[str, int], list[int]]:
        """Commands sent by part, outcomes told, and when the outcomes of timers came, by the broker's clock."""
        sent: dict[str, dict[str, int]] = {_QUIET: {}, _FIRING: {}}
        for event, at_ms in _records(self._place.bootstrap, self._place.commands, self._place.lanes):
            tag = event["idempotencyKey"].partition("-")[0]
            if tag in sent:
                sent[tag][event["idempotencyKey"]] = at_ms
        wanted = sum(map(len, sent.values()))
        told: dict[str, int] = {}
        fired: dict[str, int] = {}
        deadline = time.monotonic() + _SETTLE_TIMEOUT_S
        while len(told) < wanted or len(fired) < self._options.timers:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(told)} of {wanted} commands and {len(fired)} timers were told")
            for outcome, at_ms in _records(self._place.bootstrap, self._place.outcomes, self._place.lanes):
                if outcome["source"] == _FIRED:
                    fired.setdefault(outcome["id"], at_ms)
                elif outcome["id"].startswith((f"{_QUIET}-", f"{_FIRING}-")):
                    told.setdefault(outcome["id"], at_ms)
        return sent, told, list(fired.values())

    def _log(self) -> dict[str, int]:
        """What the logs say of the timers' commands: each leaves one event that ends the wait."""
        found = {"fired": 0, "twice": 0, "early": 0}
        with psycopg.connect(self._dsn) as connection:
            for lane in range(self._place.lanes):
                schema = sql.Identifier(f"lane_{lane:03d}")
                rows = connection.execute(
                    sql.SQL(
                        "WITH waits AS (SELECT originator_id, convert_from(state, 'UTF8')::jsonb -> 'data' AS data"
                        " FROM {0}.stored_events WHERE topic = 'flow.waiting.v1'), resumed AS (SELECT originator_id,"
                        " convert_from(state, 'UTF8')::jsonb -> 'data' AS data FROM {0}.stored_events"
                        " WHERE topic = 'flow.resumed.v1') SELECT count(*), count(*) - count(DISTINCT r.originator_id),"
                        " count(*) FILTER (WHERE (r.data ->> 'at_ms')::bigint < (w.data ->> 'due_ms')::bigint)"
                        " FROM resumed r JOIN waits w USING (originator_id)"
                    ).format(schema)
                ).fetchone()
                assert rows is not None
                for name, n in zip(found, rows, strict=True):
                    found[name] += n
        return found

    def _count(self, table: str, condition: str, *parameters: Any) -> int:
        with psycopg.connect(self._dsn) as connection:
            total = 0
            for lane in range(self._place.lanes):
                query = sql.SQL(f"SELECT count(*) FROM {{}}.{table} WHERE {condition}")  # type: ignore[arg-type]
                row = connection.execute(
                    query.format(sql.Identifier(f"lane_{lane:03d}")), parameters
                ).fetchone()
                total += row[0] if row else 0
            return total

    def _await(self, condition: Any, what: str) -> None:
        deadline = time.monotonic() + _SETTLE_TIMEOUT_S
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not in {_SETTLE_TIMEOUT_S:.0f} s: {what}")
            time.sleep(0.5)

    def _say(self, text: str) -> None:
        self._console.print(f"[dim]{text}[/dim]")


def _records(bootstrap: str, topic: str, partitions: int) -> list[tuple[Any, int]]:
    """All there is on a topic now: JSON and append time."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "bench-timers", "enable.auto.commit": False,
                         "isolation.level": "read_committed", "log_level": 0, "enable.partition.eof": True})  # fmt: skip
    left = set(range(partitions))
    consumer.assign([TopicPartition(topic, n, OFFSET_BEGINNING) for n in range(partitions)])
    found: list[tuple[Any, int]] = []
    try:
        while left:
            for message in consumer.consume(num_messages=10_000, timeout=1.0):
                if message.error() is not None:
                    left.discard(message.partition() or 0)
                else:
                    found.append((orjson.loads(message.value() or b"{}"), message.timestamp()[1]))
    finally:
        consumer.close()
    return found


def _latencies(sent: dict[str, int], told: dict[str, int]) -> measure.Latencies:
    spans = sorted(told[i] - t for i, t in sent.items())
    return measure.Latencies(spans[len(spans) // 2], spans[int(len(spans) * 0.99)], spans[-1])


def show(found: Found, console: Console) -> None:
    """Print the tables."""
    table = Table(title="Timers", title_justify="left")
    for heading in ("", "seen"):
        table.add_column(heading, justify="right" if heading else "left")
    table.add_row("due at one instant", f"{found.timers:,}")
    table.add_row("fired, by the log", f"{found.fired:,}")
    table.add_row("fired a second (middle nine tenths)", f"{found.per_second:,.0f}")
    table.add_row("the last one's outcome after", f"{found.all_within_s:.1f} s")
    table.add_row("commands a second meanwhile", f"{found.commands_per_second:,.0f}")
    for name, one in ((_QUIET, found.quiet), (_FIRING, found.firing)):
        table.add_row(
            f"p50, p99, worst of commands, {name}", f"{one.p50_ms}, {one.p99_ms}, {one.worst_ms} ms"
        )
    if found.pending:
        table.add_row(
            f"workers' memory, before and with {found.pending:,} pending",
            f"{found.before_mb:.0f}, {found.after_mb:.0f} MB",
        )
    console.print(table)
    table = Table(title="To hold", title_justify="left")
    for heading in ("", "seen", "bound", "verdict"):
        table.add_column(heading, justify="right" if heading == "seen" else "left")
    for ratio in found.ratios():
        word = "at least" if ratio.at_least else "at most"
        verdict = "[green]held[/green]" if ratio.held else "[red]missed[/red]"
        table.add_row(ratio.name, f"{ratio.seen:,.2f}", f"{word} {ratio.bound:g}", verdict)
    console.print(table)


def measured(servers: Servers, options: Any, console: Console) -> Found:
    """One run on an installation of its own."""
    run = f"{os.urandom(3).hex()}t"
    dsn = conninfo.make_conninfo(servers.dsn, dbname=f"bench_{run}_engine")  # as `scene` names it
    settings = Settings(topic_prefix=f"{run}-engine.")
    with scene(servers, "engine", run, options.lanes, options.data, options.processes) as place:
        place.contender.start()
        return TimerBench(place, dsn, settings, options, console).run()


def main() -> int:
    """Run, print, keep the figures; 1 when a figure to hold isn't held."""
    options = _options()
    console = Console(stderr=options.json)
    options.data.mkdir(parents=True, exist_ok=True)
    with embedded.start(options.data, progress=lambda text: console.print(f"[dim]{text}[/dim]")) as servers:
        found = measured(servers, options, console)
    show(found, console)
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "processes": options.processes}
    ratios = [ratio._asdict() | {"held": ratio.held} for ratio in found.ratios()]
    latencies = {"quiet": found.quiet._asdict(), "firing": found.firing._asdict()}
    figures = json.dumps({"machine": machine, **found._asdict(), **latencies, "ratios": ratios}, indent=2)
    (options.data / "timers.json").write_text(figures + "\n", encoding="utf-8")
    if options.json:
        sys.stdout.write(figures + "\n")
    return 0 if all(ratio.held for ratio in found.ratios()) else 1


def _options() -> Any:
    parser = argparse.ArgumentParser(
        prog="python -m bench.timers",
        description=__doc__,
        epilog="example: python -m bench.timers --timers 20000 --pending 0",
    )
    parser.add_argument("--timers", type=int, default=100_000, help="due at one instant")
    parser.add_argument("--pending", type=int, default=1_000_000, help="that aren't due; 0: leave this out")
    parser.add_argument("--rate", type=float, default=500.0, help="commands a second beside them")
    parser.add_argument("--seconds", type=float, default=10.0, help="of the quiet part")
    parser.add_argument("--arm-seconds", type=float, default=0.0, help="for arming; 0: by their number")
    parser.add_argument("--journeys", type=int, default=20_000, help="that the commands are for")
    parser.add_argument("--lanes", type=int, default=8)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--data", type=Path, default=Path("bench/results"))
    parser.add_argument("--json", action="store_true", help="the figures as JSON on stdout")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
