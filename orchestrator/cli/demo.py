"""`orchestrator demo`: a shop's traffic through everything, on servers of its own, with tables at the end."""

import asyncio
import contextlib
import itertools
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.options import DATA_DIR, JSON, TABLE, Data, Format, Output, Role, examples

if TYPE_CHECKING:
    from orchestrator.cli.queries import Installation
    from orchestrator.feeding import Feeder
    from orchestrator.settings import Settings

SHOP = Path("examples/lifecycle/shop.yaml")
_SETTLED_WITHIN_S = 60.0
_POLL_S = 0.25
_UNDER_WAY_MAX = (
    1_500  # enough to keep a worker busy, few enough that waiting in line does not hide its latency
)
_LEAD_MS = 2 * 3_600_000  # sessions go on for a while after the span in which they begin
_REASONS = "SELECT reason, count(*) AS letters FROM {lane}.dead_letters GROUP BY reason"
_STATES = "SELECT kind || ':' || definition AS definition, label AS state, count(*) AS journeys FROM {lane}.journeys GROUP BY 1, 2"
_POSITIONS = "SELECT name, at FROM {lane}.positions"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=examples("orchestrator demo", "orchestrator demo --commands 100000 --seed 42"))(demo)


def demo(
    commands: Annotated[
        int, typer.Option("--commands", "-n", help="How many messages to publish.", min=1)
    ] = 20_000,
    seed: Annotated[
        int | None, typer.Option(help="The same seed makes the same traffic; else a new one.", min=0)
    ] = None,
    data: Data = DATA_DIR,
    output: Output = TABLE,
) -> None:
    """Start servers and a worker, publish shop traffic with repeated keys and broken messages, and show what became of it."""
    from orchestrator.cli import output as out
    from orchestrator.cli.connection import connected
    from orchestrator.cli.processes import heed_termination

    heed_termination()
    seed = secrets.randbits(32) if seed is None else seed
    out.say(f"seed {seed}")
    with connected(data, make=True, tell=out.say) as settings:
        report = asyncio.run(_demo(settings, commands, seed, data))
    if output is JSON:
        out.document(report)
    else:
        _show(report, data)


async def _demo(settings: "Settings", commands: int, seed: int, data: Path) -> dict[str, Any]:
    from orchestrator.cli import queries
    from orchestrator.cli.connection import with_databases
    from orchestrator.cli.processes import ready, supervised, worker_children
    from orchestrator.installation import Databases, init

    await with_databases(settings, init)
    await with_databases(settings, _publish_shop)
    children, addresses = worker_children(settings, 1, Role.ALL)
    databases = Databases(settings)
    try:
        installation = queries.Installation(settings, databases)
        before = _letters(installation)
        async with supervised(children, data / "logs" / "worker.log"):
            await ready(addresses)
            feeder = await _traffic(settings, commands, seed)
            await _settled(installation, feeder, sum(before.values()))
            return {"seed": seed, **_measured(feeder), **_counted(installation, before)}
    finally:
        databases.close()


async def _publish_shop(_settings: "Settings", databases: Any) -> None:
    from orchestrator import definitions
    from orchestrator.cli.definitions import publish_document

    path = SHOP if SHOP.exists() else Path(__file__).parents[2] / SHOP
    publish_document(databases, definitions.load(path.read_bytes()))


async def _traffic(settings: "Settings", commands: int, seed: int) -> "Feeder":
    from orchestrator.cli import output as out
    from orchestrator.feeding import Feeder
    from orchestrator.traffic import SPAN_MS, sessions

    begins_ms = int(time.time() * 1000) - SPAN_MS - _LEAD_MS
    with out.progress("shop traffic", commands) as advance:
        async with Feeder(settings, under_way_max=_UNDER_WAY_MAX) as feeder:
            for number, message in enumerate(sessions(seed, commands, begins_ms), 1):
                await feeder.send(message)
                if number % 100 == 0:
                    advance(number, f"{feeder.answered:,} decided")
            await feeder.drain()
            advance(commands, f"{feeder.answered:,} decided")
    return feeder


async def _settled(installation: "Installation", feeder: "Feeder", letters_before: int) -> None:
    """Wait until read models show everything that was published; what is left after a minute is shown as it is."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_SETTLED_WITHIN_S):
            for _ in itertools.count():
                if await asyncio.to_thread(_is_settled, installation, feeder, letters_before):
                    return
                await asyncio.sleep(_POLL_S)


def _is_settled(installation: "Installation", feeder: "Feeder", letters_before: int) -> bool:
    lanes: dict[int, dict[str, int]] = {}
    for row in installation.rows(_POSITIONS):
        lanes.setdefault(row["lane"], {})[row["name"]] = row["at"]
    read = all(
        lanes[partition].get(f"in:{topic}", -1) >= offset
        for (topic, partition), offset in feeder.ends.items()
    )
    shown = all(at[f"out:{name}"] >= at["log"] for at in lanes.values() for name in ("journeys", "publisher"))
    lost = feeder.outcomes[("dead_lettered", False)] + feeder.sent - feeder.answered
    return read and shown and sum(_letters(installation).values()) >= letters_before + lost


def _measured(feeder: "Feeder") -> dict[str, Any]:
    from orchestrator.feeding import percentile

    took_s = max(0.001, (feeder.last_outcome_ms - feeder.first_append_ms) / 1000)
    return {
        "published": feeder.sent,
        "outcomes": [
            {"outcome": outcome, "duplicate": duplicate, "commands": count}
            for (outcome, duplicate), count in sorted(feeder.outcomes.items())
        ],
        "without_outcome": feeder.sent
        - feeder.answered,  # broken beyond reading their key: dead letters only
        "seconds": round(took_s, 3),
        "commands_per_second": round(feeder.sent / took_s),
        "append_to_outcome_p50_ms": percentile(feeder.latencies_ms, 50),
        "append_to_outcome_p99_ms": percentile(feeder.latencies_ms, 99),
    }


def _letters(installation: "Installation") -> dict[str, int]:
    found: dict[str, int] = {}
    for row in installation.rows(_REASONS):
        found[row["reason"]] = found.get(row["reason"], 0) + row["letters"]
    return found


def _counted(installation: "Installation", before: dict[str, int]) -> dict[str, Any]:
    states: dict[tuple[str, str], int] = {}
    for row in installation.rows(_STATES):
        address = (row["definition"], row["state"])
        states[address] = states.get(address, 0) + row["journeys"]
    after = _letters(installation)
    return {
        "journeys": [
            {"definition": d, "state": s, "journeys": count} for (d, s), count in sorted(states.items())
        ],
        "dead_letters": [
            {"reason": reason, "this_run": count - before.get(reason, 0), "in_all": count}
            for reason, count in sorted(after.items())
        ],
    }


def _show(report: dict[str, Any], data: Path) -> None:
    from orchestrator.cli import output as out

    table = Format.TABLE
    out.rows(
        ("definition", "state", "journeys"), report["journeys"], table, title="Journeys by state, of all runs"
    )
    out.rows(("outcome", "duplicate", "commands"), report["outcomes"], table, title="Outcomes of this run")
    out.rows(
        ("reason", "this_run", "in_all"), report["dead_letters"], table, title="Dead letters", empty="none"
    )
    speed = {
        "seed": str(report["seed"]),
        "published": report["published"],
        "without outcome": f"{report['without_outcome']} (no readable key: dead letters only)",
        "commands per second": report["commands_per_second"],
        "append to outcome": f"p50 {report['append_to_outcome_p50_ms']:.0f} ms, p99 {report['append_to_outcome_p99_ms']:.0f} ms"
        " (at full load, broker and database on this machine)",
    }
    out.facts(speed, title="This run")
    place = "" if data == DATA_DIR else f" --data {data}"
    out.say(f"\nNext: .venv/bin/orchestrator journeys list --state CHECKOUT{place}")
    out.say(
        f"      .venv/bin/orchestrator up{place}    (keeps everything running; then see `journeys why`, `dlq list`)"
    )
