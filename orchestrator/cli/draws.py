"""`orchestrator draws`: proofs that a draw was fair, and checking them without trusting anybody."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.options import DATA_DIR, JSON, TABLE, Data, Output, examples, noun

if TYPE_CHECKING:
    from orchestrator.cli.output import Advance
    from orchestrator.distributions.fairness.checking import Keys, Report
    from orchestrator.distributions.fairness.receipts import Receipt

app = noun("Draws: proofs that they were fair, for anyone to check.")
Name = Annotated[
    str, typer.Argument(help="The draw: organization/r/experience.id/draw:experience:id.", metavar="DRAW")
]
_RECEIPT_BYTES_MAX = 65_536


@app.command(
    epilog=examples(
        "orchestrator draws verify proof.json",
        "orchestrator draws verify proof.json --keys jwks.json --receipt mine.json --require-beacon",
    )
)
def verify(
    file: Annotated[Path, typer.Argument(help="The proof.", exists=True, dir_okay=False, readable=True)],
    keys: Annotated[
        Path | None,
        typer.Option(
            help="The organizer's public keys: a JWK Set, or one in PEM.", exists=True, dir_okay=False
        ),
    ] = None,
    receipt: Annotated[
        list[Path] | None,
        typer.Option(help="An entrant's receipt to check against the proof.", exists=True, dir_okay=False),
    ] = None,
    require_beacon: Annotated[
        bool, typer.Option("--require-beacon", help="Fail, too, where the organizer could have steered it.")
    ] = False,
    output: Output = TABLE,
) -> None:
    """Repeat a draw from its proof, offline: nothing in the file is believed. Ends with 1 if anything is wrong."""
    from msgspec import to_builtins

    from orchestrator.cli import output as out

    data = _read(file)
    with out.progress(f"repeating {file.name}", None) as advance:
        report, told = _checked(data, keys, receipt or [], advance)
    good = report.passed and (report.operator_proof or not require_beacon)
    if output is JSON:
        out.document({**told, **to_builtins(report), "verdict": _verdict(report)})
    else:
        _show(told["draw"], report)
    raise typer.Exit(0 if good else 1)


@app.command(
    epilog=examples(
        "orchestrator draws export acme/r/shoes.main/draw:shoes:main proof.json",
        "orchestrator draws export acme/r/shoes.main/draw:shoes:main proof.json --ticket 17",
    )
)
def export(
    name: Name,
    file: Annotated[Path, typer.Argument(help="Where to write the proof.", dir_okay=False, writable=True)],
    ticket: Annotated[
        list[int] | None, typer.Option(help="Add the inclusion proof of this ticket.", min=1)
    ] = None,
    data: Data = DATA_DIR,
    output: Output = TABLE,
) -> None:
    """Write the proof of a draw that was held, or of a pre-queue's shuffle. It names no participant."""
    import msgspec

    from orchestrator.cli import connection, draw_reading
    from orchestrator.cli import output as out
    from orchestrator.distributions.draw.proof import proof_of
    from orchestrator.distributions.fairness.proof import write

    if draw_reading.is_queue(name):
        shuffle = connection.run(
            data, lambda settings, databases: draw_reading.shuffle_of(settings, databases, name)
        )
        file.write_bytes(msgspec.json.format(msgspec.json.encode(shuffle), indent=1) + b"\n")
        told = {"draw": name, "file": str(file), "tickets": len(shuffle.order)}
    else:
        state = connection.run(
            data, lambda settings, databases: draw_reading.state_of(settings, databases, name)
        )
        proof = proof_of(state, ticket or ())
        with file.open("wb") as target:
            target.writelines(write(proof))
        told = {"draw": name, "file": str(file), "entries": len(proof.entries), "root": proof.root}
    if output is JSON:
        out.document(told)
    else:
        out.facts(told)


@app.command(
    epilog=examples("orchestrator draws receipt acme/r/shoes.main/draw:shoes:main cus-1 > receipt.json")
)
def receipt(
    name: Name,
    customer: Annotated[str, typer.Argument(help="Who is in the draw.")],
    keys: Annotated[
        Path | None, typer.Option("--keys", help="Folder of the signing keys, as for grants.")
    ] = None,
    data: Data = DATA_DIR,
    output: Output = JSON,
) -> None:
    """The signed receipt of an entry, for who is in to keep; anyone can hold it against the proof."""
    import time

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from orchestrator.cli import connection, draw_reading
    from orchestrator.cli import output as out
    from orchestrator.cli.keys import store_of
    from orchestrator.distributions.draw.proof import statement_of
    from orchestrator.distributions.fairness.receipts import signed

    state = connection.run(data, lambda settings, databases: draw_reading.state_of(settings, databases, name))
    key = store_of(keys, data).load().signing(int(time.time()))
    private = key.key.private_key
    assert isinstance(private, Ed25519PrivateKey)  # no other kind is loaded
    made = signed(statement_of(state, customer), key.kid, private.sign)
    if output is JSON:
        out.document(made)
        return
    out.facts({"draw": made.statement.draw, "ticket": made.statement.ticket, "key": made.key})


@app.command(epilog=examples("orchestrator draws secret drop.secret.json"))
def secret(
    file: Annotated[Path, typer.Argument(help="A new file; keep it safe until the draw.", dir_okay=False)],
    output: Output = TABLE,
) -> None:
    """Make the secret of a draw and the key of its salts; shows the data of the command `commit`."""
    import json
    import os
    import secrets

    from orchestrator.cli import output as out
    from orchestrator.distributions.fairness.entries import KEY_BYTES
    from orchestrator.distributions.fairness.seeds import SECRET_BYTES, commitment

    made = secrets.token_bytes(SECRET_BYTES)
    commit = {"commitment": commitment(made).hex(), "salt_key": secrets.token_hex(KEY_BYTES)}
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as target:
        json.dump({"secret": made.hex(), **commit}, target)
    if output is JSON:
        out.document(commit)
        return
    out.facts({"file": str(file), "commit with": commit, "reveal with": "the secret in the file, by `draw`"})


def _read(file: Path) -> bytes:
    from orchestrator.distributions.fairness.proof import BYTES_MAX, InvalidProof

    if file.stat().st_size > BYTES_MAX:
        raise InvalidProof(f"{file} is larger than {BYTES_MAX:,} bytes: that is no proof of a draw")
    return file.read_bytes()


def _checked(
    data: bytes, keys: Path | None, receipts: list[Path], advance: "Advance"
) -> "tuple[Report, dict[str, Any]]":
    """The report, and what the file is about."""
    from orchestrator.cli import draw_keys
    from orchestrator.distributions.fairness import checking, proof, shuffle

    if shuffle.is_shuffle(data):
        found = shuffle.read(data)
        total = len(found.order)
        report = shuffle.check(found, progress=lambda done: advance(done, total=total))
        return report, {"draw": found.queue, "format": found.format}
    read = proof.read(data)
    more = [_read_receipt(path) for path in receipts]
    known: Keys | None = draw_keys.load(keys) if keys else draw_keys.of(read.keys) if read.keys else None
    total = 2 * len(read.entries)
    report = checking.check(read, known, receipts=more, progress=lambda done: advance(done, total=total))
    if known is not None and keys is None and (more or read.receipts):
        said = "they come from the file itself: compare them with the organizer's, or give --keys"
        report.findings.append(checking.Finding("keys", "warning", said))
    return report, {"draw": read.terms.draw, "format": read.format}


def _read_receipt(path: Path) -> "Receipt":
    import msgspec

    from orchestrator.distributions.fairness.proof import InvalidProof
    from orchestrator.distributions.fairness.receipts import Receipt

    with path.open("rb") as file:
        data = file.read(_RECEIPT_BYTES_MAX)
    try:
        return msgspec.json.decode(data, type=Receipt)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidProof(f"{path} is no receipt of a draw: {error}") from error


def _verdict(report: "Report") -> str:
    from orchestrator.distributions.fairness.checking import NOT_OPERATOR_PROOF

    if not report.passed:
        return "WRONG: this is not how the draw went, or not how it should have"
    if not report.operator_proof:
        return f"consistent, but {NOT_OPERATOR_PROOF}"
    return "consistent and operator-proof, if the beacon's value is the one that its source published"


def _show(draw: str, report: "Report") -> None:
    from orchestrator.cli import output as out

    rows = [(finding.check, finding.status, finding.detail) for finding in report.findings]
    out.table(("check", "result", "what was found"), rows, title=draw)
    shown: dict[str, Any] = {"entries": report.entries}
    if report.winners:
        shown["winners"] = _some(report.winners)
    if report.replacements:
        shown["replacements"] = _some(report.replacements)
    out.facts({**shown, "verdict": _verdict(report)})


def _some(tickets: list[int]) -> str:
    shown = ", ".join(str(ticket) for ticket in tickets[:10])
    return (
        f"tickets {shown} and {len(tickets) - 10:,} more"
        if len(tickets) > 10
        else f"tickets {shown or 'none'}"
    )
