"""`orchestrator draws verify` as a person runs it."""

import asyncio
import json
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from orchestrator.cli import connection, draw_keys, queries
from orchestrator.core.errors import Malformed
from orchestrator.distributions.draw.proof import NotDrawn
from orchestrator.distributions.fairness.proof import InvalidProof, Proof, write
from orchestrator.distributions.fairness.seeds import commitment
from tests.distributions.draw.calling import Stored, run, verify
from tests.distributions.draw.drawing import Drawing
from tests.distributions.draw.organizer import Organizer


@pytest.fixture
def organizer() -> Organizer:
    return Organizer([1, 3, 1, 2, 5, 1, 1, 4])


def saved(proof: Proof, folder: Path) -> Path:
    path = folder / "proof.json"
    path.write_bytes(b"".join(write(proof)))
    return path


def jwks(organizer: Organizer, folder: Path) -> Path:
    path = folder / "jwks.json"
    path.write_text(json.dumps({"keys": [organizer.signer.jwk()]}))
    return path


def test_a_fair_draw_ends_with_0(organizer: Organizer, tmp_path: Path) -> None:
    """The table names every check and what it found."""
    ended = verify(
        saved(organizer.proof(), tmp_path), "--keys", jwks(organizer, tmp_path), "--require-beacon"
    )
    assert ended.exit_code == 0, ended.output
    for word in ("root of the entries", "secret", "beacon", "winners", "replacements", "operator-proof, if"):
        assert word in ended.output


def test_an_unfair_draw_ends_with_1(organizer: Organizer, tmp_path: Path) -> None:
    """Programs that call it can rely on the exit code, and read which check failed."""
    ended = verify(saved(organizer.proof(awards=[]), tmp_path), "-o", "json")
    assert ended.exit_code == 1
    told = json.loads(ended.stdout)
    assert (told["passed"], told["operator_proof"]) == (False, False)
    assert [f["check"] for f in told["findings"] if f["status"] == "failed"] == ["winners"]
    assert told["winners"] == organizer.order()[:2]


def test_a_draw_without_beacon_is_said_not_to_be_operator_proof(tmp_path: Path) -> None:
    """It ends with 0, or with 1 for who requires a beacon."""
    path = saved(Organizer([1, 2, 3], beacon=None).proof(), tmp_path)
    ended = verify(path)
    assert ended.exit_code == 0
    assert "not operator-proof" in ended.output
    assert verify(path, "--require-beacon").exit_code == 1


def test_a_receipt_is_checked_with_the_organizers_keys(organizer: Organizer, tmp_path: Path) -> None:
    """An entrant's own receipt counts when it is signed, whether keys come as a set, alone or in PEM."""
    proof, receipt = saved(organizer.proof(receipts=[]), tmp_path), tmp_path / "receipt.json"
    receipt.write_bytes(msgspec.json.encode(organizer.receipt(4)))
    one, pem = tmp_path / "one.json", tmp_path / "key.pem"
    one.write_text(json.dumps(organizer.signer.jwk()))
    pem.write_bytes(
        organizer.signer.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    for keys in (jwks(organizer, tmp_path), one, pem):
        ended = verify(proof, "--receipt", receipt, "--keys", keys)
        assert ended.exit_code == 0, ended.output
        assert "signed, and each entry is as it says" in ended.output
    foreign = jwks(Organizer([1]), tmp_path)
    ended = verify(proof, "--receipt", receipt, "--keys", foreign)
    assert ended.exit_code == 1
    assert "forged" in ended.output


def test_keys_from_the_file_itself_are_said_to_be(organizer: Organizer, tmp_path: Path) -> None:
    """Who forges a proof can forge its keys too, so the reader is told to compare them."""
    ended = verify(saved(organizer.proof(keys=[organizer.signer.jwk()]), tmp_path))
    assert ended.exit_code == 0
    assert "come from the file itself" in ended.output


@pytest.mark.parametrize(
    "content",
    [
        b"{}",
        b"[]",
        b"no",
        b"-----BEGIN PUBLIC KEY-----\nAA==\n",
        b'{"kty": "OKP", "crv": "Ed25519", "x": "AA"}',
    ],
    ids=["empty", "list", "text", "pem", "short-key"],
)
def test_a_file_without_keys_is_refused(content: bytes, tmp_path: Path) -> None:
    """The message says what a file of keys is."""
    path = tmp_path / "keys"
    path.write_bytes(content)
    with pytest.raises(draw_keys.InvalidKeys, match="give a JSON Web Key Set"):
        draw_keys.load(path)


def test_a_broken_receipt_is_named(organizer: Organizer, tmp_path: Path) -> None:
    """Which of the files is no receipt."""
    path = tmp_path / "mine.json"
    path.write_text("{}")
    ended = verify(saved(organizer.proof(), tmp_path), "--receipt", path)
    assert isinstance(ended.exception, InvalidProof)
    assert "mine.json is no receipt" in str(ended.exception)


@pytest.fixture
def stored(monkeypatch) -> Drawing:
    draw = Drawing(winners=3).opened().enter(**{f"cus-{i}": 1 + i % 10 for i in range(30)})
    draw.ask("cus-4", "leave")
    draw.drawn()
    monkeypatch.setattr(queries, "Installation", Stored(draw))
    monkeypatch.setattr(connection, "run", lambda _, work: asyncio.run(work(None, None)))
    return draw


def test_an_exported_proof_is_verified(stored: Drawing, tmp_path: Path) -> None:
    """From the log's bytes alone, without the keys of what is private; no participant is in the file."""
    path = tmp_path / "proof.json"
    ended = run("export", stored.stream.text, path, "--ticket", "2", "--ticket", "5")
    assert ended.exit_code == 0, ended.output
    assert b"cus-" not in path.read_bytes()
    ended = verify(path, "--require-beacon", "-o", "json")
    assert ended.exit_code == 0, ended.output
    told = json.loads(ended.stdout)
    assert told["winners"] == list(stored.state.order[:3])
    assert "2 lead to the root" in ended.output


def test_a_receipt_of_the_log_stands_beside_the_proof(stored: Drawing, tmp_path: Path) -> None:
    """What the organizer signs for an entrant is what their proof has to agree with."""
    from orchestrator.grants.keystore import KeyStore

    keys, proof, mine = tmp_path / "keys", tmp_path / "proof.json", tmp_path / "mine.json"
    made = KeyStore(keys).generate(0)
    jwks_file = tmp_path / "jwks.json"
    jwks_file.write_text(json.dumps({"keys": [made.public()]}))
    ended = run("receipt", stored.stream.text, "cus-7", "--keys", keys)
    assert ended.exit_code == 0, (ended.output, ended.exception)
    mine.write_text(ended.stdout)
    run("export", stored.stream.text, proof)
    ended = verify(proof, "--receipt", mine, "--keys", jwks_file)
    assert ended.exit_code == 0, ended.output
    assert "1: signed" in ended.output
    missing = run("receipt", stored.stream.text, "cus-99", "--keys", keys)
    assert isinstance(missing.exception, NotDrawn)


def test_another_address_is_refused(stored: Drawing, tmp_path: Path) -> None:
    """A waitlist is no draw; nothing is written. Nor has a queue receipts."""
    for arguments in (
        ("export", "acme/r/shoes.main/waitlist:shoes:main", tmp_path / "proof.json"),
        ("receipt", "acme/r/shoes.main/queue:shoes:main", "anna"),
    ):
        assert isinstance(run(*arguments).exception, Malformed)
    assert list(tmp_path.iterdir()) == []


def test_a_new_secret_is_its_owners_alone(tmp_path: Path) -> None:
    """The file holds what `draw` reveals, the output what `commit` needs; a file that is there stays as it is."""
    path = tmp_path / "secret.json"
    ended = run("secret", path, "-o", "json")
    assert ended.exit_code == 0, ended.output
    commit, kept = json.loads(ended.stdout), json.loads(path.read_text())
    assert path.stat().st_mode & 0o077 == 0
    assert kept["secret"] not in ended.stdout
    assert commitment(bytes.fromhex(kept["secret"])).hex() == commit["commitment"]
    draw = Drawing()
    draw.operate("commit", **commit)
    assert isinstance(run("secret", path).exception, FileExistsError)
    assert json.loads(path.read_text()) == kept
