"""`make bench`: the engine against its peers, on the same embedded servers, in one run."""

import argparse
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from bench import load, measure
from bench.scene import Scene, scene
from orchestrator import embedded

_ORDER = ("bare", "engine", "plain")
_TO_HOLD = (
    ("engine / bare", 0.5, "at least"),
    ("engine / plain", 20.0, "at least"),
    ("p99 engine / bare", 1.5, "at most"),
)


class Burst(NamedTuple):
    """One drained burst."""

    contender: str
    keys: str
    phase: str  # new journeys, warm cache, cold cache
    commands: int
    per_second: float
    cpu_us: float  # of the contender's processes, per command
    peak_mb: float


class Steady(NamedTuple):
    """One steady load."""

    contender: str
    per_second: float
    p50_ms: float
    p99_ms: float


def main() -> int:
    """Run, print the tables, keep the figures; 1 when a figure to hold isn't held."""
    options = _options()
    console = Console(stderr=not options.json)
    run = os.urandom(3).hex()
    options.data.mkdir(parents=True, exist_ok=True)
    bursts: list[Burst] = []
    steadies: list[Steady] = []
    with embedded.start(options.data, progress=lambda text: console.print(f"[dim]{text}[/dim]")) as servers:
        distributions = [load.Keys(d, options.journeys) for d in options.keys.split(",")]
        for keys in distributions:
            for name in _ORDER:
                count = options.commands if name != "plain" else max(500, options.commands // 40)
                with scene(
                    servers, name, f"{run}{keys.distribution[0]}", options.lanes, options.data
                ) as place:
                    bursts += _bursts(place, keys, count, console, name)
        rate = options.rate or 0.5 * _rate(bursts, "engine", "warm cache")
        for name in ("bare", "engine"):
            with scene(servers, name, f"{run}s", options.lanes, options.data) as place:
                steadies.append(_steady(place, distributions[0], rate, options.seconds, console, name))
    return _report(bursts, steadies, options, console)


def _bursts(place: Scene, keys: load.Keys, count: int, console: Console, name: str) -> list[Burst]:
    """New journeys, then the same again with warm caches, then by a new process."""
    found = []
    place.contender.start()
    for phase in ("new journeys", "warm cache", "cold cache"):
        console.print(f"[dim]{name}: {count} commands, {keys.distribution} keys, {phase}[/dim]")
        made = list(load.events(keys, count, len(phase), f"{name}-{phase}"))
        watcher = measure.Watcher(place.bootstrap, place.outcomes, place.lanes, "id")
        if phase == "cold cache":
            place.contender.stop()
            load.burst(place.bootstrap, place.commands, made)
            place.contender.start()
            before = 0.0
        else:
            before = place.contender.usage().cpu_s
            place.contender.hold()
            load.burst(place.bootstrap, place.commands, made)
            place.contender.go()
        outcomes = watcher.take(count, f"{name}-{phase}-")
        watcher.close()
        usage = place.contender.usage()
        rates = measure.rates(outcomes)
        cpu_us = (usage.cpu_s - before) / count * 1e6
        found.append(Burst(name, keys.distribution, phase, count, rates.per_second, cpu_us, usage.peak_mb))
    return found


def _steady(
    place: Scene, keys: load.Keys, rate: float, seconds: float, console: Console, name: str
) -> Steady:
    """A steady load on warm caches; the latencies by the broker's clock."""
    console.print(f"[dim]{name}: {rate:.0f} commands a second for {seconds:.0f} s[/dim]")
    place.contender.start()
    warm = list(load.events(keys, int(rate * 2), 1, f"{name}-warm"))
    outcomes = measure.Watcher(place.bootstrap, place.outcomes, place.lanes, "id")
    load.steady(place.bootstrap, place.commands, warm, rate)
    outcomes.take(len(warm), f"{name}-warm-")
    commands = measure.Watcher(place.bootstrap, place.commands, place.lanes, "idempotencyKey")
    made = list(load.events(keys, int(rate * seconds), 2, f"{name}-steady"))
    load.steady(place.bootstrap, place.commands, made, rate)
    told, sent = (watcher.take(len(made), f"{name}-steady-") for watcher in (outcomes, commands))
    outcomes.close()
    commands.close()
    found = measure.latencies(sent, told)
    return Steady(name, rate, found.p50_ms, found.p99_ms)


def _rate(bursts: list[Burst], name: str, phase: str) -> float:
    rates = sorted(b.per_second for b in bursts if b.contender == name and b.phase == phase)
    return rates[len(rates) // 2]


def _report(bursts: list[Burst], steadies: list[Steady], options: Any, console: Console) -> int:
    table = Table(title="Bursts, drained (commands consumed, committed, published)")
    for heading in ("contender", "keys", "phase", "commands", "per second", "CPU µs each", "peak MB"):
        table.add_column(heading, justify="left" if heading in ("contender", "keys", "phase") else "right")
    for b in bursts:
        table.add_row(
            b.contender,
            b.keys,
            b.phase,
            f"{b.commands:,}",
            f"{b.per_second:,.0f}",
            f"{b.cpu_us:.1f}",
            f"{b.peak_mb:.0f}",
        )
    console.print(table)
    table = Table(
        title=f"Steady load, append of the command to append of its outcome ({options.seconds:.0f} s)"
    )
    for heading in ("contender", "per second", "p50 ms", "p99 ms"):
        table.add_column(heading, justify="left" if heading == "contender" else "right")
    for s in steadies:
        table.add_row(s.contender, f"{s.per_second:,.0f}", f"{s.p50_ms:.0f}", f"{s.p99_ms:.0f}")
    console.print(table)
    p99 = {s.contender: s.p99_ms for s in steadies}
    ratios = {
        "engine / bare": _rate(bursts, "engine", "warm cache") / _rate(bursts, "bare", "warm cache"),
        "engine / plain": _rate(bursts, "engine", "warm cache") / _rate(bursts, "plain", "warm cache"),
        "p99 engine / bare": p99["engine"] / max(1.0, p99["bare"]),
    }
    table = Table(title="Ratios within this run")
    for heading in ("ratio", "seen", "to hold", ""):
        table.add_column(heading)
    held = True
    for name, bound, word in _TO_HOLD:
        good = ratios[name] >= bound if word == "at least" else ratios[name] <= bound
        held &= good
        table.add_row(
            name,
            f"{ratios[name]:.2f}",
            f"{word} {bound}",
            "[green]held[/green]" if good else "[red]missed[/red]",
        )
    console.print(table)
    figures = {
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
        "bursts": [b._asdict() for b in bursts],
        "steady": [s._asdict() for s in steadies],
        "ratios": ratios,
    }
    (options.data / "latest.json").write_text(json.dumps(figures, indent=2), encoding="utf-8")
    if options.json:
        sys.stdout.write(json.dumps(figures) + "\n")
    return 0 if held else 1


def _options() -> Any:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--commands", type=int, default=100_000, help="per burst (the plain application gets a fortieth)"
    )
    parser.add_argument("--journeys", type=int, default=20_000)
    parser.add_argument("--keys", default="uniform,zipf", help="uniform, zipf or both")
    parser.add_argument("--lanes", type=int, default=8)
    parser.add_argument(
        "--rate", type=float, default=0.0, help="steady load a second; 0: half of the engine's burst rate"
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="of steady load")
    parser.add_argument("--data", type=Path, default=Path("bench/results"))
    parser.add_argument("--json", action="store_true", help="the figures as JSON on stdout")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
