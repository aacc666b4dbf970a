"""Where keys are kept: a folder with a file a key, or a text from the environment. The one file here that does I/O."""

import fcntl
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from orchestrator.core.errors import ConfigurationError
from orchestrator.grants.keys import CURE, KEYS_MAX, GrantKey, GrantKeys, from_text, generate, to_jwk
from orchestrator.grants.settings import CLOCK_SKEW_MAX_S, TOKEN_LIFETIME_MAX_S

OVERLAP_S: Final = TOKEN_LIFETIME_MAX_S + 2 * CLOCK_SKEW_MAX_S
"""How long a key counts after it stopped signing: as long as any of its tokens may, whatever the settings say."""
_SUFFIXES: Final = (".jwk", ".pem")
_FILE_BYTES_MAX: Final = 65_536
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


class Rotation(Struct, frozen=True):
    """What a rotation did. `untouched` are PEM files: a PEM can't say when its key ends, so remove it in time."""

    new: GrantKey
    retiring: tuple[GrantKey, ...]
    removed: tuple[str, ...]  # ids of keys that had ended
    untouched: tuple[str, ...]  # ids


class KeyStore:
    """Keys of a folder, or of a text (JWK, JWK set or PEM) where no folder is. All methods raise ConfigurationError."""

    def __init__(self, folder: Path | None = None, text: str = "") -> None:
        if folder is not None and text:
            raise ConfigurationError(
                "both ORCHESTRATOR_GRANTS_KEYS_DIR and ORCHESTRATOR_GRANTS_KEYS are set: set one of them"
            )
        self._folder = folder
        self._text = text

    def __repr__(self) -> str:
        return f"KeyStore({str(self._folder) if self._folder else 'from the environment'})"

    def load(self) -> GrantKeys:
        """Every key that is there, ended ones included; an absent folder has none."""
        if self._folder is None:
            text = self._text.replace("\\n", "\n") if self._text.lstrip().startswith("-----") else self._text
            return GrantKeys(from_text(text, "ORCHESTRATOR_GRANTS_KEYS") if text else ())
        return GrantKeys(key for _, key in self._files())

    def generate(self, now_s: int) -> GrantKey:
        """The first key, signing at once. Refused where one signs already: that is rotation."""
        with self._locked() as folder:
            if any(key.signs and key.counts(now_s) for key in self.load()):
                raise ConfigurationError(
                    f"{folder} has a signing key already: `orchestrator keys rotate` adds the next"
                )
            key = generate(from_s=now_s)
            _write(folder / f"{key.kid}.jwk", key)
            return key

    def rotate(self, now_s: int, *, begins_s: int) -> Rotation:
        """A new key that signs from `begins_s`; the others count OVERLAP_S longer, those that ended are removed.

        The gap until it begins is for servers that keep the key set for a while: they know it before they meet it.
        """
        with self._locked() as folder:
            found = list(self._files())
            new = generate(from_s=max(begins_s, now_s))
            _write(folder / f"{new.kid}.jwk", new)  # first: a crash leaves a key too many, never one too few
            retiring, removed, untouched = [], [], []
            for path, key in found:
                if not key.counts(now_s):
                    path.unlink(missing_ok=True)
                    removed.append(key.kid)
                elif key.until_s is None and path.suffix == ".pem":
                    untouched.append(key.kid)
                elif key.until_s is None:
                    ending = replace(key, until_s=new.from_s + OVERLAP_S)
                    _write(path, ending)
                    retiring.append(ending)
            return Rotation(new, tuple(retiring), tuple(removed), tuple(untouched))

    def remove(self, kid: str) -> None:
        """Forget a key at once: what it signed counts for nothing any more."""
        with self._locked():
            paths = [path for path, key in self._files() if key.kid == kid]
            if not paths:
                raise ConfigurationError(f"there is no key {kid!r}: see `orchestrator keys list`")
            for path in paths:
                path.unlink()

    def _files(self) -> Iterator[tuple[Path, GrantKey]]:
        folder = self._folder
        if folder is None or not folder.exists():
            return
        try:
            _check_mode(folder, folder.stat(), _OTHERS_WRITE, "700")
            paths = sorted(p for p in folder.iterdir() if p.suffix in _SUFFIXES)
            if len(paths) > KEYS_MAX:
                raise ConfigurationError(f"{folder} holds {len(paths)} keys, more than {KEYS_MAX}")
            for path in paths:
                (key,) = _read(path)
                yield path, key
        except OSError as error:
            raise ConfigurationError(f"keys in {folder} can't be read: {error.strerror}") from None

    @contextmanager
    def _locked(self) -> Iterator[Path]:
        """The folder, made if need be, with no other process changing it."""
        folder = self._folder
        if folder is None:
            raise ConfigurationError(
                "the keys come from ORCHESTRATOR_GRANTS_KEYS: change them there,"
                " or name a folder with ORCHESTRATOR_GRANTS_KEYS_DIR"
            )
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                yield folder
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise ConfigurationError(f"keys in {folder} can't be written: {error.strerror}") from None


def _read(path: Path) -> list[GrantKey]:
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        raw = file.read(_FILE_BYTES_MAX + 1)
    if len(raw) > _FILE_BYTES_MAX:
        raise ConfigurationError(f"{path} is larger than {_FILE_BYTES_MAX} bytes: that is no key")
    keys = from_text(raw.decode(errors="replace"), str(path))
    if len(keys) != 1:
        raise ConfigurationError(f"{path} must hold one key, not {len(keys)}: {CURE}")
    if keys[0].signs:
        _check_mode(path, status, _OTHERS, "600")
    else:
        _check_mode(path, status, _OTHERS_WRITE, "644")
    return keys


def _check_mode(path: Path, status: os.stat_result, forbidden: int, mode: str) -> None:
    if status.st_mode & forbidden:
        raise ConfigurationError(
            f"{path} is open to others (mode {stat.S_IMODE(status.st_mode):o}): chmod {mode} {path}"
        )
    if status.st_uid not in (os.geteuid(), 0):
        raise ConfigurationError(f"{path} belongs to another user (uid {status.st_uid}): chown it to yours")


def _write(path: Path, key: GrantKey) -> None:
    """Replace the file whole or not at all; nobody else can read it at any moment."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with suppress(FileNotFoundError):
        draft.unlink()
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(json.dumps(to_jwk(key), indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
