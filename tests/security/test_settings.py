"""Settings that can't work are refused by name, with the cure, and without a secret."""

import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from orchestrator.app import effect_runner
from orchestrator.core.errors import ConfigurationError
from orchestrator.engine.database import parse_dsn
from orchestrator.installation import Databases
from orchestrator.settings import ENVIRONMENT, Settings, load
from tests.effects.receiver import certificate

CANARY = "canary-7c1f"
BROKER = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9092"}
PROTOCOL = "ORCHESTRATOR_KAFKA_SECURITY_PROTOCOL"
MECHANISM = "ORCHESTRATOR_KAFKA_SASL_MECHANISM"
USERNAME = "ORCHESTRATOR_KAFKA_SASL_USERNAME"
PASSWORD = "ORCHESTRATOR_KAFKA_SASL_PASSWORD"
CAFILE = "ORCHESTRATOR_KAFKA_SSL_CAFILE"
CERTFILE = "ORCHESTRATOR_KAFKA_SSL_CERTFILE"
KEYFILE = "ORCHESTRATOR_KAFKA_SSL_KEYFILE"
KEY_PASSWORD = "ORCHESTRATOR_KAFKA_SSL_KEY_PASSWORD"
OAUTH = "ORCHESTRATOR_KAFKA_SASL_OAUTH_"
SASL = {PROTOCOL: "SASL_SSL", USERNAME: "worker", PASSWORD: CANARY}


@pytest.mark.parametrize(
    ("environment", "named", "cure"),
    [
        ({"KAFKA_BOOTSTRAP_SERVERS": ""}, "KAFKA_BOOTSTRAP_SERVERS", "host:port"),
        ({PROTOCOL: "TLS"}, PROTOCOL, "PLAINTEXT, SSL or SASL_SSL"),
        ({**SASL, MECHANISM: "GSSAPI"}, MECHANISM, "SCRAM-SHA-512, SCRAM-SHA-256 or OAUTHBEARER"),
        ({**SASL, USERNAME: ""}, USERNAME, "is not set"),
        ({**SASL, PASSWORD: ""}, PASSWORD, "is not set"),
        ({USERNAME: "worker", PASSWORD: CANARY}, PROTOCOL, "set that to SASL_SSL"),
        ({**SASL, PROTOCOL: "SSL"}, PROTOCOL, "set that to SASL_SSL"),
        ({CAFILE: "ca.pem"}, PROTOCOL, "set that to SSL or SASL_SSL"),
        ({PROTOCOL: "SASL_SSL", MECHANISM: "OAUTHBEARER"}, f"{OAUTH}TOKEN_URL", "https"),
    ],
)
def test_wrong_kafka_settings_are_named(environment: dict[str, str], named: str, cure: str) -> None:
    """An unknown word, a missing user or password, and secrets that would go unused are told by variable and cure."""
    with pytest.raises(ConfigurationError) as refused:
        load(BROKER | environment).kafka()
    assert named in str(refused.value)
    assert cure in str(refused.value)
    assert CANARY not in str(refused.value)


@pytest.mark.parametrize("variable", [CAFILE, CERTFILE, KEYFILE])
def test_unreadable_files_are_named_by_variable_and_path(tmp_path: Path, variable: str) -> None:
    """Of several files, the message names the one that can't be read, and why."""
    file, _ = certificate(tmp_path, "worker.test")
    good = {PROTOCOL: "SSL", CAFILE: str(file), CERTFILE: str(file), KEYFILE: str(tmp_path / "key.pem")}
    load(BROKER | good).kafka()
    for missing, why in ((tmp_path / "none.pem", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(ConfigurationError) as refused:
            load(BROKER | good | {variable: str(missing)}).kafka()
        message = str(refused.value)
        assert message.startswith(f"{variable} names {missing}, which can't be read ({why}")


def test_files_that_hold_something_else_are_named(tmp_path: Path) -> None:
    """A file that is no PEM, or a key that isn't the certificate's, is told by its variable."""
    file, _ = certificate(tmp_path, "worker.test")
    text = tmp_path / "text.pem"
    text.write_text("nothing", encoding="utf-8")
    other = _key(tmp_path / "other.pem", b"")
    for changes, named in (
        ({CAFILE: text}, CAFILE),
        ({CERTFILE: text, KEYFILE: tmp_path / "key.pem"}, CERTFILE),
        ({CERTFILE: file, KEYFILE: other}, KEYFILE),
        ({KEYFILE: tmp_path / "key.pem"}, CERTFILE),
    ):
        with pytest.raises(ConfigurationError, match=named):
            load(BROKER | {PROTOCOL: "SSL"} | {k: str(v) for k, v in changes.items()}).kafka()


@pytest.mark.parametrize("password", ["", f"{CANARY}-wrong"])
def test_a_key_that_stays_closed_is_told_and_not_asked_for(tmp_path: Path, password: str) -> None:
    """Without its right password a key ends in a message: nobody is asked at a terminal, and no password is shown."""
    certificate(tmp_path, "worker.test")
    key = serialization.load_pem_private_key((tmp_path / "key.pem").read_bytes(), None)
    closed = tmp_path / "closed.pem"
    closed.write_bytes(_pem(key, CANARY.encode()))  # type: ignore[arg-type]
    environment = BROKER | {PROTOCOL: "SSL", CERTFILE: str(tmp_path / "cert.pem"), KEYFILE: str(closed)}
    load(environment | {KEY_PASSWORD: CANARY}).kafka()
    script = "import sys, json; from orchestrator.settings import load; load(json.loads(sys.argv[1])).kafka()"
    import json

    arguments = json.dumps(environment | {KEY_PASSWORD: password})
    ended = subprocess.run(
        [sys.executable, "-c", script, arguments],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False, start_new_session=True,
    )  # fmt: skip
    last = ended.stderr.splitlines()[-1]
    assert KEY_PASSWORD in last
    assert CANARY not in ended.stderr
    assert "pass phrase" not in ended.stdout + ended.stderr


# ------------------------------------------------------------------ values and the file


@pytest.mark.parametrize(
    ("variable", "text", "cure"),
    [
        ("ORCHESTRATOR_LANES", "many", "a whole number"),
        ("ORCHESTRATOR_STALL_TIMEOUT_S", "soon", "a number"),
        ("ORCHESTRATOR_WEBHOOK_ALLOW_HTTP", "perhaps", "true or false"),
        ("ORCHESTRATOR_LANE_DATABASES", CANARY, 'like {"0-3"'),
        ("ORCHESTRATOR_LANE_DATABASES", f'{{"0": "{CANARY}"', 'like {"0-3"'),
        ("ORCHESTRATOR_LANE_DATABASES", f'["{CANARY}"]', 'like {"0-3"'),
        ("ORCHESTRATOR_EFFECTS_PUBLISH_TOPICS", "[1, 2]", "separated by commas"),
    ],
)
def test_values_of_a_wrong_kind_are_named(variable: str, text: str, cure: str) -> None:
    """A value that can't be read is told by its variable and how it is written; the value itself isn't repeated."""
    with pytest.raises(ConfigurationError) as refused:
        load({variable: text})
    assert str(refused.value).startswith(f"{variable} must be ")
    assert cure in str(refused.value)
    assert CANARY not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("lanse = 4", "unknown setting 'lanse'"),
        ('lanes = "many"', "lanes must be a whole number"),
        ("lanes = 4.5", "lanes must be a whole number"),
        (f"kafka_sasl_password = ['{CANARY}']", "kafka_sasl_password must be a text"),
        ("effects_publish_topics = 'a'", "effects_publish_topics must be a list of texts"),
        ("lanes = = 4", "can't be read"),
    ],
)
def test_a_wrong_file_is_told_by_its_path_and_key(tmp_path: Path, text: str, told: str) -> None:
    """An unknown key, a wrong type and a file that is no TOML are refused, naming file and key."""
    file = tmp_path / "settings.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as refused:
        load({"ORCHESTRATOR_CONFIG": str(file)})
    assert str(file) in str(refused.value)
    assert told in str(refused.value)
    assert CANARY not in str(refused.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """A path that leads nowhere is no empty file."""
    with pytest.raises(
        ConfigurationError, match=r"ORCHESTRATOR_CONFIG names .*none\.toml, which can't be read"
    ):
        load({"ORCHESTRATOR_CONFIG": str(tmp_path / "none.toml")})


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """A secret can stay out of the file: what the environment says counts."""
    file = tmp_path / "settings.toml"
    file.write_text(
        'lanes = 4\nkafka_sasl_password = "old"\nwebhook_allowed_networks = ["10.0.0.0/8"]', encoding="utf-8"
    )
    found = load({"ORCHESTRATOR_CONFIG": str(file), PASSWORD: "new"})
    assert (found.lanes, found.kafka_sasl_password, found.webhook_allowed_networks) == (
        4,
        "new",
        ("10.0.0.0/8",),
    )


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"ORCHESTRATOR_WEBHOOK_SECRET_SHOP": CANARY}, "ORCHESTRATOR_WEBHOOK_SECRET_SHOP"),
        ({"ORCHESTRATOR_WEBHOOK_ALLOWED_NETWORKS": "localhost"}, "ORCHESTRATOR_WEBHOOK_ALLOWED_NETWORKS"),
        ({"ORCHESTRATOR_EFFECTS_CONCURRENCY": "0"}, "ORCHESTRATOR_EFFECTS_CONCURRENCY"),
    ],
)
async def test_wrong_settings_of_effects_are_named(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], named: str
) -> None:
    """What the effect runner can't use is told by its variable as well, secrets by their name alone."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as refused:
        effect_runner(load(BROKER | environment))
    assert named in str(refused.value)
    assert CANARY not in str(refused.value)


# ------------------------------------------------------------------ addresses of databases


@pytest.mark.parametrize(
    "dsn",
    [
        f"mysql://u:{CANARY}@host/db", f"postgresql://u:{CANARY}@host", f"postgresql://u:a/{CANARY}@host/db",
        f"postgresql://u:{CANARY}/a@host/db", f"postgresql://u:a@{CANARY}@host/db",
        f"host=h dbname=d password='{CANARY}", f"host=h port={CANARY} dbname=d", CANARY,
    ],
)  # fmt: skip
def test_an_address_that_is_none_is_refused_without_repeating_it(dsn: str) -> None:
    """A password with a character of its own meaning doesn't end up as a host's name in messages."""
    with pytest.raises(ConfigurationError, match="DATABASE_URL") as refused:
        parse_dsn(dsn)
    assert CANARY not in str(refused.value)


def test_an_address_in_place_of_a_lane_is_not_repeated() -> None:
    """Who mixes up keys and values of the lanes' databases sees no password either."""
    settings = Settings(
        database_url="postgresql://u:p@127.0.0.1:1/d",
        lane_databases={f"postgresql://u:{CANARY}@127.0.0.1:1/d": "postgresql://u:p@127.0.0.1:1/e"},
    )
    with pytest.raises(ConfigurationError, match="ORCHESTRATOR_LANE_DATABASES") as refused:
        Databases(settings)
    assert CANARY not in str(refused.value)


def test_shown_settings_show_no_secret() -> None:
    """Neither repr nor rich shows any text of the settings that could be one."""
    from io import StringIO

    from rich.console import Console
    from rich.pretty import pprint

    texts = {field: CANARY for field in ENVIRONMENT.values() if Settings.__annotations__[field] is str}
    made = Settings(**{**texts, "topic_prefix": "t."})  # type: ignore[arg-type]
    console = Console(file=StringIO(), width=200)
    pprint(made, console=console, expand_all=True)
    assert isinstance(console.file, StringIO)
    assert CANARY not in f"{made!r} {made!s} {console.file.getvalue()}"
    assert "topic_prefix" in console.file.getvalue()


def _key(path: Path, password: bytes) -> Path:
    path.write_bytes(_pem(ec.generate_private_key(ec.SECP256R1()), password))
    return path


def _pem(key: ec.EllipticCurvePrivateKey, password: bytes) -> bytes:
    cipher = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, cipher)
