"""`orchestrator up`, `init`, `worker`, `fetch`, `env`, `version`: what runs, and where it is reached."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.options import DATA_DIR, JSON, TABLE, Data, Output, Role, examples

if TYPE_CHECKING:
    from orchestrator.settings import Settings
    from orchestrator.supervisor import Supervisor

Processes = Annotated[
    int, typer.Option("--processes", "-p", help="Worker processes; they share the lanes.", min=1, max=64)
]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command(epilog=examples("orchestrator up", "orchestrator up --data /var/tmp/journeys --show-dsn"))(up)
    app.command(
        epilog=examples(
            "KAFKA_BOOTSTRAP_SERVERS=broker:9092 DATABASE_URL=postgresql://… orchestrator init",
            "orchestrator init -o json",
        )
    )(init)
    app.command(epilog=examples("orchestrator worker", "orchestrator worker --processes 2 --role lanes"))(
        worker
    )
    app.command(epilog=examples("orchestrator fetch"))(fetch)
    app.command(epilog=examples('eval "$(orchestrator env)"', "orchestrator env -o json"))(env)
    app.command(epilog=examples("orchestrator version -o json"))(version)


def up(
    processes: Processes = 1,
    show_dsn: Annotated[
        bool, typer.Option("--show-dsn", help="Print the database's address with its password.")
    ] = False,
    data: Data = DATA_DIR,
    output: Output = TABLE,
) -> None:
    """Kafka, PostgreSQL and workers in one process tree, until Ctrl-C. Yours are used where the environment names them."""
    from orchestrator.cli import output as out
    from orchestrator.cli.connection import connected
    from orchestrator.cli.processes import heed_termination, supervise, worker_children

    heed_termination()
    with connected(data, make=True, tell=out.say) as settings:
        asyncio.run(_init(settings))
        children, addresses = worker_children(settings, processes, Role.ALL)
        shown = {
            "kafka": settings.kafka_bootstrap_servers,
            "database": settings.database_url if show_dsn else without_password(settings.database_url),
            "data_folder": str(data.absolute()) if data.exists() else None,
            "workers": addresses,
        }

        def ready(_supervisor: "Supervisor") -> None:
            if output is JSON:
                out.json_line(shown)
                return
            out.facts({name: value for name, value in shown.items() if value})
            out.say("Ready. Ctrl-C stops everything; in another terminal: orchestrator journeys list")

        asyncio.run(supervise(children, addresses, on_ready=ready))


def init(data: Data = DATA_DIR, output: Output = TABLE) -> None:
    """Make tables, lanes and topics; what exists is left as it is. The number of lanes is fixed from here on."""
    from orchestrator.cli import output as out
    from orchestrator.cli.connection import connected

    with connected(data) as settings:
        made = asyncio.run(_init(settings))
    answer = {"lanes": len(made["lanes"]), "topics_made": list(made["topics"])}
    if output is JSON:
        out.document(answer)
    else:
        out.facts(
            {"lanes": answer["lanes"], "topics_made": ", ".join(made["topics"]) or "none, all were there"}
        )


def worker(
    processes: Processes = 1,
    role: Annotated[Role, typer.Option(help="Lanes, effects, or both.")] = Role.ALL,
    data: Data = DATA_DIR,
) -> None:
    """Decide commands and perform effects until stopped; a process that dies is started again."""
    from orchestrator.cli.connection import connected
    from orchestrator.cli.processes import heed_termination, supervise, worker_children

    heed_termination()
    with connected(data) as settings:
        children, addresses = worker_children(settings, processes, role, free_ports=False)
        asyncio.run(supervise(children, addresses))


def fetch() -> None:
    """Download what the embedded servers need, once: the broker's jars, and a Java where none is found."""
    from orchestrator.cli import output as out
    from orchestrator.embedded.__main__ import fetch as fetch_all

    fetch_all(out.say)


def env(
    data: Data = DATA_DIR,
    output: Output = TABLE,
) -> None:
    """The addresses of Kafka and PostgreSQL, password included, as shell variables."""
    import shlex

    from orchestrator.cli import output as out
    from orchestrator.cli.connection import connected, load_settings

    given = load_settings()
    with connected(data) as settings:
        if not given.database_url:
            out.say("these servers run while `orchestrator up` (or another command) does")
        found = {
            "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
            "DATABASE_URL": settings.database_url,
        }
    if output is JSON:
        out.document(found)
    else:
        for name, value in found.items():
            typer.echo(f"export {name}={shlex.quote(value)}")


def version(output: Output = TABLE) -> None:
    """This release, and what it was built on."""
    import platform
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    from orchestrator import __version__
    from orchestrator.cli import output as out

    found: dict[str, Any] = {"orchestrator": __version__, "python": platform.python_version()}
    for package in ("aiokafka", "eventsourcing", "psycopg", "msgspec"):
        try:
            found[package] = installed(package)
        except PackageNotFoundError:
            found[package] = "missing"
    if output is JSON:
        out.document(found)
    else:
        out.facts(found)


def without_password(dsn: str) -> str:
    """The address for people: the password is replaced by stars."""
    from psycopg import conninfo

    parts = conninfo.conninfo_to_dict(dsn)
    host = f"{parts.get('host', '')}:{parts.get('port', 5432)}"
    return f"postgresql://{parts.get('user', '')}:***@{host}/{parts.get('dbname', '')}"


async def _init(settings: "Settings") -> Any:
    from orchestrator.cli.connection import with_databases
    from orchestrator.installation import init as make

    return await with_databases(settings, make)
