"""`orchestrator grants`: whether a grant counts, and using it or taking it back."""

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.keys import Keys, store_of
from orchestrator.cli.options import DATA_DIR, JSON, TABLE, Data, Organization, Output, examples, noun

if TYPE_CHECKING:
    from orchestrator.core.addresses import Stream
    from orchestrator.core.events import Event
    from orchestrator.grants.claims import GrantClaims
    from orchestrator.grants.keys import GrantKeys

app = noun(
    "Grants: tokens that say who may go on. They are secrets: give them on standard input or in a file."
)
Token = Annotated[
    str, typer.Argument(help="The token, or - for standard input (arguments show in lists of processes).")
]
File = Annotated[Path | None, typer.Option("--file", "-f", help="A file that holds the token.")]
Experience = Annotated[
    str, typer.Option("--experience", "-e", help="Only a grant for this experience counts.")
]
Audience = Annotated[str, typer.Option(help="Who the token is for; else ORCHESTRATOR_GRANTS_AUDIENCE.")]
Issuer = Annotated[str, typer.Option(help="Who signed it; else ORCHESTRATOR_GRANTS_ISSUER.")]
Jwks = Annotated[Path | None, typer.Option("--jwks", help="Public keys as a JWK set, instead of --keys.")]
Id = Annotated[str, typer.Option("--id", help="The idempotency key: a repeat gets the first answer.")]
Source = Annotated[str, typer.Option(help="Who asks; ids are unique in it.")]
Timeout = Annotated[float, typer.Option("--timeout", help="Seconds to wait for the outcome.", min=1)]
STDIN = "-"
_SOURCE = "orchestrator-cli"
_WAIT_S = 30.0
_EVENTS = (
    "SELECT topic, state FROM {lane}.stored_events WHERE originator_id = %s AND topic = ANY(%s)"
    " ORDER BY originator_version"
)


@app.command(
    epilog=examples(
        "orchestrator grants validate - < token", "orchestrator grants validate --file token --online -o json"
    )
)
def validate(
    token: Token = STDIN,
    file: File = None,
    organization: Organization = "",
    experience: Experience = "",
    audience: Audience = "",
    issuer: Issuer = "",
    online: Annotated[
        bool, typer.Option("--online", help="Also ask the log: neither used nor taken back?")
    ] = False,
    jwks: Jwks = None,
    keys: Keys = None,
    data: Data = DATA_DIR,
    output: Output = TABLE,
) -> None:
    """Whether a token counts: signature, audience, organization, time. Ends with 1, naming why, if it doesn't."""
    from orchestrator.cli import output as out
    from orchestrator.grants.validation import GrantRefused

    text = read_token(token, file)
    try:
        claims = _validated(text, organization, experience, audience, issuer, jwks, keys, data)
        if online:
            _ask_the_log(claims, data)
    except GrantRefused as refused:
        if output is JSON:
            out.document({"counts": False, "reason": refused.reason})
            raise typer.Exit(1) from None
        raise
    _tell(claims, output, counts=True)


@app.command(epilog=examples("orchestrator grants redeem - --id order-17 --reference order-17 < token"))
def redeem(
    token: Token = STDIN,
    file: File = None,
    id_: Id = "",
    reference: Annotated[str, typer.Option(help="What it is used for, such as an order's number.")] = "",
    organization: Organization = "",
    experience: Experience = "",
    audience: Audience = "",
    issuer: Issuer = "",
    source: Source = _SOURCE,
    timeout_s: Timeout = _WAIT_S,
    jwks: Jwks = None,
    keys: Keys = None,
    data: Data = DATA_DIR,
    output: Output = TABLE,
) -> None:
    """Use a grant: once, whoever asks how often. Ends with 1, naming why, unless this id has used it."""
    if not id_:
        raise typer.BadParameter("give --id: with the same id a repeat after a broken connection is safe")
    claims = _validated(read_token(token, file), organization, experience, audience, issuer, jwks, keys, data)
    told = {"jti": claims.jti, "reference": reference} if reference else {"jti": claims.jti}
    _send(data, claims.stream.text, "redeem", told, id_, source, timeout_s, output)


@app.command(
    epilog=examples(
        "orchestrator grants revoke - --reason 'bought by a robot' < token",
        "orchestrator grants revoke --stream acme/r/shoes.vip/queue:shoes:vip --jti 3f2a --reason 'sold twice'",
    )
)
def revoke(
    token: Token = STDIN,
    file: File = None,
    reason: Annotated[str, typer.Option(help="Why; kept in the log.")] = "",
    stream: Annotated[str, typer.Option(help="Without a token: the distribution's address.")] = "",
    jti: Annotated[str, typer.Option(help="Without a token: the grant's id.")] = "",
    id_: Id = "",
    organization: Organization = "",
    audience: Audience = "",
    issuer: Issuer = "",
    source: Source = _SOURCE,
    timeout_s: Timeout = _WAIT_S,
    jwks: Jwks = None,
    keys: Keys = None,
    data: Data = DATA_DIR,
    output: Output = TABLE,
) -> None:
    """Take a grant back before it is used. Its holder's journey is told that the admission is over."""
    if not reason:
        raise typer.BadParameter("give --reason")
    if bool(stream) != bool(jti):
        raise typer.BadParameter("--stream and --jti belong together")
    if not jti:
        claims = _validated(read_token(token, file), organization, "", audience, issuer, jwks, keys, data)
        stream, jti = claims.stream.text, claims.jti
    _send(
        data,
        stream,
        "revoke",
        {"jti": jti, "reason": reason},
        id_ or f"revoke-{jti}",
        source,
        timeout_s,
        output,
    )


def read_token(token: str, file: Path | None) -> str:
    """The token of the argument, of standard input, or of a file; never more of them than a token may have."""
    from orchestrator.grants.claims import TOKEN_BYTES_MAX

    if token != STDIN:
        if file is not None:
            raise typer.BadParameter("give TOKEN or --file")
        return token
    try:
        if file is None:
            raw = sys.stdin.buffer.read(TOKEN_BYTES_MAX + 2)
        else:
            with file.open("rb") as opened:
                raw = opened.read(TOKEN_BYTES_MAX + 2)
    except OSError as error:
        raise typer.BadParameter(f"{file or 'standard input'} can't be read: {error.strerror}") from error
    return raw.decode(errors="replace").strip()


def _validated(
    token: str,
    organization: str,
    experience: str,
    audience: str,
    issuer: str,
    jwks: Path | None,
    keys: Path | None,
    data: Path,
) -> "GrantClaims":
    from orchestrator.cli.connection import load_settings
    from orchestrator.grants.settings import GrantSettings
    from orchestrator.grants.validation import Expected
    from orchestrator.grants.validation import validate as validated

    settings = load_settings()
    grants = GrantSettings.of(settings).named(issuer, audience)
    expected = Expected(
        issuer=grants.issuer,
        audience=grants.audience,
        organization=organization or settings.default_organization,
        experience=experience or None,
        clock_skew_s=grants.clock_skew_s,
    )
    found = store_of(keys, data, settings).load() if jwks is None else public_keys(jwks)
    return validated(token, found, expected, int(time.time()))


def public_keys(file: Path) -> "GrantKeys":
    """The keys of a JWK set in a file. Raises BadParameter or ConfigurationError, naming it."""
    from orchestrator.grants.keys import GrantKeys, from_text

    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise typer.BadParameter(f"{file} can't be read: {error.strerror}") from error
    return GrantKeys(from_text(text, str(file)))


def _ask_the_log(claims: "GrantClaims", data: Path) -> None:
    """Raises GrantRefused unless the grant lives."""
    from orchestrator.cli import connection, queries
    from orchestrator.grants.status import LogGrantStatus, require_live

    async def work(settings: Any, databases: Any) -> None:
        installation = queries.Installation(settings, databases)

        async def events(stream: "Stream") -> "list[Event]":
            return await asyncio.to_thread(_admission_events, installation, stream)

        status = LogGrantStatus(events, lambda: int(time.time() * 1000))
        require_live(await status.standing(claims))

    connection.run(data, work)


def _admission_events(installation: Any, stream: "Stream") -> "list[Event]":
    """What the log says of a distribution's grants, and nothing else of it."""
    from orchestrator.distributions.admissions import ADMISSION_EVENTS
    from orchestrator.engine.codec import Codec

    codec = Codec(ADMISSION_EVENTS)
    names = [event.NAME for event in ADMISSION_EVENTS]
    lanes = [installation.lane_of(stream)]
    rows = installation.rows(_EVENTS, (stream.id, names), lanes=lanes)
    return [codec.decode(row["topic"], bytes(row["state"]), _no_key).data for row in rows]


def _no_key(subject: str) -> bytes:
    raise KeyError(subject)


def _send(
    data: Path,
    stream: str,
    type_: str,
    told: dict[str, Any],
    id_: str,
    source: str,
    timeout_s: float,
    output: Any,
) -> None:
    """Publish a command and tell its outcome; ends with 1 unless it was applied."""
    import msgspec

    from orchestrator.cli import output as out
    from orchestrator.cli.connection import connected
    from orchestrator.cli.envelopes import defaults, one
    from orchestrator.feeding import Feeder

    body = msgspec.json.encode(told).decode()
    message = one(
        {"subject": stream, "type": type_, "data": body, "id": id_, "source": source}, backfill=False
    )
    outcomes: list[dict[str, Any]] = []

    async def work(settings: Any) -> None:
        async with Feeder(settings, stall_s=timeout_s) as feeder:
            feeder.on_outcome = lambda outcome: outcomes.append(defaults(outcome))
            await feeder.send(message)
            await feeder.drain()

    with connected(data) as settings:
        asyncio.run(work(settings))
    (outcome,) = outcomes
    if output is JSON:
        out.document(outcome)
    else:
        out.facts({name: value for name, value in outcome.items() if value not in (None, "", {})})
    if outcome["outcome"] != "applied":
        raise typer.Exit(1)


def _tell(claims: "GrantClaims", output: Any, *, counts: bool) -> None:
    import msgspec

    from orchestrator.cli import output as out

    found = {"counts": counts, **msgspec.to_builtins(claims)}
    if output is JSON:
        out.document(found)
        return
    for name in ("iat", "nbf", "exp"):
        found[name] = out.instant(found[name] * 1000)
    out.facts(found)
