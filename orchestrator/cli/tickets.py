"""`orchestrator tickets`: numbers of queues, signed for who holds them, and the document that tells where they stand."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.grants import STDIN, File, Issuer, Jwks, public_keys, read_token
from orchestrator.cli.journeys import Definition
from orchestrator.cli.keys import Keys, store_of
from orchestrator.cli.options import DATA_DIR, JSON, TABLE, Data, Organization, Output, examples, noun

if TYPE_CHECKING:
    from orchestrator.grants.tickets import TicketClaims

app = noun(
    "Tickets: numbers of queues as signed tokens, and the one document from which a page finds its place."
)
Token = Annotated[
    str, typer.Argument(help="The token, or - for standard input (arguments show in lists of processes).")
]
Experience = Annotated[
    str, typer.Option("--experience", "-e", help="Only a ticket for this experience counts.")
]
Audience = Annotated[
    str, typer.Option(help="Who tickets are for; else ORCHESTRATOR_GRANTS_AUDIENCE and :tickets behind it.")
]
_SERVING_BYTES_MAX = 65_536
_LONG = {"blocks", "keys", "pace"}


@app.command(
    epilog=examples(
        "orchestrator tickets show acme/c/cus-1/experience:shoes",
        "orchestrator tickets show cus-1 --definition experience:shoes -o json",
    )
)
def show(
    name: Annotated[
        str,
        typer.Argument(
            help="The journey: organization/c/customer/experience:id, or a customer's id.", metavar="STREAM"
        ),
    ],
    definition: Definition = "",
    organization: Organization = "",
    audience: Audience = "",
    issuer: Issuer = "",
    keys: Keys = None,
    data: Data = DATA_DIR,
    output: Output = TABLE,
) -> None:
    """Sign the ticket of a customer who waits in a queue. Ends with 1 for who doesn't."""
    from msgspec import to_builtins

    from orchestrator.cli import connection, queries
    from orchestrator.cli import output as out
    from orchestrator.grants.settings import GrantSettings
    from orchestrator.grants.tickets import Ticket, TicketSettings, issue_ticket, ticket_of

    async def work(settings: Any, databases: Any) -> tuple[Ticket, str]:
        grants = GrantSettings.of(settings).named(issuer, "")
        signs, found = TicketSettings.of(grants, audience), store_of(keys, data, settings).load()
        installation = queries.Installation(settings, databases)
        stream = queries.journey_stream(settings, installation, name, definition, organization)
        lane = await installation.open(installation.lane_of(stream))
        (capture,) = await lane.committed_captures([stream])
        if not capture.version:
            raise queries.NotFound(f"no journey {stream.text}: see `orchestrator journeys list`")
        ticket = ticket_of(stream, capture.state)
        return ticket, issue_ticket(ticket, found, signs, int(time.time()))

    ticket, token = connection.run(data, work)
    if output is JSON:
        out.document({**to_builtins(ticket), "token": token})
        return
    out.facts(to_builtins(ticket))
    out.console().print(token, soft_wrap=True)


@app.command(
    epilog=examples(
        "orchestrator tickets validate - < ticket",
        "orchestrator tickets validate --file ticket --jwks jwks.json --experience shoes -o json",
    )
)
def validate(
    token: Token = STDIN,
    file: File = None,
    organization: Organization = "",
    experience: Experience = "",
    audience: Audience = "",
    issuer: Issuer = "",
    jwks: Jwks = None,
    keys: Keys = None,
    data: Data = DATA_DIR,
    output: Output = TABLE,
) -> None:
    """Whether a ticket is ours, offline: signature, audience, organization, time. Ends with 1, naming why, if it isn't."""
    from msgspec import to_builtins

    from orchestrator.cli import output as out
    from orchestrator.grants.tickets import TicketRefused

    text = read_token(token, file)
    try:
        claims = _validated(text, organization, experience, audience, issuer, jwks, keys, data)
    except TicketRefused as refused:
        if output is JSON:
            out.document({"counts": False, "reason": refused.reason})
            raise typer.Exit(1) from None
        raise
    found = {"counts": True, **to_builtins(claims)}
    if output is JSON:
        out.document(found)
        return
    out.facts({**found, **{at: out.instant(found[at] * 1000) for at in ("iat", "exp")}})


@app.command(
    epilog=examples(
        "orchestrator tickets serving acme/r/shoes.vip/queue:shoes:vip",
        "orchestrator tickets serving acme/r/shoes.vip/queue:shoes:vip -o json > serving.json",
    )
)
def serving(
    name: Annotated[
        str,
        typer.Argument(
            help="The queue: organization/r/experience.id/queue:experience:id.", metavar="DISTRIBUTION"
        ),
    ],
    data: Data = DATA_DIR,
    output: Output = TABLE,
) -> None:
    """The one document of a queue, the same for everybody: from it and a ticket each page finds its own place."""
    from orchestrator.cli import connection, queries
    from orchestrator.cli import output as out
    from orchestrator.core.addresses import parse_stream
    from orchestrator.core.errors import Malformed
    from orchestrator.distributions.queue import QUEUE

    stream = parse_stream(name)
    if stream.kind != QUEUE.name:
        raise Malformed(
            f"{name} is no queue: its address reads organization/r/experience.id/queue:experience:id"
        )

    async def work(settings: Any, databases: Any) -> dict[str, Any]:
        installation = queries.Installation(settings, databases)
        lane = await installation.open(installation.lane_of(stream))
        (capture,) = await lane.committed_captures([stream])
        if not capture.version or capture.state is None:
            raise queries.NotFound(f"no queue {name}: nothing has happened there")
        found: dict[str, Any] = QUEUE.view(capture.state)["now_serving"]
        return found

    document = connection.run(data, work)
    if output is JSON:
        out.document(document)
        return
    shown = {field: value for field, value in document.items() if field not in _LONG}
    pace = document["pace"]
    shown["blocks"] = len(document["blocks"])
    shown["pace"] = f"{pace['admitted']:,} in {pace['over_ms'] / 60_000:.1f} minutes"
    out.facts(shown)


@app.command(
    epilog=examples(
        "orchestrator tickets position --serving serving.json < ticket",
        "orchestrator tickets position --file ticket --serving serving.json --jwks jwks.json -o json",
    )
)
def position(
    document: Annotated[
        Path,
        typer.Option(
            "--serving", help="The now-serving document.", exists=True, dir_okay=False, readable=True
        ),
    ],
    token: Token = STDIN,
    file: File = None,
    organization: Organization = "",
    experience: Experience = "",
    audience: Audience = "",
    issuer: Issuer = "",
    jwks: Jwks = None,
    keys: Keys = None,
    data: Data = DATA_DIR,
    output: Output = TABLE,
) -> None:
    """Where a ticket stands, as a page computes it: by the document alone, asking nobody."""
    from msgspec import to_builtins

    from orchestrator.cli import output as out
    from orchestrator.distributions.queue.serving import place_of
    from orchestrator.grants.tickets import TicketRefused

    claims = _validated(read_token(token, file), organization, experience, audience, issuer, jwks, keys, data)
    found = _serving_of(document)
    for place in ("organization", "experience", "distribution"):
        if getattr(found, place) != getattr(claims, place):
            raise TicketRefused(place)
    told = {
        "number": claims.number,
        **to_builtins(place_of(found, claims.number)),
        "as_of_ms": found.as_of_ms,
    }
    if output is JSON:
        out.document(told)
        return
    out.facts(
        {
            "ticket": claims.number,
            "status": told["status"].replace("_", " "),
            "ahead": _between(told["ahead_low"], told["ahead_high"], str),
            "wait": _between(told["eta_low_ms"], told["eta_high_ms"], lambda ms: f"{ms / 60_000:.1f} min"),
            "as_of_ms": found.as_of_ms,
        }
    )


def _between(low: Any, high: Any, shown: Any) -> str:
    if low is None:
        return "not known"
    if high is None:
        return f"{shown(low)} or more"
    return str(shown(low)) if low == high else f"{shown(low)} to {shown(high)}"


def _serving_of(file: Path) -> Any:
    import msgspec

    from orchestrator.core.errors import Malformed
    from orchestrator.distributions.queue.serving import read_serving

    with file.open("rb") as opened:
        raw = opened.read(_SERVING_BYTES_MAX + 1)
    if len(raw) > _SERVING_BYTES_MAX:
        raise Malformed(
            f"{file} is longer than {_SERVING_BYTES_MAX:,} bytes: that is no now-serving document"
        )
    try:
        return read_serving(msgspec.json.decode(raw))
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Malformed(
            f"{file} is no JSON: write it with `orchestrator tickets serving … -o json`"
        ) from None


def _validated(
    token: str,
    organization: str,
    experience: str,
    audience: str,
    issuer: str,
    jwks: Path | None,
    keys: Path | None,
    data: Path,
) -> "TicketClaims":
    from orchestrator.cli.connection import load_settings
    from orchestrator.grants.settings import GrantSettings
    from orchestrator.grants.tickets import ExpectedTicket, TicketSettings, validate_ticket

    settings = load_settings()
    grants = GrantSettings.of(settings).named(issuer, "")
    signs = TicketSettings.of(grants, audience)
    expected = ExpectedTicket(
        issuer=signs.issuer,
        audience=signs.audience,
        organization=organization or settings.default_organization,
        experience=experience or None,
        clock_skew_s=grants.clock_skew_s,
    )
    found = store_of(keys, data, settings).load() if jwks is None else public_keys(jwks)
    return validate_ticket(token, found, expected, int(time.time()))
