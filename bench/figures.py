"""What a run of the bench measured, the ratios it has to hold, and how it is shown."""

import statistics
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

WARM = "warm cache"
PHASES = ("new journeys", WARM, "cold cache")


class Burst(NamedTuple):
    """One drained burst."""

    contender: str
    keys: str
    phase: str
    round: int
    commands: int
    per_second: float
    cpu_us: float  # of the contender's processes, per command
    peak_mb: float


class Full(NamedTuple):
    """What the engine took of a load beyond it, while that was made on the same machine."""

    round: int
    offered: float  # commands a second
    per_second: float


class Steady(NamedTuple):
    """One steady load."""

    contender: str
    round: int
    per_second: float
    p50_ms: float
    p99_ms: float


class Memory(NamedTuple):
    """The workers' resident memory after so many journeys were begun."""

    journeys: int
    resident_mb: float


class Ratio(NamedTuple):
    """One thing to hold, as the median over the rounds."""

    name: str
    seen: float
    bound: float
    at_least: bool

    @property
    def held(self) -> bool:
        return self.seen >= self.bound if self.at_least else self.seen <= self.bound


class Figures(NamedTuple):
    """Everything of one run."""

    bursts: Sequence[Burst]
    fulls: Sequence[Full]
    steadies: Sequence[Steady]
    memory: Sequence[Memory]
    cache_journeys: int  # of each process
    processes: int

    def rate(self, contender: str) -> float:
        """Commands a second on warm caches: the median over rounds and keys."""
        return statistics.median(
            b.per_second for b in self.bursts if b.contender == contender and b.phase == WARM
        )

    def half_load(self) -> float:
        """Commands a second: half of what the engine took at full load."""
        return 0.5 * statistics.median(full.per_second for full in self.fulls)

    def ratios(self) -> list[Ratio]:
        found = [
            Ratio("throughput, engine / bare", self._by_round("engine", "bare"), 0.5, at_least=True),
            Ratio(
                "throughput, engine / plain", self.rate("engine") / self.rate("plain"), 20.0, at_least=True
            ),
        ]
        if self.steadies:
            p99 = {
                name: statistics.median(s.p99_ms for s in self.steadies if s.contender == name)
                for name in ("bare", "engine")
            }
            found.append(
                Ratio("p99 at half load, engine / bare", p99["engine"] / p99["bare"], 1.5, at_least=False)
            )
        # Each process keeps a cache: journeys spread unevenly, so that the last is full some time after their sum.
        full = 2 * self.processes * self.cache_journeys
        filled = [m.resident_mb for m in self.memory if m.journeys >= full]
        if len(filled) > 1:
            grown = filled[-1] / filled[0]
            found.append(Ratio("memory, last journey / cache full", grown, 1.15, at_least=False))
        return found

    def _by_round(self, one: str, other: str) -> float:
        """The median of the ratios of bursts that ran one after the other: the machine's speed changes by the minute."""
        pairs: dict[tuple[str, int], dict[str, float]] = {}
        for b in self.bursts:
            if b.phase == WARM:
                pairs.setdefault((b.keys, b.round), {})[b.contender] = b.per_second
        return statistics.median(p[one] / p[other] for p in pairs.values())


def show(figures: Figures, console: Console) -> None:
    """Print the tables."""
    table = _table(
        "Bursts, drained: consumed, committed, published (medians over the rounds)",
        "contender", "keys", "phase", "commands/s", "CPU µs each", "peak MB",
    )  # fmt: skip
    for (contender, keys, phase), group in _grouped(figures.bursts):
        table.add_row(
            contender, keys, phase, f"{statistics.median(b.per_second for b in group):,.0f}",
            f"{statistics.median(b.cpu_us for b in group):.0f}", f"{max(b.peak_mb for b in group):.0f}",
        )  # fmt: skip
    console.print(table)
    if figures.fulls:
        table = _table(
            "Full load, made while the engine works (median over the rounds)",
            "offered, commands/s",
            "taken, commands/s",
        )
        offered, taken = (
            statistics.median(getattr(full, name) for full in figures.fulls)
            for name in ("offered", "per_second")
        )
        table.add_row(f"{offered:,.0f}", f"{taken:,.0f}")
        console.print(table)
    if figures.steadies:
        table = _table(
            "Steady load, append of the command to append of its outcome (medians over the rounds)",
            "contender", "commands/s", "p50 ms", "p99 ms",
        )  # fmt: skip
        for name in dict.fromkeys(s.contender for s in figures.steadies):
            own = [s for s in figures.steadies if s.contender == name]
            table.add_row(
                name, f"{statistics.median(s.per_second for s in own):,.0f}",
                f"{statistics.median(s.p50_ms for s in own):.0f}", f"{statistics.median(s.p99_ms for s in own):.0f}",
            )  # fmt: skip
        console.print(table)
    if figures.memory:
        table = _table(
            f"Resident memory of the workers, caches of {figures.cache_journeys:,} journeys",
            "journeys begun",
            "MB",
        )
        for m in figures.memory:
            table.add_row(f"{m.journeys:,}", f"{m.resident_mb:.0f}")
        console.print(table)
    table = _table("To hold", "ratio", "seen", "bound", "")
    for ratio in figures.ratios():
        word = "at least" if ratio.at_least else "at most"
        verdict = "[green]held[/green]" if ratio.held else "[red]missed[/red]"
        table.add_row(ratio.name, f"{ratio.seen:.2f}", f"{word} {ratio.bound:g}", verdict)
    console.print(table)


def as_json(figures: Figures) -> dict[str, Any]:
    """For a file or a program."""
    return {
        "bursts": [b._asdict() for b in figures.bursts],
        "full": [f._asdict() for f in figures.fulls],
        "steady": [s._asdict() for s in figures.steadies],
        "memory": [m._asdict() for m in figures.memory],
        "ratios": [r._asdict() | {"held": r.held} for r in figures.ratios()],
    }


def _grouped(bursts: Iterable[Burst]) -> Iterable[tuple[tuple[str, str, str], list[Burst]]]:
    groups: dict[tuple[str, str, str], list[Burst]] = {}
    for b in bursts:
        groups.setdefault((b.contender, b.keys, b.phase), []).append(b)
    return groups.items()


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in headings:
        words = heading in ("contender", "keys", "phase", "ratio", "bound", "")
        table.add_column(heading, justify="left" if words else "right")
    return table
