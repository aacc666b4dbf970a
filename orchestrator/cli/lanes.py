"""`orchestrator lanes`: how far each lane is, and what an operator may ask of it."""

import asyncio
from typing import Annotated, Any

import typer

from orchestrator.cli.options import DATA_DIR, JSON, TABLE, Data, Output, examples, noun

app = noun("Lanes: the shares of all owners, each one Kafka partition and one PostgreSQL schema.")
Lane = Annotated[int | None, typer.Argument(help="A lane's number.", min=0)]
All = Annotated[bool, typer.Option("--all", help="Every lane.")]
_COLUMNS = ("lane", "state", "owner", "position", "lag", "timers", "next_due_ms", "followers_lag")
_LATE_POSITIONS = {
    "dead_letters": 10_000,
    "flow_analytics": 10_000,
}  # followers that save their position only every so many events
_TIMERS = "SELECT count(*) AS timers, min(due_ms) AS next_due_ms FROM {lane}.timers"


@app.command("list", epilog=examples("orchestrator lanes list", "orchestrator lanes list -o json"))
def list_(data: Data = DATA_DIR, output: Output = TABLE) -> None:
    """Position, lag, owner, timers and followers of each lane."""
    from orchestrator.cli import connection, queries
    from orchestrator.cli import output as out

    async def work(settings: Any, databases: Any) -> list[dict[str, Any]]:
        return await status(settings, queries.Installation(settings, databases))

    found = connection.run(data, work)
    if output is JSON:
        out.document(found)
        return
    for row in found:
        behind = {name: lag for name, lag in row["followers"].items() if lag > _LATE_POSITIONS.get(name, 0)}
        row["followers_lag"] = ", ".join(f"{name} {lag:,}" for name, lag in behind.items()) or "none"
    out.rows(_COLUMNS, found, output)


@app.command(
    epilog=examples(
        'orchestrator lanes pause 3 --reason "provider is down"',
        "orchestrator lanes pause --all --reason upgrade",
    )
)
def pause(
    reason: Annotated[str, typer.Option("--reason", help="Why; recorded in the lane's log.")],
    lane: Lane = None,
    all_: All = False,
    data: Data = DATA_DIR,
    output: Output = TABLE,
) -> None:
    """Decide nothing and fire no timer until resumed; commands wait in Kafka."""
    _ask_lanes("pause", lane, all_, {"reason": reason}, data, output)


@app.command(epilog=examples("orchestrator lanes resume 3", "orchestrator lanes resume --all"))
def resume(lane: Lane = None, all_: All = False, data: Data = DATA_DIR, output: Output = TABLE) -> None:
    """Decide again."""
    _ask_lanes("resume", lane, all_, {}, data, output)


@app.command(
    epilog=examples(
        "orchestrator lanes rebase 3 --topic journeys.commands",
        "orchestrator lanes rebase 3 --topic user-interactions --to 1200",
    )
)
def rebase(
    lane: Annotated[int, typer.Argument(help="A lane's number.", min=0)],
    topic: Annotated[str, typer.Option(help="One of the two topics that lanes read.")],
    to: Annotated[
        str, typer.Option(help="The offset to read next: earliest, latest, or a number.")
    ] = "earliest",
    reason: Annotated[
        str, typer.Option("--reason", help="Why; recorded in the lane's log.")
    ] = "an operator asked for it",
    data: Data = DATA_DIR,
    output: Output = TABLE,
) -> None:
    """Read a topic on from elsewhere. Reading again is safe (keys decide once); what is skipped is lost."""
    from orchestrator.cli import connection, kafka, queries
    from orchestrator.cli import output as out
    from orchestrator.cli.asking import ask

    if to not in ("earliest", "latest") and not to.isdigit():
        raise typer.BadParameter("--to is earliest, latest or an offset")

    async def work(settings: Any, databases: Any) -> dict[str, Any]:
        installation = queries.Installation(settings, databases)
        _require_lane(installation, lane)
        read = (settings.topic("commands"), settings.topic("raw"))
        if topic not in read:
            raise typer.BadParameter(f"--topic is {read[0]} or {read[1]}")
        log = (await kafka.logs(settings, [topic], installation.lanes))[(topic, lane)]
        offset = {"earliest": log.first, "latest": log.end}.get(to, int(to) if to.isdigit() else 0)
        if not log.first <= offset <= log.end:
            raise queries.NotFound(
                f"{topic}[{lane}] reaches from {log.first} to {log.end}: --to {offset} lies outside"
            )
        data = {"topic": topic, "resumes_after": offset - 1, "reason": reason}
        return {
            "lane": lane,
            "topic": topic,
            "reads_next": offset,
            "answer": await ask(installation, lane, "rebase", data),
        }

    answer = connection.run(data, work)
    out.rows(("lane", "topic", "reads_next", "answer"), [answer], output)
    if answer["answer"].startswith("refused"):
        raise typer.Exit(1)


async def status(settings: Any, installation: Any) -> list[dict[str, Any]]:
    """Every lane as database and broker see it. Raises KafkaError, PersistenceError."""
    from orchestrator.cli import kafka
    from orchestrator.engine.positions import LOG, OUT, log_detail

    topics = (settings.topic("commands"), settings.topic("raw"))
    off = set() if settings.analytics_dir else {"parquet"}
    group = await kafka.group(settings, settings.group)
    logs = await kafka.logs(settings, topics, installation.lanes)
    timers = {row["lane"]: row for row in await asyncio.to_thread(installation.rows, _TIMERS)}
    found = []
    for lane in range(installation.lanes):
        positions = await asyncio.to_thread(installation.store(lane).positions)
        detail = log_detail(positions[LOG].detail)
        read = {topic: positions[f"in:{topic}"].at for topic in topics if f"in:{topic}" in positions}
        owner = group.owners.get((topics[0], lane))
        found.append({
            "lane": lane,
            "state": "paused" if detail.paused else "owned" if owner else "no owner",
            "owner": owner,
            "position": positions[LOG].at,
            "lane_time_ms": detail.lane_ms or None,
            "topics": {
                topic: {"handled": at, "first": logs[(topic, lane)].first, "end": logs[(topic, lane)].end}
                for topic, at in read.items()
            },
            "lag": sum(max(0, logs[(topic, lane)].end - 1 - at) for topic, at in read.items()),
            "timers": timers[lane]["timers"],
            "next_due_ms": timers[lane]["next_due_ms"],
            "followers": {
                name.removeprefix(OUT): max(0, positions[LOG].at - at.at)
                for name, at in sorted(positions.items())
                if name.startswith(OUT) and name.removeprefix(OUT) not in off
            },
        })  # fmt: skip
    return found


def _ask_lanes(
    request: str, lane: int | None, every: bool, extra: dict[str, str], data: Any, output: Any
) -> None:
    from orchestrator.cli import connection, queries
    from orchestrator.cli import output as out
    from orchestrator.cli.asking import ask

    if (lane is None) != every:
        raise typer.BadParameter("give a lane's number, or --all")

    async def work(settings: Any, databases: Any) -> list[dict[str, Any]]:
        installation = queries.Installation(settings, databases)
        wanted = range(installation.lanes) if lane is None else (_require_lane(installation, lane),)
        answers = await asyncio.gather(*(ask(installation, number, request, extra) for number in wanted))
        return [{"lane": number, "answer": answer} for number, answer in zip(wanted, answers, strict=True)]

    out.rows(("lane", "answer"), connection.run(data, work), output)


def _require_lane(installation: Any, lane: int) -> int:
    from orchestrator.cli.queries import NotFound

    if lane >= installation.lanes:
        raise NotFound(f"there is no lane {lane}: this installation has lanes 0 to {installation.lanes - 1}")
    return lane
