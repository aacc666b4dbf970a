"""The shuffle of a queue's pre-queue: exported from its log, repeated by anyone."""

import asyncio
import json
import secrets
from pathlib import Path

import msgspec
import pytest

from orchestrator.cli import connection, queries
from orchestrator.cli.queries import NotFound
from orchestrator.distributions.fairness import seeds, shuffle
from orchestrator.distributions.fairness.proof import InvalidProof
from orchestrator.distributions.fairness.shuffle import ShuffleProof, check, ordered
from orchestrator.distributions.queue import QUEUE
from tests.distributions.draw.calling import Stored, run, verify
from tests.distributions.draw.organizer import failed
from tests.support.room import RoomTest

replace = msgspec.structs.replace


@pytest.fixture
def proof() -> ShuffleProof:
    secret = secrets.token_bytes(32)
    commitment = seeds.commitment(secret).hex()
    order = ordered(secret.hex(), range(1, 101))
    return ShuffleProof(queue="acme/r/q", commitment=commitment, secret=secret.hex(), order=order)


def test_an_honest_shuffle_passes_and_is_not_called_more_than_it_is(proof: ShuffleProof) -> None:
    """Without a beacon who knew the secret could foresee the order, and that is said."""
    report = check(proof)
    assert report.passed
    assert not report.operator_proof
    assert any("not operator-proof" in finding.detail for finding in report.findings)


def test_another_order_is_found(proof: ShuffleProof) -> None:
    """The first place that differs is named."""
    order = proof.order
    report = check(replace(proof, order=[*order[:5], order[6], order[5], *order[7:]]))
    assert failed(report) == {"order"}
    assert "place 6" in next(f.detail for f in report.findings if f.check == "order")


def test_a_ticket_twice_or_another_secret_is_found(proof: ShuffleProof) -> None:
    """One place a ticket; the secret is the one that was committed to."""
    assert "tickets" in failed(check(replace(proof, order=[*proof.order, proof.order[0]])))
    other = secrets.token_hex(32)
    swapped = replace(proof, secret=other, order=ordered(other, proof.order))
    assert failed(check(swapped)) == {"secret"}


def test_the_shuffle_of_a_real_queue_is_exported_and_verified(tmp_path: Path, monkeypatch) -> None:
    """Those who wait at the opening, in the order in which the queue admits them; who left is not among them."""
    secret = secrets.token_hex(32)
    pre_queue = {"secret": secret}
    part = {"opens_at": "2023-11-14T23:00:00Z", "concurrent": 1, "pre_queue": pre_queue}
    queue = RoomTest(QUEUE, {**part, "admission": {"valid": "1m"}})
    for number in range(1, 21):
        queue.ask(f"cus-{number}", "enter")
    queue.ask("cus-4", "leave")
    monkeypatch.setattr(connection, "run", lambda _, work: asyncio.run(work(None, None)))
    monkeypatch.setattr(queries, "Installation", Stored(queue))
    path = tmp_path / "shuffle.json"
    assert isinstance(run("export", queue.stream.text, path).exception, NotFound)
    queue.now_ms += 3_600_000
    queue.fire("open")
    monkeypatch.setattr(queries, "Installation", Stored(queue))
    ended = run("export", queue.stream.text, path)
    assert ended.exit_code == 0, (ended.output, ended.exception)
    order = json.loads(path.read_text())["order"]
    assert sorted(order) == [n for n in range(1, 21) if n != 4]
    positions = {n: queue.state.position(f"cus-{n}") for n in order}
    waiting = [n for n in order if positions[n] is not None]
    assert [positions[n].ahead for n in waiting] == sorted(positions[n].ahead for n in waiting)
    ended = verify(path)
    assert ended.exit_code == 0, ended.output
    assert "not operator-proof" in ended.output
    assert verify(path, "--require-beacon").exit_code == 1
    told = json.loads(verify(path, "-o", "json").stdout)
    assert (told["draw"], told["entries"], told["passed"]) == (queue.stream.text, 19, True)
    path.write_text(path.read_text().replace(secret, secrets.token_hex(32)))
    assert verify(path).exit_code == 1


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    """What says of itself that it is a shuffle is read as one."""
    path = tmp_path / "shuffle.json"
    path.write_text('{"format": "shuffle-proof/1", "order": [0]}')
    assert shuffle.is_shuffle(path.read_bytes())
    assert isinstance(verify(path).exception, InvalidProof)
