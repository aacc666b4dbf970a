import json
import multiprocessing
import os
import pickle
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from orchestrator.core.errors import ConfigurationError
from orchestrator.grants.jwks import jwks
from orchestrator.grants.keys import KEYS_MAX, GrantKeys, from_text, generate, to_jwk
from orchestrator.grants.keystore import OVERLAP_S, KeyStore
from orchestrator.grants.tokens import issue
from orchestrator.grants.validation import GrantRefused, validate
from tests.grants.forging import EXPECTED, GRANT, NOW_S, SETTINGS

DAY_S = 86_400


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "keys")


def pem(key: object, *, password: bytes | None = None) -> bytes:
    how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, how)  # type: ignore[attr-defined,no-any-return]


def put(folder: Path, name: str, content: bytes, mode: int = 0o600) -> Path:
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / name
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_a_generated_key_signs_and_is_its_owners_alone(store: KeyStore, tmp_path: Path) -> None:
    """The file and folder of a new key can be read by nobody else, and what it signs counts after a restart."""
    before = os.umask(0)
    try:
        key = store.generate(NOW_S)
    finally:
        os.umask(before)
    (path,) = (tmp_path / "keys").iterdir()
    assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)) == (0o600, 0o700)
    token = issue(GRANT, store.load(), SETTINGS, NOW_S)
    assert validate(token, KeyStore(tmp_path / "keys").load(), EXPECTED, NOW_S).sub == "anna"
    assert store.load().signing(NOW_S).kid == key.kid


def test_generating_over_a_key_that_signs_is_refused(store: KeyStore) -> None:
    """A second `generate` doesn't change who signs; it says how rotation is done."""
    store.generate(NOW_S)
    with pytest.raises(ConfigurationError, match="keys rotate"):
        store.generate(NOW_S)
    assert len(store.load()) == 1


def test_rotation_overlaps(store: KeyStore) -> None:
    """Tokens of the previous key count until their end; the next key is known before it signs; then the old one is gone."""
    old = store.generate(NOW_S)
    new = store.rotate(NOW_S + 100, begins_s=NOW_S + 700).new
    keys = store.load()
    assert {k["kid"] for k in jwks(keys, NOW_S + 100)["keys"]} == {old.kid, new.kid}
    assert keys.signing(NOW_S + 699).kid == old.kid
    assert keys.signing(NOW_S + 700).kid == new.kid
    late = issue(replace(GRANT, expires_ms=0), keys, SETTINGS, NOW_S + 699)
    end_s = NOW_S + 699 + SETTINGS.token_lifetime_s
    assert validate(late, keys, EXPECTED, end_s - 1).sub == "anna"
    assert keys.verifying(old.kid, NOW_S + 700 + OVERLAP_S - 1) is not None
    assert keys.verifying(old.kid, NOW_S + 700 + OVERLAP_S) is None
    again = store.rotate(NOW_S + 10 * DAY_S, begins_s=NOW_S + 10 * DAY_S)
    assert again.removed == (old.kid,)
    assert [k.kid for k in again.retiring] == [new.kid]
    assert {k.kid for k in store.load()} == {new.kid, again.new.kid}


def test_a_token_of_a_key_that_ended_is_refused(store: KeyStore) -> None:
    """A key that ended validates nothing, even while its file is still there."""
    store.generate(NOW_S)
    token = issue(GRANT, store.load(), SETTINGS, NOW_S)
    store.rotate(NOW_S, begins_s=NOW_S)
    with pytest.raises(GrantRefused) as caught:
        validate(token, store.load(), EXPECTED, NOW_S + OVERLAP_S)
    assert caught.value.reason == "unknown_key"


def test_a_removed_key_stops_counting_at_once(store: KeyStore) -> None:
    """After a theft, everything the key signed is refused from then on."""
    key = store.generate(NOW_S)
    token = issue(GRANT, store.load(), SETTINGS, NOW_S)
    store.remove(key.kid)
    with pytest.raises(GrantRefused) as caught:
        validate(token, store.load(), EXPECTED, NOW_S)
    assert caught.value.reason == "unknown_key"
    with pytest.raises(ConfigurationError, match="keys list"):
        store.remove(key.kid)


def rotate_once(folder: Path) -> None:
    KeyStore(folder).rotate(NOW_S, begins_s=NOW_S)


def test_rotating_twice_at_once_loses_no_key(store: KeyStore, tmp_path: Path) -> None:
    """Processes that change the folder together wait for each other: every rotation ends the key before it."""
    store.generate(NOW_S)
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=rotate_once, args=(tmp_path / "keys",)) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 6
    assert sum(key.until_s is None for key in store.load()) == 1
    assert len(store.load()) == 7


def test_a_rotation_that_breaks_off_leaves_a_key_that_signs(
    store: KeyStore, tmp_path: Path, monkeypatch
) -> None:
    """A crash at any write of a rotation leaves whole files only, and somebody to sign."""
    old = store.generate(NOW_S)
    real, calls = os.fsync, []

    def failing(handle: int) -> None:
        calls.append(handle)
        if len(calls) == 2:  # the old key's end, after the new key
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(ConfigurationError, match="No space left"):
        store.rotate(NOW_S, begins_s=NOW_S)
    assert len(store.load()) == 2
    assert store.load().verifying(old.kid, NOW_S + 10 * DAY_S) is not None
    assert not [path for path in (tmp_path / "keys").iterdir() if path.suffix != ".jwk"]


def test_a_pem_from_elsewhere_signs(store: KeyStore, tmp_path: Path) -> None:
    """An unencrypted PKCS 8 PEM is a key; rotation says that it has no end of its own."""
    put(tmp_path / "keys", "mine.pem", pem(Ed25519PrivateKey.generate()))
    (key,) = store.load()
    assert validate(issue(GRANT, store.load(), SETTINGS, NOW_S), store.load(), EXPECTED, NOW_S).sub == "anna"
    done = store.rotate(NOW_S, begins_s=NOW_S)
    assert done.untouched == (key.kid,)
    assert store.load().signing(NOW_S).kid == done.new.kid


def test_public_keys_validate_and_do_not_sign(tmp_path: Path) -> None:
    """A server with the JWK set alone can validate, and can't make grants."""
    keys = GrantKeys([generate(from_s=0)])
    token = issue(GRANT, keys, SETTINGS, NOW_S)
    theirs = GrantKeys(from_text(json.dumps(jwks(keys, NOW_S)), "jwks.json"))
    assert validate(token, theirs, EXPECTED, NOW_S).sub == "anna"
    with pytest.raises(ConfigurationError):
        theirs.signing(NOW_S)
    public = next(iter(keys)).key.public_key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    put(tmp_path / "keys", "theirs.pem", public, 0o644)
    assert validate(token, KeyStore(tmp_path / "keys").load(), EXPECTED, NOW_S).sub == "anna"


@pytest.mark.parametrize("form", ["jwk", "set", "pem", "one-line-pem"])
def test_keys_come_from_the_environment_too(form: str) -> None:
    """A JWK, a set or a PEM as text does what a folder does, except that the program doesn't change it."""
    key = generate(from_s=0)
    text = pem(key.key.private_key).decode()
    text = {
        "jwk": json.dumps(to_jwk(key)), "set": json.dumps({"keys": [to_jwk(key)]}), "pem": text,
        "one-line-pem": text.replace("\n", "\\n"),
    }[form]  # fmt: skip
    store = KeyStore(None, text)
    assert store.load().signing(NOW_S).kid == key.kid
    with pytest.raises(ConfigurationError, match="ORCHESTRATOR_GRANTS_KEYS_DIR"):
        store.rotate(NOW_S, begins_s=NOW_S)
    with pytest.raises(ConfigurationError, match="set one"):
        KeyStore(Path("keys"), text)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o666, 0o610])
def test_a_private_key_that_others_may_read_is_refused(store: KeyStore, tmp_path: Path, mode: int) -> None:
    """Loose permissions are an error that names file and cure, not a warning."""
    store.generate(NOW_S)
    (path,) = (tmp_path / "keys").iterdir()
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match=f"chmod 600 .*{path.name}"):
        store.load()


def test_a_folder_or_public_key_that_others_may_write_is_refused(store: KeyStore, tmp_path: Path) -> None:
    """Whoever can put a key there could sign grants: such a folder or file is refused."""
    folder = tmp_path / "keys"
    store.generate(NOW_S)
    folder.chmod(0o770)
    with pytest.raises(ConfigurationError, match="chmod 700"):
        store.load()
    folder.chmod(0o700)
    put(folder, "theirs.jwk", json.dumps(generate(from_s=0).public()).encode(), 0o666)
    with pytest.raises(ConfigurationError, match="chmod 644"):
        store.load()


def test_a_key_of_another_user_is_refused(store: KeyStore, tmp_path: Path) -> None:
    """A key file that somebody else owns could be swapped by them."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    store.generate(NOW_S)
    (path,) = (tmp_path / "keys").iterdir()
    os.chown(path, 12_345, -1)
    with pytest.raises(ConfigurationError, match="another user"):
        store.load()


def test_what_is_no_key_is_refused_without_being_quoted(store: KeyStore, tmp_path: Path) -> None:
    """A broken or foreign key file is named with its cure; nothing it holds is shown."""
    folder = tmp_path / "keys"
    first, second = (to_jwk(generate(from_s=0)) for _ in range(2))
    secret = str(first["d"])
    wrong = {
        "rsa.pem": pem(rsa.generate_private_key(65_537, 2_048)),
        "locked.pem": pem(Ed25519PrivateKey.generate(), password=b"generated"),
        "cut.pem": pem(Ed25519PrivateKey.generate())[:60],
        "text.jwk": secret.encode(),
        "list.jwk": b"[]",
        "deep.jwk": b"[" * 10_000,
        "two.jwk": json.dumps({"keys": [first, second]}).encode(),
        "mixed.jwk": json.dumps({**first, "x": second["x"]}).encode(),
        "renamed.jwk": json.dumps({**first, "kid": "mine"}).encode(),
        "curve.jwk": json.dumps({**first, "crv": "X25519"}).encode(),
        "short.jwk": json.dumps({**first, "d": secret[:-4]}).encode(),
        "typed.jwk": json.dumps({**first, "nbf": secret}).encode(),
        "binary.jwk": b"\xff\x00",
        "large.jwk": b" " * 70_000,
    }
    for name, content in wrong.items():
        path = put(folder, name, content)
        with pytest.raises(ConfigurationError) as caught:
            store.load()
        assert name in str(caught.value)
        assert secret[:-4] not in str(caught.value)
        path.unlink()


def test_a_key_is_there_once_and_keys_are_few(store: KeyStore, tmp_path: Path) -> None:
    """A copy of a key, and more keys than anybody needs, are refused rather than guessed about."""
    folder = tmp_path / "keys"
    key = store.generate(NOW_S)
    put(folder, "copy.jwk", json.dumps(to_jwk(key)).encode())
    with pytest.raises(ConfigurationError, match="twice"):
        store.load()
    for number in range(KEYS_MAX):
        put(folder, f"{number}.jwk", b"{}")
    with pytest.raises(ConfigurationError, match="more than"):
        store.load()


def test_private_parts_are_never_shown(store: KeyStore, tmp_path: Path) -> None:
    """No representation, published set or copy of a key holds its private part."""
    key = store.generate(NOW_S)
    secret = json.loads(next((tmp_path / "keys").iterdir()).read_text())["d"]
    keys = store.load()
    shown = [
        repr(key),
        str(key),
        repr(keys),
        repr(store),
        f"{[key]}",
        repr(key.__rich_repr__()),
        json.dumps(jwks(keys, NOW_S)),
    ]
    assert not [text for text in shown if secret in text or '"d"' in text]
    with pytest.raises(TypeError):
        pickle.dumps(key)
