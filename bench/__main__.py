"""`make bench`: the engine against its peers, on the same embedded servers, in one run."""

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import load, measure
from bench.figures import PHASES, WARM, Burst, Figures, Full, Memory, Steady, as_json, show
from bench.scene import Scene, scene
from orchestrator import embedded
from orchestrator.embedded import Servers

_PLAIN_SHARE = 40  # the plain application gets a fortieth of the commands: it would take minutes
_MEMORY_CACHE = 50_000  # journeys each worker may keep in the memory step
_MEMORY_STEPS = 10
_FULL_S = 6.0
_KNOWN = 3  # commands a journey before a steady load: nearly all of them are in the caches then


class Bench:
    """One run."""

    def __init__(self, servers: Servers, options: Any, console: Console) -> None:
        self._servers = servers
        self._options = options
        self._console = console
        self._run = os.urandom(3).hex()
        self._scenes = 0
        self.bursts: list[Burst] = []
        self.fulls: list[Full] = []
        self.steadies: list[Steady] = []
        self.memory: list[Memory] = []

    def run(self) -> Figures:
        """Rounds of bursts, contender beside contender; a full load, and half of it; a million journeys."""
        options = self._options
        distributions = [load.Keys(d, options.journeys) for d in options.keys.split(",")]
        for number in range(options.rounds):
            for keys in distributions:
                for name in ("small", "bare", "engine", "plain") if number == 0 else ("bare", "engine"):
                    self._burst(name, keys, number)
        if options.seconds and not options.rate:
            for number in range(options.rounds):
                self._full(distributions[0], self._figures().rate("engine"), number)
        steadies = 2 * options.rounds - 1  # latencies vary more from round to round than throughput does
        for number in range(steadies if options.seconds else 0):
            for name in ("bare", "engine"):
                self._steady(name, distributions[0], options.rate or self._figures().half_load(), number)
        if options.memory_journeys:
            self._memory()
        return self._figures()

    def _figures(self) -> Figures:
        return Figures(
            self.bursts, self.fulls, self.steadies, self.memory, _MEMORY_CACHE, self._options.processes
        )

    def _scene(self, name: str, **environment: str) -> Any:
        options = self._options
        self._scenes += 1
        run = f"{self._run}{self._scenes}"
        return scene(
            self._servers, name, run, options.lanes, options.data, options.processes, environment=environment
        )

    def _burst(self, name: str, keys: load.Keys, number: int) -> None:
        """New journeys, then the same again with warm caches, then by new processes."""
        count = self._options.commands
        if name == "plain":
            count = max(500, count // _PLAIN_SHARE)
        with self._scene(name) as place:
            place.contender.start()
            for phase in PHASES:
                self._console.print(
                    f"[dim]{number + 1}: {name}, {count:,} commands, {keys.distribution} keys, {phase}[/dim]"
                )
                self.bursts.append(self._drain(place, name, keys, phase, number, count))

    def _drain(self, place: Scene, name: str, keys: load.Keys, phase: str, number: int, count: int) -> Burst:
        tag = f"{name}-{number}-{phase}"
        made = list(load.events(keys, count, PHASES.index(phase), tag))
        watcher = measure.Watcher(place.bootstrap, place.outcomes, place.lanes, "id")
        contender = place.contender
        before_s = 0.0
        if phase in (PHASES[0], WARM):
            before_s = contender.usage().cpu_s
            contender.hold()
            load.burst(place.bootstrap, place.commands, made)
            contender.go()
        else:
            contender.stop()
            load.burst(place.bootstrap, place.commands, made)
            contender.start()
        watcher.await_records(count)
        usage = contender.usage()
        outcomes = watcher.take(count, f"{tag}-")
        watcher.close()
        cpu_us = (usage.cpu_s - before_s) / count * 1e6
        per_second = measure.rates(outcomes).per_second
        return Burst(name, keys.distribution, phase, number, count, per_second, cpu_us, usage.peak_mb)

    def _full(self, keys: load.Keys, rate: float, number: int) -> None:
        """More than the engine can take, made beside it: as much as it drains when the load lies ready."""
        self._console.print(f"[dim]{number + 1}: engine, full load of {rate:,.0f} commands a second[/dim]")
        with self._scene("engine") as place:
            place.contender.start()
            watcher = measure.Watcher(place.bootstrap, place.outcomes, place.lanes, "id")
            warm = list(load.events(keys, int(rate * 2), 1, "warm"))
            load.burst(place.bootstrap, place.commands, warm)
            watcher.await_records(len(warm))
            made = list(load.events(keys, int(rate * _FULL_S), 2, "full"))
            begun_ms = int(time.time() * 1000)
            load.steady(place.bootstrap, place.commands, made, rate)
            ended_ms = int(time.time() * 1000)
            watcher.await_records(len(warm) + len(made))
            told = watcher.take(len(made), "full-")
            watcher.close()
        self.fulls.append(Full(number, rate, measure.rate_between(told, begun_ms + 1_000, ended_ms)))

    def _steady(self, name: str, keys: load.Keys, rate: float, number: int) -> None:
        """A steady load on warm caches; the latencies by the broker's clock."""
        seconds = self._options.seconds
        self._console.print(
            f"[dim]{number + 1}: {name}, {rate:,.0f} commands a second for {seconds:.0f} s[/dim]"
        )
        with self._scene(name) as place:
            place.contender.start()
            outcomes = measure.Watcher(place.bootstrap, place.outcomes, place.lanes, "id")
            known = list(load.events(keys, _KNOWN * keys.journeys, 0, "known"))
            load.burst(place.bootstrap, place.commands, known)
            outcomes.await_records(len(known))
            warm = list(load.events(keys, int(rate * 3), 1, "warm"))
            load.steady(place.bootstrap, place.commands, warm, rate)
            outcomes.await_records(len(known) + len(warm))
            commands = measure.Watcher(place.bootstrap, place.commands, place.lanes, "idempotencyKey")
            made = list(load.events(keys, int(rate * seconds), 2, "steady"))
            load.steady(place.bootstrap, place.commands, made, rate)
            outcomes.await_records(len(known) + len(warm) + len(made))
            told, sent = (w.take(len(made), "steady-") for w in (outcomes, commands))
            outcomes.close()
            commands.close()
        found = measure.latencies(sent, told)
        self.steadies.append(Steady(name, number, rate, found.p50_ms, found.p99_ms))

    def _memory(self) -> None:
        """Ever new journeys, many times more than the caches hold."""
        total = self._options.memory_journeys
        with self._scene("engine", ORCHESTRATOR_CACHE_STREAMS=str(_MEMORY_CACHE)) as place:
            place.contender.start()
            for step in range(_MEMORY_STEPS):
                count = total // _MEMORY_STEPS
                first = step * count
                self._console.print(f"[dim]memory: journeys {first:,} to {first + count:,}[/dim]")
                watcher = measure.Watcher(place.bootstrap, place.outcomes, place.lanes, "id")
                load.burst(place.bootstrap, place.commands, list(load.newcomers(first, count)))
                watcher.await_records(count)
                watcher.close()
                self.memory.append(Memory(first + count, place.contender.resident_mb()))


def main() -> int:
    """Run, print the tables, keep the figures; 1 when a figure to hold isn't held."""
    options = _options()
    console = Console(stderr=options.json)
    options.data.mkdir(parents=True, exist_ok=True)
    with embedded.start(options.data, progress=lambda text: console.print(f"[dim]{text}[/dim]")) as servers:
        figures = Bench(servers, options, console).run()
    show(figures, console)
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "processes": options.processes}
    found = json.dumps({"machine": machine, **as_json(figures)}, indent=2)
    (options.data / "latest.json").write_text(found + "\n", encoding="utf-8")
    if options.json:
        sys.stdout.write(found + "\n")
    return 0 if all(ratio.held for ratio in figures.ratios()) else 1


def _options() -> Any:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        epilog="example: make bench ARGS='--rounds 1 --keys uniform --memory-journeys 0'",
    )
    parser.add_argument("--commands", type=int, default=100_000, help="per burst")
    parser.add_argument("--journeys", type=int, default=20_000, help="that the commands are for")
    parser.add_argument("--keys", default="uniform,zipf", help="uniform, zipf or both")
    parser.add_argument("--lanes", type=int, default=8)
    parser.add_argument("--processes", type=int, default=2, help="of the engine, and of the bare pipeline")
    parser.add_argument("--rounds", type=int, default=3, help="medians are taken over these")
    parser.add_argument(
        "--rate",
        type=float,
        default=0.0,
        help="steady load; 0: half of what the engine takes while the load is made beside it",
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="of steady load; 0: none")
    parser.add_argument("--memory-journeys", type=int, default=1_000_000, help="0: leave the memory step out")
    parser.add_argument("--data", type=Path, default=Path("bench/results"))
    parser.add_argument("--json", action="store_true", help="the figures as JSON on stdout")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
