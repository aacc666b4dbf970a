"""`orchestrator keys`: the keys that sign grants. Private parts are never printed."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.options import DATA_DIR, TABLE, Data, Output, Yes, examples, noun

if TYPE_CHECKING:
    from orchestrator.grants.keys import GrantKey
    from orchestrator.grants.keystore import KeyStore

app = noun("Keys that sign grants: made, listed, rotated, and published as a JWK set.")
Keys = Annotated[
    Path | None,
    typer.Option(
        "--keys", help="Folder of the keys; else ORCHESTRATOR_GRANTS_KEYS_DIR, else grant-keys in --data."
    ),
]
FOLDER = "grant-keys"
_COLUMNS = ("kid", "state", "from_ms", "until_ms", "private")
_PUBLISH_FIRST_S = 600


@app.command(epilog=examples("orchestrator keys generate", "orchestrator keys generate --keys /etc/grants"))
def generate(keys: Keys = None, data: Data = DATA_DIR, output: Output = TABLE) -> None:
    """Make the first key; it signs at once. Only its owner may read the file."""
    from orchestrator.cli import output as out

    now_s = int(time.time())
    key = store_of(keys, data).generate(now_s)
    out.rows(_COLUMNS, [_row(key, now_s, key.kid)], output)


@app.command("list", epilog=examples("orchestrator keys list -o json"))
def list_(keys: Keys = None, data: Data = DATA_DIR, output: Output = TABLE) -> None:
    """Every key, oldest first: which signs now, which only validates, which comes, which has ended."""
    from orchestrator.cli import output as out
    from orchestrator.core.errors import ConfigurationError

    now_s = int(time.time())
    found = store_of(keys, data).load()
    try:
        signing = found.signing(now_s).kid
    except ConfigurationError:
        signing = ""
    out.rows(_COLUMNS, [_row(key, now_s, signing) for key in found], output, empty="no keys")


@app.command(epilog=examples("orchestrator keys rotate", "orchestrator keys rotate --after 0"))
def rotate(
    after_s: Annotated[
        int,
        typer.Option(
            "--after", help="Seconds until the new key signs, for caches of the key set.", min=0, max=604_800
        ),
    ] = _PUBLISH_FIRST_S,
    keys: Keys = None,
    data: Data = DATA_DIR,
    output: Output = TABLE,
) -> None:
    """Add the next key. The present one signs until that begins and validates until its last token is over."""
    from orchestrator.cli import output as out

    now_s = int(time.time())
    done = store_of(keys, data).rotate(now_s, begins_s=now_s + after_s)
    signing = "" if after_s else done.new.kid
    out.rows(_COLUMNS, [_row(key, now_s, signing) for key in (*done.retiring, done.new)], output)
    for kid in done.removed:
        out.say(f"removed {kid}, which had ended")
    for kid in done.untouched:
        out.say(f"{kid} is a PEM without an end: remove it once its tokens are over")


@app.command(epilog=examples("orchestrator keys remove KID --yes"))
def remove(
    kid: Annotated[str, typer.Argument(metavar="KID", help="As `keys list` shows it.")],
    yes: Yes = False,
    keys: Keys = None,
    data: Data = DATA_DIR,
    output: Output = TABLE,
) -> None:
    """Forget a key at once, as after a theft: every token it signed stops counting."""
    from orchestrator.cli import output as out

    if not yes:
        typer.confirm(f"Forget {kid}? Tokens it signed stop counting", abort=True, err=True)
    store_of(keys, data).remove(kid)
    out.rows(("kid", "removed"), [{"kid": kid, "removed": True}], output)


@app.command("jwks", epilog=examples("orchestrator keys jwks > jwks.json"))
def jwks_(keys: Keys = None, data: Data = DATA_DIR) -> None:
    """The public keys as a JWK set, for servers that validate grants by themselves."""
    from orchestrator.cli import output as out
    from orchestrator.grants.jwks import jwks

    out.document(jwks(store_of(keys, data).load(), int(time.time())))


def store_of(keys: Path | None, data: Path, settings: Any = None) -> "KeyStore":
    """The key store that options and settings name. Raises ConfigurationError."""
    from orchestrator.cli.connection import load_settings
    from orchestrator.grants.keystore import KeyStore

    if keys is not None:
        return KeyStore(keys)
    settings = settings or load_settings()
    if settings.grants_keys_dir:
        return KeyStore(Path(settings.grants_keys_dir), settings.grants_keys)
    return KeyStore(None, settings.grants_keys) if settings.grants_keys else KeyStore(data / FOLDER)


def _row(key: "GrantKey", now_s: int, signing: str) -> dict[str, Any]:
    if not key.counts(now_s):
        state = "ended"
    elif key.kid == signing:
        state = "signs"
    elif key.from_s > now_s:
        state = "comes"
    else:
        state = "validates"
    until_ms = None if key.until_s is None else key.until_s * 1000
    return {
        "kid": key.kid, "state": state, "from_ms": key.from_s * 1000, "until_ms": until_ms, "private": key.signs,
    }  # fmt: skip
