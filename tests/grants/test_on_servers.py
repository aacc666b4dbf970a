import json
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from orchestrator import embedded
from orchestrator.grants.claims import Grant
from orchestrator.grants.keystore import KeyStore
from orchestrator.grants.settings import GrantSettings
from orchestrator.grants.tokens import issue
from tests.cli.calling import PROGRAM, ROOT, call, environment
from tests.cli.conftest import STOP_WITHIN_S, Shop, wait_until
from tests.support.servers import MakeDatabase, delete_topics

pytestmark = pytest.mark.xdist_group("grants")  # one installation for all
STREAM = "acme/r/clinic.visits/appointment:clinic:visits"
SETTINGS = GrantSettings()


def instant(hours: float) -> str:
    return datetime.fromtimestamp(time.time() + hours * 3_600, UTC).isoformat(timespec="seconds")


def document() -> dict[str, Any]:
    slots = [{"id": "soon", "starts_at": instant(1), "ends_at": instant(2), "capacity": 100}]
    visits = {"mechanism": "appointment", "slots": slots, "visit": {"early": "2h"}}
    return {
        "kind": "experience",
        "id": "clinic",
        "name": "Clinic",
        "sequences": [{"id": "all", "name": "All", "priority": 1, "distribution": "visits"}],
        "distributions": {"visits": visits},
    }


class Clinic(Shop):
    """An installation with one experience of appointments, its keys, and a worker."""

    folder: Path

    def admitted(self, customer: str) -> str:
        """A token of a customer who has just booked."""
        journey = f"acme/c/{customer}/experience:clinic"
        lines = [
            {"subject": journey, "type": "start", "source": "tests", "id": f"{customer}-1"},
            {"subject": journey, "type": "enter_appointment", "source": "tests", "id": f"{customer}-2",
             "data": {"slot": "soon"}},
        ]  # fmt: skip
        outcomes = self.publish(*(json.dumps(line) for line in lines))
        assert [outcome["outcome"] for outcome in outcomes] == ["applied", "applied"], outcomes
        wait_until(lambda: self.given(customer) is not None)
        jti, expires_ms = self.given(customer) or ("", 0)
        grant = Grant(
            organization="acme", experience="clinic", sequence="all", distribution="visits",
            mechanism="appointment", subject=customer, jti=jti, expires_ms=expires_ms,
        )  # fmt: skip
        return issue(grant, KeyStore(self.folder).load(), SETTINGS, int(time.time()))

    def given(self, customer: str) -> tuple[str, int] | None:
        """Id and end of a customer's grant, as the journey was told them."""
        told = [row["data"] for row in self.journey(customer) if row["event"] == "experience.admitted.v1"]
        return (told[-1]["jti"], told[-1]["expires_ms"]) if told else None

    def journey(self, customer: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.ask("journeys", "timeline", f"acme/c/{customer}/experience:clinic")
        return rows


@pytest.fixture(scope="module")
def clinic(
    servers: embedded.Servers, make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Clinic]:
    folder = tmp_path_factory.mktemp("grants")
    prefix = f"grants{time.time_ns()}."
    env = environment(
        KAFKA_BOOTSTRAP_SERVERS=servers.bootstrap,
        DATABASE_URL=make_database(),
        ORCHESTRATOR_TOPIC_PREFIX=prefix,
        ORCHESTRATOR_CONSUMER_GROUP=f"{prefix}group",
        ORCHESTRATOR_LANES="2",
        ORCHESTRATOR_METRICS_PORT="-1",
        ORCHESTRATOR_SESSION_TIMEOUT_MS="6000",
        ORCHESTRATOR_DEFAULT_ORGANIZATION="acme",
        ORCHESTRATOR_GRANTS_KEYS_DIR=str(folder / "keys"),
    )
    (folder / "clinic.yaml").write_text(json.dumps(document()))
    for arguments in (("init",), ("definitions", "publish", folder / "clinic.yaml"), ("keys", "generate")):
        ended = call(*arguments, env=env)
        assert ended.code == 0, ended.out + ended.err
    log = folder / "worker.log"
    with log.open("wb") as output:
        worker = subprocess.Popen([*PROGRAM, "worker"], env=env, cwd=ROOT, stdout=output, stderr=output)
    try:
        wait_until(lambda: worker.poll() is not None or "lanes assigned" in log.read_text())
        made = Clinic(env, log)
        made.folder = folder / "keys"
        yield made
    finally:
        worker.terminate()
        try:
            worker.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
        delete_topics(servers.bootstrap, prefix)


def test_a_grant_is_used_once_and_everybody_can_see_it(clinic: Clinic) -> None:
    """Live online until redeemed; a repeat with the same id gets the first answer, another id is rejected by name."""
    token = clinic.admitted("anna")
    assert clinic.call("grants", "validate", "--online", "-o", "json", stdin=token).json["counts"]
    used = clinic.call("grants", "redeem", "--id", "o-1", "--reference", "door 3", "-o", "json", stdin=token)
    assert (used.code, used.json["outcome"], used.json["stream"]) == (0, "applied", STREAM)
    again = clinic.call("grants", "redeem", "--id", "o-1", "--reference", "door 3", "-o", "json", stdin=token)
    assert (again.code, again.json["outcome"], again.json["duplicate"]) == (0, "applied", True)
    other = clinic.call("grants", "redeem", "--id", "o-2", "-o", "json", stdin=token)
    assert (other.code, other.json["outcome"], other.json["reason"]) == (
        1,
        "rejected",
        "grant.already_redeemed",
    )
    after = clinic.call("grants", "validate", "--online", "-o", "json", stdin=token)
    assert (after.code, after.json) == (1, {"counts": False, "reason": "redeemed"})
    wait_until(lambda: any(row["event"] == "experience.redeemed.v1" for row in clinic.journey("anna")))


def test_a_thousand_redemptions_at_once_use_a_grant_once(clinic: Clinic) -> None:
    """Of a thousand commands under way together one is applied, and each of the others is told why not."""
    jti, _ = (clinic.admitted("berta"), clinic.given("berta"))[1] or ("", 0)
    lines = [
        json.dumps(
            {"subject": STREAM, "type": "redeem", "source": "tests", "id": f"b-{n}", "data": {"jti": jti}}
        )
        for n in range(1_000)
    ]
    outcomes = Counter((outcome["outcome"], outcome["reason"]) for outcome in clinic.publish(*lines))
    assert sorted(outcomes.items(), key=lambda found: found[1]) == [
        (("applied", None), 1),
        (("rejected", "grant.already_redeemed"), 999),
    ]


def test_a_revoked_grant_ends_the_admission(clinic: Clinic) -> None:
    """Taken back by its token, a grant counts for nothing online, and its holder's journey is told."""
    token = clinic.admitted("carla")
    ended = clinic.call("grants", "revoke", "--reason", "a test", "-o", "json", stdin=token)
    assert (ended.code, ended.json["outcome"]) == (0, "applied")
    after = clinic.call("grants", "validate", "--online", "-o", "json", stdin=token)
    assert after.json["reason"] == "revoked"
    wait_until(
        lambda: any(row["event"] == "experience.admission_expired.v1" for row in clinic.journey("carla"))
    )


def test_a_grant_nobody_gave_is_unknown_online_and_rejected(clinic: Clinic) -> None:
    """A token signed with the true key for a grant that the log doesn't have is worth nothing."""
    grant = Grant(
        organization="acme", experience="clinic", sequence="all", distribution="visits", mechanism="appointment",
        subject="dora", jti="0" * 24, expires_ms=int(time.time() + 600) * 1_000,
    )  # fmt: skip
    token = issue(grant, KeyStore(clinic.folder).load(), SETTINGS, int(time.time()))
    assert clinic.call("grants", "validate", stdin=token).code == 0
    online = clinic.call("grants", "validate", "--online", "-o", "json", stdin=token)
    assert online.json["reason"] == "unknown_grant"
    ended = clinic.call("grants", "redeem", "--id", "o-9", "-o", "json", stdin=token)
    assert (ended.code, ended.json["reason"]) == (1, "grant.unknown")


def test_no_token_reaches_a_log_or_an_event(clinic: Clinic) -> None:
    """What signs and what was signed stays out of the worker's log and of every event."""
    token = clinic.admitted("erna")
    clinic.call("grants", "redeem", "--id", "o-10", stdin=token)
    signature = token.rpartition(".")[2]
    timeline = json.dumps(clinic.ask("journeys", "timeline", STREAM))
    assert signature not in timeline + json.dumps(clinic.journey("erna")) + clinic.log.read_text()
