"""Secrets and personal data, each with a word of its own, are looked for in everything an installation leaves behind."""

import secrets
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit
from urllib.request import urlopen

import pytest
from cryptography.hazmat.primitives import serialization

from orchestrator import embedded
from tests.security.haystack import Haystack
from tests.security.hooks import Hooks
from tests.security.product import LANES, Product, event, scram
from tests.support.servers import private_pairs
from tests.support.worker_process import WorkerProcess

PREFIX = "canaries."
DOCUMENT = """
kind: lifecycle
id: guarded
events: [SIGNED_UP, SEEN, CALLED]
context: {email: null, token: null, visits: 0}
pii: [email, token, event.payload.email, event.payload.token, event.payload.phone]
initial: NEW
states:
  NEW:
    on:
      SIGNED_UP:
        target: KNOWN
        set: {email: {var: event.payload.email}, token: {var: event.payload.token}}
  KNOWN:
    triggers: {id: known, events: [SEEN]}
    entry: [tell, fail, unsigned, note, announce, shout]
    after: {delay: 30d, target: ASLEEP}
    on:
      SEEN: {set: {visits: {"+": [{var: event.payload.phone}, 1]}}}
  ASLEEP: {}
actions:
  tell:
    type: webhook
    url: HOOKS/well
    secret: crm
    headers: {Authorization: {cat: ["Bearer ", {var: token}]}}
    body: {to: {var: email}}
  fail:
    type: webhook
    url: {cat: ["HOOKS/broken?mail=", {var: email}]}
    secret: crm
    body: {to: {var: email}}
    retry: {attempts: 2, initial: 50ms}
  unsigned: {type: webhook, url: HOOKS/well, secret: nobody, body: {to: {var: email}}}
  note: {type: log, message: {var: email}, fields: {mail: {var: email}}}
  announce: {type: publish, topic: PREFIXannounced, key: {var: customer}, value: {known: {var: customer}}}
  shout: {type: publish, topic: PREFIXjourneys.events, value: {to: {var: email}}}
"""
PERSONAL = ("personal email", "personal token", "personal phone", "personal header")
MAY_HOLD_PERSONAL = (
    "topic journeys.commands", "topic user-interactions",  # what producers wrote, as they wrote it
    "topic journeys.dead-letters", "topic journey-dlq",  # the same, given back
    "topic journeys.effects",  # for the runner alone
)  # fmt: skip


class Scene(NamedTuple):
    pair: embedded.Servers
    hooks: Hooks
    product: Product
    needles: dict[str, str]
    analytics: Path


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """An installation whose every secret is known, with Parquet files and webhooks, not yet running."""
    folder = tmp_path_factory.mktemp("canaries")
    with private_pairs() as start, Hooks() as hooks:
        pair = start(kafka_security=embedded.KafkaSecurity())
        assert pair.secure is not None
        word = {
            name: f"canary{secrets.token_hex(12)}"
            for name in ("key", "oauth", "hook", *PERSONAL, "old password")
        }
        hook_secret = b64encode(word["hook"].encode()).decode()
        settings = {
            **scram(pair.secure),
            "DATABASE_URL": pair.dsn,
            "LOG_LEVEL": "DEBUG",
            "ORCHESTRATOR_TOPIC_PREFIX": PREFIX,
            "ORCHESTRATOR_EFFECTS_PUBLISH_TOPICS": f"{PREFIX}announced",
            "ORCHESTRATOR_ANALYTICS_DIR": str(folder / "analytics"),
            "ORCHESTRATOR_KAFKA_SASL_OAUTH_CLIENT_SECRET": word["oauth"],
            "ORCHESTRATOR_KAFKA_SSL_CERTFILE": str(pair.secure.client_certificate_file),
            "ORCHESTRATOR_KAFKA_SSL_KEYFILE": str(_closed(pair.secure.client_key_file, folder, word["key"])),
            "ORCHESTRATOR_KAFKA_SSL_KEY_PASSWORD": word["key"],
            "ORCHESTRATOR_WEBHOOK_SECRET_CRM": f"whsec_{hook_secret}",
            "ORCHESTRATOR_WEBHOOK_ALLOW_HTTP": "true",
            "ORCHESTRATOR_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.1/32",
        }
        password = urlsplit(pair.dsn).password
        assert password is not None
        secret = {
            "secret Kafka password": pair.secure.scram_password, "secret database password": password,
            "secret hook": hook_secret, "secret hook's bytes": word["hook"], "secret key password": word["key"],
            "secret OAuth": word["oauth"], "secret wrong password": word["old password"],
        }  # fmt: skip
        with Product(folder, **settings) as product:
            document = DOCUMENT.replace("HOOKS", hooks.url).replace("PREFIX", PREFIX)
            product.prepare(document)
            yield Scene(
                pair, hooks, product, secret | {name: word[name] for name in PERSONAL}, folder / "analytics"
            )


def _closed(key_file: Path, folder: Path, password: str) -> Path:
    """A copy of a key that its password alone opens."""
    key: Any = serialization.load_pem_private_key(key_file.read_bytes(), None)
    closed = folder / "closed.pem"
    cipher = serialization.BestAvailableEncryption(password.encode())
    closed.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, cipher)
    )
    return closed


def live(scene: Scene) -> None:
    """Commands that are applied, repeated, refused and undecidable; effects that succeed and fail; a database that dies."""
    product, hooks = scene.product, scene.hooks
    email, token, phone, header = (scene.needles[name] for name in PERSONAL)

    def signed_up(customer: str, key: str = "a", **more: Any) -> dict[str, Any]:
        return event(customer, "SIGNED_UP", key, "guarded", email=email, token=token, **more)

    told = product.publish(
        *(signed_up(f"cus-{n}") for n in range(4)),
        signed_up("cus-0"),  # a repeat
        signed_up("cus-0", phone=phone),  # the same key for something else
        event("cus-1", "SEEN", "b", "guarded", phone=phone),  # a rule that can't add this
        event("cus-2", "CALLED", "b", "guarded", phone=phone),  # not let in
        event("cus-2", "UNHEARD_OF", "c", "guarded", phone=phone),  # not listed
    )
    assert {row["outcome"] for row in told} >= {"applied", "rejected"}
    _undecidable(scene, email, phone, header)
    product.until(
        lambda: len(hooks.seen("/well")) >= 4 and len(hooks.seen("/broken")) >= 8, "webhooks called"
    )
    scene.pair.postgres.kill()
    product.until(lambda: product.worker.readiness()[0] == 503, "noticed")
    scene.pair.postgres.start()
    product.worker.wait_ready()
    assert {row["outcome"] for row in product.publish(signed_up("cus-5"))} == {"applied"}
    product.until(lambda: len(hooks.seen("/well")) >= 5, "webhooks called")
    assert all(
        email.encode() in body and f"Bearer {token}" == sent["Authorization"]
        for sent, body in hooks.seen("/well")
    )


def _undecidable(scene: Scene, email: str, phone: str, header: str) -> None:
    """Messages that become dead letters, each quoting personal data where an error's text might."""
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": scene.pair.bootstrap, "partitioner": "murmur2_random"})
    key = "acme/c/cus-3"
    good = {
        "ce_specversion": "1.0", "ce_id": "x", "ce_source": "tests", "ce_type": "event", "content-type": "application/json",
        "ce_subject": f"{key}/lifecycle:guarded", "authorization": f"Bearer {header}",
    }  # fmt: skip
    mail = f"{email}@example.org"  # in place of a customer's id, as careless producers have it
    messages: list[tuple[str, str, str, dict[str, str]]] = [
        ("journeys.commands", key, f'{{"type": "SEEN", "payload": {{"phone": "{phone}"', {}),
        ("journeys.commands", key, f'{{"type": "SEEN", "paylaod": "{phone}"}}', {}),
        ("journeys.commands", key, f'{{"type": "SEEN", "timestamp": "{phone}"}}', {}),
        ("journeys.commands", key, f'{{"type": ["{email}"]}}', {}),
        ("journeys.commands", key, f'"{email}"', {}),
        ("journeys.commands", key, f"[]{email}", {}),
        ("journeys.commands", key, "{}", {"ce_type": "unheard-of"}),
        ("journeys.commands", key, "{}", {"ce_time": phone}),
        ("journeys.commands", mail, "{}", {"ce_subject": mail}),
        ("journeys.commands", f"acme/c/{mail}", "{}", {"ce_subject": f"acme/c/{mail}/lifecycle:guarded"}),
        (
            "journeys.commands",
            f"acme/c/{quote(mail)}",
            "{}",
            {"ce_subject": f"acme/c/{quote(mail)}/lifecycle:guarded"},
        ),
        ("user-interactions", key, f'{{"userId": "cus-3", "payload": "{email}"}}', {}),
        ("user-interactions", key, f'{{"userId": "cus-3", "{email}": 1, "type": 5}}', {}),
        ("user-interactions", mail, f'{{"userId": "{mail}", "type": "SEEN", "idempotencyKey": "y"}}', {}),
    ]
    for number, (topic, place, body, changes) in enumerate(messages):
        producer.produce(PREFIX + topic, body, place, headers={**good, "ce_id": f"x-{number}", **changes})
    assert producer.flush(30) == 0
    scene.product.until(lambda: len(scene.product.ask("dlq", "list")) == len(messages), "dead letters")


def look(scene: Scene, worker: WorkerProcess) -> Haystack:
    """All that can be read of the installation, while its worker still runs."""
    product, pair = scene.product, scene.pair
    found = Haystack(scene.needles)
    port = worker._port()
    for path in ("metrics", "healthz"):
        with urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
            found.add(f"/{path}", answer.read())
    found.add("/readyz", repr(worker.readiness()))
    for arguments in (
        ("doctor",), ("lanes", "list"), ("journeys", "list"), ("journeys", "show", "acme/c/cus-1/lifecycle:guarded"),
        ("journeys", "timeline", "acme/c/cus-1/lifecycle:guarded"), ("journeys", "why", "acme/c/cus-1/lifecycle:guarded"),
        ("dlq", "list"), ("definitions", "show", "guarded"), ("version",), ("replay", "--verify"),
    ):  # fmt: skip
        for output in ("table", "json"):
            ended = product.call(*arguments, "--output", output)
            assert ended.code == 0, f"{arguments}: {ended.err} {ended.out}"
    _ask_wrongly(scene)
    product.until(lambda: len(list(scene.analytics.rglob("*.parquet"))) >= LANES, "written for analysts")
    assert worker.terminate() == 0
    found.add("command line", "".join(product.said))
    found.add("worker's log", worker.log_path.read_bytes())
    found.add_files("servers' logs", pair.data_dir / "logs")
    found.add_files("Parquet files", scene.analytics)
    found.add_tables(pair.dsn)
    found.add_topics(pair.bootstrap, PREFIX)
    return found


def _ask_wrongly(scene: Scene) -> None:
    """Addresses and passwords that are wrong, with a traceback asked for."""
    wrong, right = scene.needles["secret wrong password"], scene.pair.dsn
    password = scene.needles["secret database password"]
    for dsn in (
        right.replace(password, wrong),
        f"{right}none",
        right.replace("127.0.0.1", "127.0.0.1,@"),
        f"mysql://u:{wrong}@h/d",
    ):
        assert scene.product.call("journeys", "list", DATABASE_URL=dsn).code in {1, 78}
        with scene.product.worker_with(DATABASE_URL=dsn) as worker:
            assert worker.start().wait() == 78
    assert scene.product.call("doctor", ORCHESTRATOR_KAFKA_SASL_PASSWORD=wrong).code == 1
    assert scene.product.call("doctor", ORCHESTRATOR_KAFKA_SSL_KEY_PASSWORD=wrong).code == 1


def test_no_secret_and_no_personal_value_is_anywhere_it_does_not_belong(scene: Scene) -> None:
    """Settings' secrets are nowhere; personal values are where producers put them and where the runner needs them."""
    scene.product.worker.start().wait_ready()
    live(scene)
    found = look(scene, scene.product.worker)
    assert found.found(names="secret") == []
    assert found.found(but=MAY_HOLD_PERSONAL) == []
    held = {place for _, place in found.found()}
    assert held == set(MAY_HOLD_PERSONAL)  # the search does find what is there
    searched = {place: size for place, size in found.places.items() if size > 0}
    assert {
        "topic journeys.events", "topic journeys.outcomes", "topic journeys.snapshots", "topic announced",
        "table stored_events", "table journeys", "table dead_letters",
        "table subject_keys", "table definitions", "Parquet files", "servers' logs", "/metrics", "/readyz",
    } <= searched.keys()  # fmt: skip


def test_the_search_finds_a_worker_that_tells_its_settings(scene: Scene) -> None:
    """One line that shows the settings is enough to be found out, whichever secret it shows."""
    program = ("tests.security.leaky_worker", "all")
    log = scene.product.folder / "leaky.log"
    with WorkerProcess(scene.product.environment, log, program) as worker:
        worker.start().wait_ready()
        assert worker.terminate() == 0
    found = Haystack(scene.needles)
    found.add("worker's log", log.read_bytes())
    told = {name for name, _ in found.found()}
    assert told == {
        "secret Kafka password", "secret database password", "secret key password", "secret OAuth"
    }  # fmt: skip
