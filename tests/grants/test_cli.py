import json
import time
from pathlib import Path
from typing import Any

import pytest

from orchestrator.grants.claims import Grant
from orchestrator.grants.keystore import KeyStore
from orchestrator.grants.settings import GrantSettings
from orchestrator.grants.tokens import issue
from tests.cli.calling import Ended, call, environment

SETTINGS = GrantSettings(issuer="https://grants.example.com", audience="shop.example.com")


class Keys:
    """The program with a folder of keys, and no servers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = environment(
            ORCHESTRATOR_GRANTS_KEYS_DIR=str(folder),
            ORCHESTRATOR_GRANTS_ISSUER=SETTINGS.issuer,
            ORCHESTRATOR_GRANTS_AUDIENCE=SETTINGS.audience,
            ORCHESTRATOR_DEFAULT_ORGANIZATION="acme",
        )

    def call(self, *arguments: str | Path, stdin: str = "") -> Ended:
        return call(*arguments, env=self.env, stdin=stdin)

    def ask(self, *arguments: str | Path, stdin: str = "") -> Any:
        ended = self.call(*arguments, "-o", "json", stdin=stdin)
        assert ended.code == 0, ended.err
        return ended.json

    def token(self, **changes: Any) -> str:
        now_s = int(time.time())
        grant = {
            "organization": "acme", "experience": "shoes", "sequence": "vip", "distribution": "line",
            "mechanism": "queue", "subject": "anna", "jti": "ab12", "expires_ms": (now_s + 600) * 1000,
        }  # fmt: skip
        return issue(Grant(**{**grant, **changes}), KeyStore(self.folder).load(), SETTINGS, now_s)


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    made = Keys(tmp_path / "keys")
    assert made.call("keys", "generate").code == 0
    return made


def test_keys_are_made_listed_rotated_and_published(keys: Keys) -> None:
    """From the first key to the next without a gap, and no answer ever holds a private part."""
    (first,) = keys.ask("keys", "list")
    assert (first["state"], first["until_ms"]) == ("signs", None)
    assert keys.call("keys", "generate").code == 78
    old, new = keys.ask("keys", "rotate", "--after", "600")
    assert (old["kid"], old["state"], new["state"]) == (first["kid"], "validates", "comes")
    assert {row["state"] for row in keys.ask("keys", "list")} == {"signs", "comes"}
    published = keys.call("keys", "jwks").json["keys"]
    assert {key["kid"] for key in published} == {old["kid"], new["kid"]}
    assert all(set(key) == {"kty", "crv", "x", "kid", "use", "alg"} for key in published)
    assert keys.call("keys", "remove", old["kid"], stdin="n\n").code == 1
    assert keys.call("keys", "remove", old["kid"], "--yes").code == 0
    assert [row["kid"] for row in keys.ask("keys", "list")] == [new["kid"]]
    secrets = [json.loads(path.read_text())["d"] for path in keys.folder.iterdir()]
    for arguments in (("keys", "list"), ("keys", "jwks"), ("keys", "list", "-o", "json")):
        ended = keys.call(*arguments)
        assert not any(secret in ended.out + ended.err for secret in secrets)


def test_a_token_is_read_from_input_file_or_argument(keys: Keys, tmp_path: Path) -> None:
    """However a token is given, its claims are told and it isn't."""
    token = keys.token()
    file = tmp_path / "token"
    file.write_text(token + "\n")
    for arguments, stdin in ((("-",), token + "\n"), ((), token), (("--file", file), ""), ((token,), "")):
        found = keys.ask("grants", "validate", *arguments, stdin=stdin)
        assert (found["counts"], found["sub"], found["jti"]) == (True, "anna", "ab12")
        shown = keys.call("grants", "validate", *arguments, stdin=stdin)
        assert shown.code == 0
        assert token not in shown.out + shown.err + json.dumps(found)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--organization", "globex"), "organization"),
        (("--experience", "hats"), "experience"),
        (("--audience", "other.example.org"), "audience"),
        (("--issuer", "https://other.example.org"), "issuer"),
    ],
)
def test_a_token_for_something_else_ends_with_1(keys: Keys, options: tuple[str, str], reason: str) -> None:
    """A refusal has its name in JSON and in words, and an exit code that scripts see."""
    token = keys.token()
    for arguments in (("-o", "json"), ()):
        ended = keys.call("grants", "validate", *options, *arguments, stdin=token)
        assert ended.code == 1
        assert token not in ended.out + ended.err
        if arguments:
            assert ended.json == {"counts": False, "reason": reason}
        else:
            assert f"({reason})" in ended.err


def test_the_published_keys_are_enough_to_validate(keys: Keys, tmp_path: Path) -> None:
    """A server with nothing but the JWK set tells a true token from an altered one."""
    token = keys.token()
    jwks = tmp_path / "jwks.json"
    jwks.write_text(keys.call("keys", "jwks").out)
    bare = Keys(tmp_path / "none")
    assert bare.call("grants", "validate", "--jwks", jwks, stdin=token).code == 0
    assert bare.call("grants", "validate", stdin=token).code == 1
    altered = bare.call("grants", "validate", "--jwks", jwks, "-o", "json", stdin=token[:-3] + "AAA")
    assert altered.code == 1
    assert altered.json["reason"] in {"signature", "malformed"}


def test_a_bad_token_is_neither_redeemed_nor_revoked(keys: Keys) -> None:
    """What doesn't count offline is refused before anything is sent; missing options are usage errors."""
    foreign = keys.token(organization="globex")
    assert "(organization)" in keys.call("grants", "redeem", "--id", "o-1", stdin=foreign).err
    assert "(organization)" in keys.call("grants", "revoke", "--reason", "a test", stdin=foreign).err
    token = keys.token()
    assert keys.call("grants", "redeem", stdin=token).code == 2
    assert keys.call("grants", "revoke", stdin=token).code == 2
    assert keys.call("grants", "revoke", "--jti", "ab12", "--reason", "a test").code == 2
    assert keys.call("grants", "validate", "--file", "nowhere").code == 2
    assert keys.call("grants", "validate", token, "--file", "nowhere").code == 2


def test_no_keys_is_a_configuration_error_with_its_cure(tmp_path: Path) -> None:
    """Both sources of keys at once, and loose permissions, end with 78 and say what to do."""
    keys = Keys(tmp_path / "keys")
    both = call("keys", "list", env={**keys.env, "ORCHESTRATOR_GRANTS_KEYS": "{}"})
    assert both.code == 78
    assert "set one" in both.err
    assert keys.call("keys", "generate").code == 0
    next(keys.folder.iterdir()).chmod(0o644)
    loose = keys.call("keys", "list")
    assert loose.code == 78
    assert "chmod 600" in loose.err
