"""Every command of the program, by noun."""

import typer

from orchestrator.cli import (
    bulk,
    commands,
    definitions,
    demo,
    dlq,
    doctor,
    draws,
    flows,
    grants,
    history,
    journeys,
    keys,
    lanes,
    messages,
    replay,
    servers,
    tickets,
)
from orchestrator.cli.options import examples

app = typer.Typer(
    name="orchestrator",
    help="Customer journeys, decided once: commands on Kafka in, events in PostgreSQL, every consequence told.",
    epilog=examples(
        "orchestrator demo",
        "orchestrator up",
        "orchestrator journeys list --state CHECKOUT",
        "orchestrator doctor",
    ),
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=True,
)
for module in (servers, demo, history, replay, doctor):
    module.register(app)
NOUNS = (
    ("definitions", definitions),
    ("commands", commands),
    ("journeys", journeys),
    ("flows", flows),
    ("bulk", bulk),
    ("messages", messages),
    ("grants", grants),
    ("tickets", tickets),
    ("keys", keys),
    ("draws", draws),
    ("dlq", dlq),
    ("lanes", lanes),
)
for name, module in NOUNS:
    app.add_typer(module.app, name=name)
