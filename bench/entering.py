"""`make bench-entering`: customers enter one queue through Kafka; from the command to the journey's snapshot.

Each entry is three decisions in two lanes: the journey asks, the queue answers, the journey notes its place.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka import Consumer, TopicPartition
from psycopg import conninfo
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress
from rich.table import Table

from bench import load, measure
from bench.scene import Scene, scene
from orchestrator import embedded
from orchestrator.journeys.experience import EXPERIENCE

_TO_HOLD = 3_000  # entries a second
_IDLE_S = 60.0
_SLOWEST = 1_000  # customers a second: answers stand behind all that was asked before them
_DOCUMENT: dict[str, Any] = {
    "kind": "experience",
    "id": "drop",
    "name": "A drop",
    # Answers stand behind all that was asked before them: with the usual 30 s everybody would be told to try again.
    "answer_within": "1h",
    "sequences": [{"id": "only", "distribution": "line"}],
    "distributions": {"line": {"mechanism": "queue", "concurrent": 1, "admission": {"valid": "1h"}}},
}


class Snapshots:
    """Reads the snapshots topic from now on, and counts journeys by where they stand."""

    def __init__(self, place: Scene, topic: str) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": place.bootstrap,
                "group.id": f"bench-{topic}",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "log_level": 0,
            }
        )
        self._consumer.assign(
            [
                TopicPartition(
                    topic, n, self._consumer.get_watermark_offsets(TopicPartition(topic, n), timeout=10)[1]
                )
                for n in range(place.lanes)
            ]
        )

    def await_standing(self, count: int, stages: Sequence[str], bar: Progress) -> float:
        """Wait until so many customers stand there; when the last of them was written (s). Raises TimeoutError."""
        seen: set[bytes] = set()
        last_ms, heard_s, idle_s = 0, time.monotonic(), _IDLE_S + count / _SLOWEST
        shown = bar.add_task(stages[0], total=count)
        while len(seen) < count:
            for message in self._consumer.consume(num_messages=5_000, timeout=1.0):
                value, key = message.value(), message.key()
                if message.error() is not None or value is None or key is None:
                    continue
                if orjson.loads(value)["view"].get("sequenceStage") in stages:
                    seen.add(key)
                    last_ms = max(last_ms, message.timestamp()[1])
                    heard_s = time.monotonic()
            bar.update(shown, completed=len(seen))
            if time.monotonic() - heard_s > idle_s:
                raise TimeoutError(
                    f"{len(seen)} of {count} customers stand at {stages}, then none for {idle_s:.0f} s"
                )
        return last_ms / 1000

    def close(self) -> None:
        self._consumer.close()


def commands(customers: int, action: str) -> list[tuple[bytes, list[tuple[str, bytes]]]]:
    """Keys and headers of one command for each customer."""
    made = []
    for n in range(customers):
        owner = f"acme/c/fan-{n}"
        headers = [
            ("ce_specversion", b"1.0"), ("ce_id", f"{action}-{n}".encode()), ("ce_source", b"bench"),
            ("ce_type", action.encode()), ("ce_subject", f"{owner}/experience:drop".encode()),
        ]  # fmt: skip
        made.append((owner.encode(), headers))
    return made


def await_followers(dsn: str, lanes: int) -> None:
    """Wait until rows and records of everything in the logs are written: what comes then is measured alone."""
    deadline_s = time.monotonic() + _IDLE_S
    while not measure.followed(dsn, lanes):
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"followers are behind for {_IDLE_S:.0f} s")
        time.sleep(0.5)


def publish(place: Scene, topic: str, made: list[tuple[bytes, list[tuple[str, bytes]]]]) -> None:
    """As fast as the broker takes them."""
    out = load.producer(place.bootstrap)
    for key, headers in made:
        while True:
            try:
                out.produce(topic, b"{}", key, headers=headers)  # type: ignore[arg-type]
                break
            except BufferError:
                out.poll(0.05)
    if out.flush(120):
        raise TimeoutError("the broker did not take the commands in 120 s")


def main() -> int:
    """Run and print; 1 when the figure to hold isn't held."""
    parser = argparse.ArgumentParser(prog="python -m bench.entering", description=__doc__)
    parser.add_argument("--customers", type=int, default=100_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--lanes", type=int, default=8)
    parser.add_argument("--data", type=Path, default=Path("bench/results"))
    options = parser.parse_args()
    console, count = Console(), options.customers
    options.data.mkdir(parents=True, exist_ok=True)
    document = EXPERIENCE.prepare(_DOCUMENT, "0" * 32)
    run = os.urandom(3).hex()
    with (
        embedded.start(options.data, progress=lambda text: console.print(f"[dim]{text}[/dim]")) as servers,
        scene(
            servers, "engine", run, options.lanes, options.data, options.processes, documents=[document]
        ) as place,
        Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=console) as bar,
    ):
        prefix = place.commands.removesuffix("user-interactions")
        topic = f"{prefix}journeys.commands"
        place.contender.start()
        snapshots = Snapshots(place, f"{prefix}journeys.snapshots")
        console.print(f"[dim]{count:,} customers start[/dim]")
        publish(place, topic, commands(count, "start"))
        snapshots.await_standing(count, ["active_enterable"], bar)
        await_followers(conninfo.make_conninfo(servers.dsn, dbname=f"bench_{run}_engine"), options.lanes)
        console.print(f"[dim]{count:,} customers enter the queue[/dim]")
        made = commands(count, "enter_queue")
        before_s = place.contender.usage().cpu_s
        place.contender.hold()
        publish(place, topic, made)
        begun_s = time.time()
        place.contender.go()
        seconds = snapshots.await_standing(count, ["participating", "admitted"], bar) - begun_s
        cpu_us = (place.contender.usage().cpu_s - before_s) / count * 1e6
        snapshots.close()
    table = Table("", "seen", "to hold")
    table.add_row("entries/s, command to the journey's snapshot", f"{count / seconds:,.0f}", f"{_TO_HOLD:,}")
    table.add_row("CPU of the workers an entry", f"{cpu_us:,.0f} µs", "")
    console.print(table)
    return 0 if count / seconds >= _TO_HOLD else 1


if __name__ == "__main__":
    sys.exit(main())
